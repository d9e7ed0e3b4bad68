//! A request's fields, from a form or from JSON alike, whichever the client sends.

use std::{collections::BTreeMap, time::Duration};

use rocket::{
    Data, Request,
    data::{FromData, Outcome, ToByteUnit},
    http::{RawStr, Status},
};
use serde_json::{Map, Value};

use super::error::ApiError;

/// The most that a body may hold.
const LIMIT: u64 = 64 * 1024;

/// How long a client may take to send it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Keys and their values, in the order in which they came.
pub type Pairs = Vec<(String, String)>;

/// The fields of a body. Unknown ones are carried along and never asked for.
#[derive(Debug, Default)]
pub struct Fields {
    values: BTreeMap<String, Value>,
    form: bool,
}

impl Fields {
    /// The first of `names` that is there, as text. A JSON number is text too; `null` is absent.
    pub fn text(&self, names: &[&'static str]) -> Result<Option<String>, ApiError> {
        for name in names {
            match self.values.get(*name) {
                None | Some(Value::Null) => {}
                Some(Value::String(text)) => return Ok(Some(text.clone())),
                Some(Value::Number(number)) => return Ok(Some(number.to_string())),
                Some(other) => return Err(ApiError::invalid(name, &other.to_string(), "it must be a string")),
            }
        }
        Ok(None)
    }

    /// As [`Fields::text`], but a JSON number is no answer.
    pub fn string(&self, name: &'static str) -> Result<Option<String>, ApiError> {
        match self.values.get(name) {
            Some(Value::Number(n)) => Err(ApiError::invalid(name, &n.to_string(), "it must be a string")),
            _ => self.text(&[name]),
        }
    }

    /// An object of strings; `None` if it is absent. A form has none: there it is refused, unless
    /// `list` says how to read its text.
    pub fn object(&self, name: &'static str, list: Option<fn(&str) -> Pairs>) -> Result<Pairs, ApiError> {
        match (self.values.get(name), list) {
            (None | Some(Value::Null), _) => Ok(Vec::new()),
            (Some(Value::String(text)), Some(list)) if self.form => Ok(list(text)),
            (Some(Value::String(text)), None) if self.form => {
                Err(ApiError::invalid(name, text, "it is taken in a JSON body only, as an object of strings"))
            }
            (Some(Value::Object(object)), _) => object.iter().map(|(k, v)| text_entry(name, k, v)).collect(),
            (Some(other), _) => {
                Err(ApiError::invalid(name, &other.to_string(), "it must be an object whose values are strings"))
            }
        }
    }

    async fn read(request: &Request<'_>, data: Data<'_>) -> Result<Self, ApiError> {
        let bytes = match tokio::time::timeout(PATIENCE, data.open(LIMIT.bytes()).into_bytes()).await {
            Ok(Ok(bytes)) if bytes.is_complete() => bytes.into_inner(),
            Ok(Ok(_)) => {
                let message = format!("The body is larger than {LIMIT} bytes");
                return Err(ApiError::new(Status::PayloadTooLarge, "payload_too_large", message));
            }
            Ok(Err(_)) => return Err(ApiError::new(Status::BadRequest, "bad_request", "The body broke off")),
            Err(_) => {
                let message = format!("The body did not arrive within {} s", PATIENCE.as_secs());
                return Err(ApiError::new(Status::RequestTimeout, "request_timeout", message));
            }
        };
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| ApiError::new(Status::BadRequest, "invalid_utf8", "The body is not valid UTF-8"))?;
        Self::parse(request.content_type().map(|t| t.to_string()).as_deref(), text)
    }

    fn parse(content_type: Option<&str>, text: &str) -> Result<Self, ApiError> {
        let kind = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let looks_like_json = text.trim_start().starts_with('{');
        match kind.as_str() {
            _ if text.trim().is_empty() => Ok(Self::default()),
            "application/json" => Self::from_json(text),
            // `curl -d '{...}'` without a header says form and means JSON.
            "application/x-www-form-urlencoded" | "" if looks_like_json => Self::from_json(text),
            "application/x-www-form-urlencoded" | "" => Self::from_form(text),
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
            Ok(Value::Object(object)) => Ok(Self { values: entries(object), form: false }),
            Ok(_) => Err(invalid("The JSON body must be an object".into())),
            Err(e) => Err(invalid(format!("The body is not valid JSON: {e}"))),
        }
    }

    fn from_form(text: &str) -> Result<Self, ApiError> {
        let mut values = BTreeMap::new();
        for pair in text.trim_end_matches(['\r', '\n']).split('&').filter(|p| !p.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decode = |part: &str| match RawStr::new(part).url_decode() {
                Ok(text) => Ok(text.into_owned()),
                Err(_) => Err(ApiError::new(Status::BadRequest, "invalid_utf8", "The form is not valid UTF-8")),
            };
            // Of a field that is sent twice the first counts.
            values.entry(decode(key)?).or_insert(Value::String(decode(value)?));
        }
        Ok(Self { values, form: true })
    }
}

fn entries(object: Map<String, Value>) -> BTreeMap<String, Value> {
    object.into_iter().collect()
}

fn text_entry(name: &'static str, key: &str, value: &Value) -> Result<(String, String), ApiError> {
    match value {
        Value::String(text) => Ok((key.to_owned(), text.clone())),
        other => Err(ApiError::invalid(name, &format!("{key}: {other}"), "every value must be a string")),
    }
}

#[rocket::async_trait]
impl<'r> FromData<'r> for Fields {
    type Error = ApiError;

    /// Never fails the route: the error is the route's to answer, through `Result<Fields, ApiError>`.
    async fn from_data(request: &'r Request<'_>, data: Data<'r>) -> Outcome<'r, Self> {
        match Self::read(request, data).await {
            Ok(fields) => Outcome::Success(fields),
            Err(e) => Outcome::Error((Status::BadRequest, e)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: Option<&str> = Some("application/x-www-form-urlencoded");

    fn image(content_type: Option<&str>, text: &str) -> Option<String> {
        Fields::parse(content_type, text).unwrap().text(&["image"]).unwrap()
    }

    #[test]
    fn forms_and_json_are_the_same() {
        assert_eq!(image(FORM, "image=a%2Fb:1&x=y").as_deref(), Some("a/b:1"));
        assert_eq!(image(Some("application/json; charset=utf-8"), r#"{"image": "a/b:1"}"#).as_deref(), Some("a/b:1"));
        assert_eq!(image(FORM, r#" {"image": "a"}"#).as_deref(), Some("a"));
        assert_eq!(image(None, "image=one&image=two").as_deref(), Some("one"));
        assert_eq!(image(Some("text/plain"), "  "), None);
        assert_eq!(image(Some("application/json"), r#"{"image": null}"#), None);
    }

    #[test]
    fn rubbish_is_refused() {
        for (content_type, text) in [
            (Some("application/json"), "{"),
            (Some("application/json"), "[1]"),
            (Some("application/json"), "image=x"),
            (FORM, "image=%ff"),
            (Some("text/plain"), "image=x"),
            (Some("multipart/form-data; boundary=x"), "--x"),
        ] {
            assert!(Fields::parse(content_type, text).is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn a_wrong_type_names_its_field() {
        let fields = Fields::parse(Some("application/json"), r#"{"image": ["x"], "env": {"A": 1}}"#).unwrap();
        for error in [fields.text(&["image"]).unwrap_err(), fields.object("env", None).unwrap_err()] {
            let message = format!("{error:?}");
            assert!(message.contains("image: ") || message.contains("env: "), "{message}");
        }
    }
}
