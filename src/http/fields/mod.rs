//! A request's fields, from a form or from JSON. A field that is unknown or comes twice is refused: if the answer is
//! "done", everything was done (`CONTRACT.md` 24).

mod form;
mod json;

use std::borrow::Cow;

use rocket::{
    Data, Request,
    data::{FromData, Outcome, ToByteUnit},
    http::Status,
};
use serde_json::Value;

use super::{error::ApiError, once};
use json::Json;

/// The most that a body may hold.
const LIMIT: u64 = 64 * 1024;

/// Fields whose values no answer repeats.
const SECRET: [&str; 3] = ["password", "current_password", "invitation"];

/// Keys and their values, in the order in which they came.
pub type Pairs = Vec<(String, String)>;

/// Reads the text of a field that is a list in a form and an object in JSON.
pub type ReadList = fn(&str) -> Result<Pairs, ApiError>;

/// Managed by a server: whether it takes what others refuse, as spin-docker did (`SPINDLE_LENIENT`). Then unknown
/// fields are ignored; of a repeated field the first counts in a form, the last in JSON.
pub struct Lenient(pub bool);

/// Whether the server of the request is lenient.
pub fn is_lenient(request: &Request<'_>) -> bool {
    request.rocket().state::<Lenient>().is_some_and(|lenient| lenient.0)
}

/// The fields that a request takes.
pub struct Taken {
    /// Their names, group by group.
    pub names: &'static [&'static [&'static str]],
    /// Fields of other requests that somebody may try here, and where they belong.
    pub elsewhere: &'static [(&'static [&'static str], &'static str)],
}

impl Taken {
    /// For requests that take no fields.
    pub const NOTHING: Self = Self { names: &[], elsewhere: &[] };

    /// Whether the request takes a field of that name.
    pub fn has(&self, name: &str) -> bool {
        self.names.iter().any(|group| group.contains(&name))
    }

    /// The error about a field that the request does not take.
    pub fn unknown(&self, name: &str) -> ApiError {
        let elsewhere = self.elsewhere.iter().find(|(names, _)| names.contains(&name)).map(|(_, where_to)| *where_to);
        ApiError::unknown("field", name, &self.names.concat(), elsewhere)
    }
}

/// A body as it came.
#[derive(Debug)]
pub struct Body {
    pairs: Vec<(String, Json)>,
    form: bool,
    lenient: bool,
    /// Whether some of it is not UTF-8, and was left out or replaced.
    garbled: bool,
}

impl Body {
    /// The fields of a request that takes only the `taken` ones.
    ///
    /// # Errors
    /// `unknown_field`, `duplicate_field`.
    pub fn only(self, taken: &Taken) -> Result<Fields, ApiError> {
        let Self { pairs, form, lenient, garbled } = self;
        if garbled {
            return Err(invalid_utf8());
        }
        if let Some((name, _)) = pairs.iter().find(|(name, _)| !lenient && !taken.has(name)) {
            return Err(taken.unknown(name));
        }
        let fields = Fields { pairs, form, lenient };
        match fields.repeated() {
            Some(name) if !lenient => Err(fields.duplicate(name)),
            _ => Ok(fields),
        }
    }

    /// All texts and numbers that came under one of `names`, for a request that takes whatever it can use. Any other
    /// value is an error that shows it. `null` is absent.
    pub fn all<'a>(&'a self, names: &'a [&str]) -> impl Iterator<Item = Result<String, String>> + 'a {
        let named = self.pairs.iter().filter(|(name, _)| names.contains(&name.as_str()));
        named.filter_map(|(_, value)| text_of(value).transpose())
    }

    /// The name of the first field.
    pub fn first(&self) -> Option<&str> {
        self.pairs.first().map(|(name, _)| name.as_str())
    }

    /// Reads the body from the client.
    pub async fn read(request: &Request<'_>, data: Data<'_>) -> Result<Self, ApiError> {
        let bytes = bytes(data, LIMIT).await?;
        once::claim(request, &bytes).await?;
        let text = String::from_utf8_lossy(&bytes);
        let garbled = matches!(text, Cow::Owned(_));
        match Self::parse(request.content_type().map(ToString::to_string).as_deref(), &text) {
            Ok(body) => Ok(Self { lenient: is_lenient(request), garbled: body.garbled || garbled, ..body }),
            Err(_) if garbled => Err(invalid_utf8()),
            Err(e) => Err(e),
        }
    }

    fn parse(content_type: Option<&str>, text: &str) -> Result<Self, ApiError> {
        let kind = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let looks_like_json = text.trim_start().starts_with('{');
        match kind.as_str() {
            _ if text.trim().is_empty() => Ok(Self::from_form("")),
            "application/json" => Self::from_json(text),
            // `curl -d '{...}'` without a header says "form", and means JSON.
            "application/x-www-form-urlencoded" | "" if looks_like_json => Self::from_json(text),
            "application/x-www-form-urlencoded" | "" => Ok(Self::from_form(text)),
            other => Err(ApiError::new(
                Status::UnsupportedMediaType,
                "unsupported_media_type",
                format!(
                    "{other} is not understood; send application/x-www-form-urlencoded (curl -d) or application/json"
                ),
            )),
        }
    }

    fn from_json(text: &str) -> Result<Self, ApiError> {
        let invalid = |why: String| ApiError::new(Status::BadRequest, "invalid_json", why);
        match serde_json::from_str(text) {
            Ok(Json::Object(pairs)) => Ok(Self { pairs, form: false, lenient: false, garbled: false }),
            Ok(_) => Err(invalid("The JSON body must be an object".into())),
            Err(e) => Err(invalid(format!("The body is not valid JSON: {e}"))),
        }
    }

    fn from_form(text: &str) -> Self {
        let read: Vec<_> = form::pairs(text).collect();
        let garbled = read.iter().any(Result::is_err);
        let pairs = read.into_iter().flatten().map(|(name, value)| (name, Json::Plain(value.into())));
        Self { pairs: pairs.collect(), form: true, lenient: false, garbled }
    }
}

/// All bytes of a body, at most `limit`. How long it may take is the gate's to say.
pub async fn bytes(data: Data<'_>, limit: u64) -> Result<Vec<u8>, ApiError> {
    match data.open(limit.bytes()).into_bytes().await {
        Ok(bytes) if bytes.is_complete() => Ok(bytes.into_inner()),
        Ok(_) => {
            let message = format!("The body is larger than {limit} bytes");
            Err(ApiError::new(Status::PayloadTooLarge, "payload_too_large", message))
        }
        Err(_) => Err(ApiError::new(Status::BadRequest, "bad_request", "The body broke off")),
    }
}

/// The error about a body that is no text.
pub fn invalid_utf8() -> ApiError {
    ApiError::new(Status::BadRequest, "invalid_utf8", "The body is not valid UTF-8")
}

/// A value as text. A JSON number is text too; `null` is absent; anything else is an error that shows it.
fn text_of(value: &Json) -> Result<Option<String>, String> {
    match value {
        Json::Plain(Value::Null) => Ok(None),
        Json::Plain(Value::String(text)) => Ok(Some(text.clone())),
        Json::Plain(Value::Number(number)) => Ok(Some(number.to_string())),
        other => Err(other.to_string()),
    }
}

/// The first name that comes twice.
fn repeated<T>(pairs: &[(String, T)]) -> Option<&str> {
    let again = |(at, (name, _)): &(usize, &(String, T))| pairs[..*at].iter().any(|(earlier, _)| earlier == name);
    pairs.iter().enumerate().find(again).map(|(_, (name, _))| name.as_str())
}

/// The fields of a request, all of which it takes.
#[derive(Debug)]
pub struct Fields {
    pairs: Vec<(String, Json)>,
    form: bool,
    lenient: bool,
}

impl Fields {
    fn get(&self, name: &str) -> Option<&Json> {
        // Only a lenient server lets a name come twice.
        let mut named = self.pairs.iter().filter(|(n, _)| n == name).map(|(_, value)| value);
        if self.form { named.next() } else { named.next_back() }
    }

    /// Whether the field `name` is there, and is not `null`.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| *value != Json::Plain(Value::Null))
    }

    fn repeated(&self) -> Option<&str> {
        repeated(&self.pairs)
    }

    fn duplicate(&self, name: &str) -> ApiError {
        let one = match (name, self.form) {
            ("labels", true) => "write labels=a=1,b=2",
            _ => "send it once",
        };
        ApiError::duplicate(None, name, one)
    }

    /// The field `name` as text, if it is there. A JSON number is text too; `null` is absent.
    pub fn text(&self, name: &'static str) -> Result<Option<String>, ApiError> {
        let read = self.get(name).map_or(Ok(None), text_of);
        let shown = |value: String| if SECRET.contains(&name) { "(not shown)".into() } else { value };
        read.map_err(|value| ApiError::invalid(name, &shown(value), "it must be a string"))
    }

    /// As [`Fields::text`], but a JSON number is refused.
    pub fn string(&self, name: &'static str) -> Result<Option<String>, ApiError> {
        match self.get(name) {
            Some(Json::Plain(Value::Number(n))) => Err(ApiError::invalid(name, &n.to_string(), "it must be a string")),
            _ => self.text(name),
        }
    }

    /// Yes or no: `true` or `false`, as such in JSON or as a text.
    pub fn flag(&self, name: &'static str) -> Result<Option<bool>, ApiError> {
        if let Some(Json::Plain(Value::Bool(flag))) = self.get(name) {
            return Ok(Some(*flag));
        }
        match self.text(name)?.as_deref() {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(other) => Err(ApiError::invalid(name, other, "it is true or false")),
        }
    }

    /// A command: a list of words in JSON, or a line for the shell, which `shell` makes a list of words.
    pub fn command(&self, name: &'static str, shell: fn(&str) -> Vec<String>) -> Result<Option<Vec<String>>, ApiError> {
        match self.get(name) {
            Some(Json::Plain(Value::Array(_))) => self.list(name),
            _ => Ok(self.string(name)?.map(|line| shell(&line))),
        }
    }

    /// A list of texts: an array in JSON, `a,b` in a form. `None` if it is absent.
    pub fn list(&self, name: &'static str) -> Result<Option<Vec<String>>, ApiError> {
        let allowed = "it is a list of texts: [\"a\", \"b\"] in JSON, a,b in a form";
        let text = |value: &Value| value.as_str().map(str::to_owned);
        match self.get(name) {
            None | Some(Json::Plain(Value::Null)) => Ok(None),
            Some(Json::Plain(Value::Array(values))) => match values.iter().map(text).collect() {
                Some(texts) => Ok(Some(texts)),
                None => Err(ApiError::invalid(name, &Value::from(values.clone()).to_string(), allowed)),
            },
            Some(Json::Plain(Value::String(list))) => {
                Ok(Some(list.split(',').map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned).collect()))
            }
            Some(other) => Err(ApiError::invalid(name, &other.to_string(), allowed)),
        }
    }

    /// The words of a command: an array, or a text of words with spaces between.
    pub fn words(&self, name: &'static str) -> Result<Option<Vec<String>>, ApiError> {
        match self.get(name) {
            Some(Json::Plain(Value::String(text))) if text.is_empty() => Ok(None),
            Some(Json::Plain(Value::String(text))) => Ok(Some(text.split_whitespace().map(str::to_owned).collect())),
            _ => self.list(name),
        }
    }

    /// An object of texts and numbers: in a form as `a=1,b=2`. `None` if it is absent.
    pub fn amounts(&self, name: &'static str, list: ReadList) -> Result<Option<Pairs>, ApiError> {
        match self.get(name) {
            Some(Json::Object(object)) => {
                let entry = |(key, value): &(String, Json)| match text_of(value) {
                    Ok(text) => Ok((key.clone(), text.unwrap_or_else(|| "none".into()))),
                    Err(shown) => Err(ApiError::invalid(name, &format!("{key}: {shown}"), "it is a number or a text")),
                };
                object.iter().map(entry).collect::<Result<_, _>>().map(Some)
            }
            None => Ok(None),
            Some(_) => self.object(name, Some(list)).map(Some),
        }
    }

    /// An object of strings; empty if it is absent. A form has no objects: there it is refused, unless `list` reads its
    /// text.
    pub fn object(&self, name: &'static str, list: Option<ReadList>) -> Result<Pairs, ApiError> {
        let pairs = match (self.get(name), list) {
            (None | Some(Json::Plain(Value::Null)), _) => return Ok(Vec::new()),
            (Some(Json::Plain(Value::String(text))), Some(list)) if self.form => list(text)?,
            (Some(Json::Plain(Value::String(text))), None) if self.form => {
                return Err(ApiError::invalid(name, text, "it is taken in a JSON body only, as an object of strings"));
            }
            (Some(Json::Object(object)), _) => {
                object.iter().map(|(k, v)| text_entry(name, k, v)).collect::<Result<Pairs, _>>()?
            }
            (Some(other), _) => {
                let allowed = "it must be an object whose values are strings";
                return Err(ApiError::invalid(name, &other.to_string(), allowed));
            }
        };
        match repeated(&pairs).map(str::to_owned) {
            None => Ok(pairs),
            Some(_) if self.lenient => Ok(last_of_each(&pairs)),
            Some(key) => Err(ApiError::duplicate(Some(name), &key, "send it once")),
        }
    }
}

fn last_of_each(pairs: &Pairs) -> Pairs {
    let last = |at: usize| !pairs[at + 1..].iter().any(|(name, _)| *name == pairs[at].0);
    (0..pairs.len()).filter(|at| last(*at)).map(|at| pairs[at].clone()).collect()
}

fn text_entry(name: &'static str, key: &str, value: &Json) -> Result<(String, String), ApiError> {
    match value {
        Json::Plain(Value::String(text)) => Ok((key.to_owned(), text.clone())),
        other => Err(ApiError::invalid(name, &format!("{key}: {other}"), "every value must be a string")),
    }
}

#[rocket::async_trait]
impl<'r> FromData<'r> for Body {
    type Error = ApiError;

    /// Never fails the route: the route itself answers the error, which it gets as `Result<Body, ApiError>`.
    async fn from_data(request: &'r Request<'_>, data: Data<'r>) -> Outcome<'r, Self> {
        match Self::read(request, data).await {
            Ok(body) => Outcome::Success(body),
            Err(e) => Outcome::Error((Status::BadRequest, e)),
        }
    }
}

#[cfg(test)]
mod tests;
