//! Export: actions as lines, for spreadsheets (CSV) and for programs (JSON lines).

use rocket::http::{ContentType, MediaType};

use super::error::ApiError;
use crate::api;

/// The form of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Export {
    /// Comma-separated values, as in RFC 4180, with a head.
    Csv,
    /// A JSON object on each line.
    JsonLines,
}

/// The columns of the CSV.
const COLUMNS: [&str; 17] = [
    "id",
    "verb",
    "state",
    "actor",
    "credential",
    "from",
    "request_id",
    "kind",
    "object",
    "name",
    "container_id",
    "namespace",
    "changed",
    "started_at",
    "ended_at",
    "code",
    "message",
];

impl Export {
    /// Reads the parameter `format`; `None`: no export, but pages of JSON.
    ///
    /// # Errors
    /// `invalid_field`.
    pub fn parse(word: &str) -> Result<Option<Self>, ApiError> {
        match word {
            "json" => Ok(None),
            "csv" => Ok(Some(Self::Csv)),
            "jsonl" => Ok(Some(Self::JsonLines)),
            other => Err(ApiError::invalid("format", other, "it is \"json\", \"csv\" or \"jsonl\"")),
        }
    }

    /// The export that a client wants who accepts `media` most.
    pub fn of(media: &MediaType) -> Option<Self> {
        [Self::Csv, Self::JsonLines].into_iter().find(|export| export.content_type().media_type() == media)
    }

    /// Its content type.
    pub fn content_type(self) -> ContentType {
        match self {
            Export::Csv => ContentType::new("text", "csv"),
            Export::JsonLines => ContentType::new("application", "x-ndjson"),
        }
    }

    /// What comes first.
    pub fn head(self) -> String {
        match self {
            Export::Csv => row(COLUMNS),
            Export::JsonLines => String::new(),
        }
    }

    /// One action.
    pub fn line(self, action: &api::Action) -> String {
        match self {
            Export::Csv => cells(action),
            Export::JsonLines => {
                let value = serde_json::to_value(action).expect("its keys are strings");
                format!("{value}\n")
            }
        }
    }

    /// The last line if there would be more.
    pub fn broken_off(self, why: &str) -> String {
        let why = format!("broken off: {why}");
        match self {
            Export::Csv => row([why.as_str()]),
            Export::JsonLines => format!("{}\n", serde_json::json!({ "error": why })),
        }
    }
}

fn cells(action: &api::Action) -> String {
    let api::Action { object, error, .. } = action;
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let (code, message) = error.as_ref().map(|e| (e.code.clone(), e.message.clone())).unwrap_or_default();
    let cells: [String; COLUMNS.len()] = [
        action.id.clone(),
        action.verb.clone(),
        action.state.to_string(),
        action.actor.clone(),
        action.credential.clone(),
        text(&action.from),
        text(&action.request_id),
        object.kind.to_string(),
        object.id.clone(),
        text(&object.name),
        text(&object.container_id),
        text(&object.namespace),
        action.changed.join(" "),
        action.started_at.to_string(),
        action.ended_at.map(|at| at.to_string()).unwrap_or_default(),
        code,
        message,
    ];
    row(cells.iter().map(String::as_str))
}

fn row<'a>(cells: impl IntoIterator<Item = &'a str>) -> String {
    cells.into_iter().map(cell).collect::<Vec<_>>().join(",") + "\r\n"
}

/// A spreadsheet takes a cell for a formula that begins like one: a quotation mark before it makes it a text.
fn cell(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = format!("{}{text}", if formula { "'" } else { "" });
    // Some spreadsheets separate by other characters, and would see a formula after them.
    if text.contains(['"', ',', ';', '\t', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula_and_no_text_breaks_a_row() {
        assert_eq!(cell("alice"), "alice");
        assert_eq!(cell("\t=1"), "\"'\t=1\"");
        for formula in ["=1+1", "+1", "-1", "@SUM(A1)"] {
            assert_eq!(cell(formula), format!("'{formula}"));
        }
        assert_eq!(cell("x;=1"), "\"x;=1\"");
        assert_eq!(row(["a,b", "say \"hi\"", "=a\nb"]), "\"a,b\",\"say \"\"hi\"\"\",\"'=a\nb\"\r\n");
    }
}
