//! `/v1/users/import`: many users from a table, each row with its own result.

use std::{collections::BTreeSet, sync::Arc};

use csv::StringRecord;
use rocket::{
    Data, Request, Route, State,
    data::{FromData, Outcome as DataOutcome},
    http::{Accept, ContentType, Header, MediaType, Status},
    post,
};

use super::{
    auth::Caller,
    error::ApiError,
    fields,
    keys::ssh_keys,
    once, strict,
    users::{GENERATE, namespaces},
};
use crate::{
    api,
    app::{App, NewPassword, NewUser},
    domain::{Actor, Role, UserName, nearest},
};

/// The most that a table may hold, in bytes and in rows.
const LIMIT: u64 = 1024 * 1024;
const MOST: usize = 2_000;

/// The columns that a table may have.
const COLUMNS: [&str; 5] = ["name", "namespace", "key", "password", "role"];

/// The routes of this file.
pub fn routes() -> Vec<Route> {
    strict::with_body(rocket::routes![import])
}

/// A table as it came.
pub struct Table(String);

#[rocket::async_trait]
impl<'r> FromData<'r> for Table {
    type Error = ApiError;

    async fn from_data(request: &'r Request<'_>, data: Data<'r>) -> DataOutcome<'r, Self> {
        let utf8 = |bytes| String::from_utf8(bytes).map_err(|_| not_utf8());
        let read = match fields::bytes(data, LIMIT).await {
            Ok(bytes) => once::claim(request, &bytes).await.map(|()| bytes),
            Err(e) => Err(e),
        };
        match read.and_then(utf8) {
            Ok(text) => DataOutcome::Success(Self(text)),
            Err(e) => DataOutcome::Error((Status::BadRequest, e)),
        }
    }
}

/// The results. The sheet has a style of its own, and nothing else.
#[derive(rocket::Responder)]
struct Answered {
    answer: (ContentType, String),
    policy: Header<'static>,
}

#[post("/v1/users/import?<passwords>", data = "<table>")]
async fn import(
    caller: Caller,
    app: &State<Arc<App>>,
    accept: Option<&Accept>,
    passwords: Option<&str>,
    table: Result<Table, ApiError>,
) -> Result<(Status, Answered), ApiError> {
    let generate = match passwords {
        None => false,
        Some(GENERATE) => true,
        Some(other) => return Err(ApiError::invalid("passwords", other, "it is \"generate\"")),
    };
    app.asked.may_manage_users(&caller.0)?;
    let rows = rows(&table?.0)?;
    let mut done = Vec::new();
    for (line, row) in rows {
        done.push(imported(app, &caller.0, line, &row, generate).await);
    }
    let wants = |media: &MediaType| accept.is_some_and(|accept| accept.preferred().media_type() == media);
    let failed = done.iter().filter(|row| row.status != "created").count();
    let status = if failed == done.len() && failed > 0 { Status::BadRequest } else { Status::Ok };
    let answer = if wants(&MediaType::HTML) {
        (ContentType::HTML, sheet(&done))
    } else if wants(&MediaType::CSV) {
        (ContentType::CSV, written(&done))
    } else {
        (ContentType::JSON, serde_json::to_string(&done).expect("its keys are strings"))
    };
    let policy = Header::new("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'");
    Ok((status, Answered { answer, policy }))
}

fn not_utf8() -> ApiError {
    let message = "The table is not UTF-8; in Excel, save it as \"CSV UTF-8\"";
    ApiError::new(Status::BadRequest, "invalid_utf8", message)
}

/// A row by the names of its columns.
struct Row {
    columns: Vec<String>,
    values: StringRecord,
}

impl Row {
    fn get(&self, column: &str) -> Option<&str> {
        let at = self.columns.iter().position(|name| name == column)?;
        self.values.get(at).map(str::trim).filter(|value| !value.is_empty())
    }
}

/// The rows, each with its line; the first line has the names of the columns.
fn rows(text: &str) -> Result<Vec<(u64, Row)>, ApiError> {
    // Spreadsheets begin a file with a byte order mark, and some countries' write semicolons.
    let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n");
    // Excel says in a first line which separator it means.
    let text = text.strip_prefix("sep=").and_then(|rest| rest.split_once('\n')).map_or(text.as_str(), |(_, rest)| rest);
    let head = text.lines().next().unwrap_or_default();
    let delimiter = [b',', b';', b'\t'].into_iter().find(|byte| head.as_bytes().contains(byte)).unwrap_or(b',');
    let mut reader =
        csv::ReaderBuilder::new().delimiter(delimiter).flexible(true).trim(csv::Trim::All).from_reader(text.as_bytes());
    let unreadable =
        |e: csv::Error| ApiError::new(Status::BadRequest, "invalid_csv", format!("The table cannot be read: {e}"));
    let columns: Vec<String> = reader.headers().map_err(unreadable)?.iter().map(str::to_ascii_lowercase).collect();
    if !columns.iter().any(|column| column == "name") {
        let allowed = format!(
            "the first line has the names of the columns, and one of them is name; there are {}",
            COLUMNS.join(", ")
        );
        return Err(ApiError::invalid("name", head, allowed));
    }
    if let Some(other) = columns.iter().find(|column| !COLUMNS.contains(&column.as_str())) {
        let near = nearest(other, COLUMNS).map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
        let message = format!("{other:?} is no column of this table, which may have {}{near}", COLUMNS.join(", "));
        return Err(ApiError::new(Status::BadRequest, "unknown_field", message));
    }
    let twice = |(at, name): (usize, &String)| columns[..at].contains(name).then(|| name.clone());
    if let Some(name) = columns.iter().enumerate().find_map(twice) {
        return Err(ApiError::duplicate(None, &name, "a column has a name of its own"));
    }
    let mut rows = Vec::new();
    for record in reader.into_records() {
        let values = record.map_err(unreadable)?;
        if values.iter().all(str::is_empty) {
            continue;
        }
        if rows.len() == MOST {
            return Err(ApiError::invalid("table", "more rows", format!("it has at most {MOST}; send it in parts")));
        }
        let line = values.position().map_or(0, csv::Position::line);
        rows.push((line, Row { columns: columns.clone(), values }));
    }
    Ok(rows)
}

async fn imported(app: &App, by: &Actor, line: u64, row: &Row, generate: bool) -> api::Imported {
    let name = row.get("name").unwrap_or_default().to_owned();
    let namespaces = row
        .get("namespace")
        .map(|list| list.split([' ', ',']).filter(|name| !name.is_empty()).map(str::to_owned).collect());
    let namespaces: Vec<String> = namespaces.unwrap_or_default();
    let made = async {
        let wish = wish(row, &name, namespaces.clone(), generate)?;
        // Hundreds of passwords take a while, in which the caller may lose the right.
        let by = app.identity.again(by).await?;
        app.asked.make_user(&by, wish).await.map_err(ApiError::from)
    };
    let of = |status: &'static str| api::Imported {
        line,
        name: name.clone(),
        status: status.into(),
        message: None,
        code: None,
        namespaces: namespaces.clone(),
        password: None,
    };
    match made.await {
        Ok((_, password)) => api::Imported { password, ..of("created") },
        Err(e) => api::Imported { message: Some(e.message().to_owned()), code: Some(e.code().into()), ..of("failed") },
    }
}

fn wish(row: &Row, name: &str, listed: Vec<String>, generate: bool) -> Result<NewUser, ApiError> {
    if row.values.len() > row.columns.len() {
        let allowed = format!(
            "the first line names {} columns; a cell with a separator in it stands in quotes",
            row.columns.len()
        );
        return Err(ApiError::invalid("row", &format!("{} cells", row.values.len()), allowed));
    }
    let password = match row.get("password") {
        Some(GENERATE) => NewPassword::Generated,
        Some("none") => NewPassword::None,
        Some(password) => NewPassword::This(password.to_owned()),
        None if generate => NewPassword::Generated,
        None => NewPassword::None,
    };
    Ok(NewUser {
        name: UserName::parse("name", name)?,
        role: row.get("role").map(Role::parse).transpose()?.unwrap_or(Role::Learner),
        namespaces: namespaces(Some(listed))?.unwrap_or_else(BTreeSet::new),
        password,
        ssh_key: row.get("key").map(|key| ssh_keys("key", key)).transpose()?,
    })
}

/// A cell as a spreadsheet may read it: none of them is taken for a formula.
pub fn cell(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    if is_formula { format!("'{text}") } else { text.to_owned() }
}

fn written(done: &[api::Imported]) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let mut write = |cells: [&str; 6]| writer.write_record(cells.map(cell)).expect("memory takes it");
    write(["line", "name", "status", "password", "namespaces", "message"]);
    for row in done {
        let (line, namespaces) = (row.line.to_string(), row.namespaces.join(" "));
        let (password, message) = (row.password.as_deref(), row.message.as_deref());
        write([&line, &row.name, &row.status, password.unwrap_or_default(), &namespaces, message.unwrap_or_default()]);
    }
    String::from_utf8(writer.into_inner().expect("memory takes it")).expect("it was text")
}

/// A sheet to print and to cut up: a slip for each new user.
fn sheet(done: &[api::Imported]) -> String {
    let escaped = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let slip = |row: &api::Imported| {
        let secret = match (&row.password, &row.message) {
            (Some(password), _) => format!("<code>{}</code>", escaped(password)),
            (None, Some(why)) => format!("<em>{}</em>", escaped(why)),
            (None, None) => "<em>signs in with a key or the password given</em>".into(),
        };
        let (name, namespaces) = (escaped(&row.name), escaped(&row.namespaces.join(", ")));
        format!("<li><strong>{name}</strong> <small>{namespaces}</small><br>{secret}</li>\n")
    };
    let slips: String = done.iter().map(slip).collect();
    format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Users</title>\n<style>\n\
         body {{ font: 12pt/1.5 sans-serif; margin: 1cm }} ul {{ list-style: none; padding: 0 }}\n\
         li {{ border-bottom: 1px dashed; padding: .6em 0; break-inside: avoid }} code {{ font-size: 14pt }}\n\
         </style>\n<h1>Users</h1>\n<p>The passwords are shown this once.</p>\n<ul>\n{slips}</ul>\n</html>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read_as_spreadsheets_write_it() {
        let read = |text| rows(text).unwrap();
        let table = read("\u{feff}Name; Namespace ;key\r\nalice;db net;\"ssh-ed25519 AAAA a;b\"\r\n\r\nbob;;\r\n");
        assert_eq!(table.len(), 2);
        let (line, row) = &table[0];
        assert_eq!((*line, row.get("name"), row.get("namespace")), (2, Some("alice"), Some("db net")));
        assert_eq!(row.get("key"), Some("ssh-ed25519 AAAA a;b"));
        assert_eq!(
            (table[1].1.get("name"), table[1].1.get("namespace"), table[1].1.get("role")),
            (Some("bob"), None, None)
        );
        for (bad, code) in [
            ("", "invalid_field"),
            ("nmae\nx", "invalid_field"),
            ("name,kex\n", "unknown_field"),
            ("name,name\na,b\n", "duplicate_field"),
        ] {
            assert_eq!(rows(bad).err().map(|e| e.code()), Some(code), "{bad:?}");
        }
    }

    #[test]
    fn no_cell_is_a_formula_and_no_slip_is_markup() {
        let row = api::Imported {
            line: 2,
            name: "<b>".into(),
            status: "failed".into(),
            message: Some("=1+1 <script>".into()),
            code: None,
            namespaces: vec![],
            password: None,
        };
        assert!(written(std::slice::from_ref(&row)).contains(",'=1+1 <script>"));
        assert!(!sheet(&[row]).contains("<script>"));
    }
}
