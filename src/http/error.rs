//! Errors on the wire: one shape for all of them, and one exhaustive match from ours to HTTP's.

use std::io::Cursor;

use rocket::{
    Request, Response,
    http::{ContentType, Header, Status},
    response::{self, Responder},
};

use super::arrival::request_id;
use crate::{
    api,
    app::{self, Error},
    domain::{Invalid, names::shortened, nearest},
};

/// An answer that is an error (`CONTRACT.md` 5).
#[derive(Debug, Clone)]
pub struct ApiError {
    status: Status,
    code: &'static str,
    message: String,
    allow: Option<String>,
    /// After how many seconds another try makes sense.
    retry: Option<u32>,
    /// What would help, beside a message whose words v1 fixes.
    hint: Option<Box<str>>,
    /// What went wrong inside: for the log, never for the answer.
    cause: Option<Box<str>>,
}

impl ApiError {
    /// An error with a status, a code for programs and a message for people.
    pub fn new(status: Status, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), allow: None, retry: None, hint: None, cause: None }
    }

    /// The same, with the methods that are allowed.
    pub fn allowing(self, allow: String) -> Self {
        Self { allow: Some(allow), ..self }
    }

    /// For people.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The status.
    pub fn status(&self) -> Status {
        self.status
    }

    /// For programs.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// A fault in Spindle.
    pub fn internal() -> Self {
        let message = "Something went wrong in Spindle; the request id leads to the log";
        Self::new(Status::InternalServerError, "internal_error", message)
    }

    /// A field or parameter (`kind`) that the request does not take. Says what it takes, which one was meant, or where
    /// `name` belongs (`CONTRACT.md` 24).
    pub fn unknown(kind: &str, name: &str, takes: &[&str], elsewhere: Option<&str>) -> Self {
        let taken = takes.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
        let taken = if taken.is_empty() { "none".into() } else { taken };
        let help = match (elsewhere, nearest(name, takes.iter().copied())) {
            (Some(help), _) => format!("; {help}"),
            (None, Some(near)) => format!("; did you mean {near:?}?"),
            (None, None) => String::new(),
        };
        let name = shortened(name);
        let message = format!("{name:?} is no {kind} of this request, which takes {taken}{help}");
        Self::new(Status::BadRequest, "unknown_field", message)
    }

    /// A field, parameter or entry `of` a field that comes twice (`CONTRACT.md` 24).
    pub fn duplicate(of: Option<&str>, name: &str, instead: &str) -> Self {
        let of = of.map(|field| format!("{field}: ")).unwrap_or_default();
        let message = format!("{of}{:?} is sent more than once; {instead}", shortened(name));
        Self::new(Status::BadRequest, "duplicate_field", message)
    }

    /// A field that must be there; `what` it is.
    pub fn missing(field: &'static str, what: &str) -> Self {
        Self::new(Status::BadRequest, "missing_field", format!("{field}: the field is missing; {what}"))
    }

    /// The status and the error of one of several that a request is about.
    pub fn into_result(self) -> (u16, api::Failure) {
        if let Some(cause) = self.cause {
            tracing::error!(cause, "one of several failed");
        }
        (self.status.code, api::Failure { code: self.code.into(), message: self.message })
    }

    /// A value that is not allowed.
    pub fn invalid(field: &'static str, value: &str, allowed: impl Into<String>) -> Self {
        Invalid::new(field, value, allowed).into()
    }
}

impl From<Invalid> for ApiError {
    fn from(invalid: Invalid) -> Self {
        Self::new(Status::BadRequest, "invalid_field", invalid.to_string())
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let status = match &error {
            Error::Invalid(_) | Error::NoProgram(_) | Error::Gone | Error::BadTar(_) | Error::BrokenOff => {
                Status::BadRequest
            }
            Error::TooLarge(_) => Status::PayloadTooLarge,
            Error::NoRoom(_) => Status::InsufficientStorage,
            Error::Unauthorized => Status::Unauthorized,
            Error::Forbidden(_) | Error::Quota(_) => Status::Forbidden,
            Error::NoSandbox(_)
            | Error::NoNamespace(_)
            | Error::NoUser(_)
            | Error::NoCredential(..)
            | Error::NoImage(_)
            | Error::NotInRegistry(_)
            | Error::NoTerminal(_)
            | Error::NoPath(_)
            | Error::NoAction(_) => Status::NotFound,
            Error::ImageInUse(..)
            | Error::NameTaken(..)
            | Error::Taken(_)
            | Error::InUse(_)
            | Error::NotRunning
            | Error::TooManyTerminals(_)
            | Error::PortHeld(_)
            | Error::NotCancellable(_)
            | Error::Cancelled(_)
            | Error::WrongKind(_)
            | Error::ReadOnlyPath(_) => Status::Conflict,
            Error::TooManyAttempts(_) => Status::TooManyRequests,
            Error::NoRandom(_)
            | Error::NoPort
            | Error::Full(_)
            | Error::EngineAway(_)
            | Error::CannotListen(_)
            | Error::RelayAway(_)
            | Error::ShuttingDown
            | Error::StillStopping
            | Error::DatabaseAway(_)
            | Error::NotWritten(_) => Status::ServiceUnavailable,
            Error::Engine { .. } => Status::BadGateway,
            Error::Store(_) => {
                return Self { cause: Some(app::chain(&error).into()), ..Self::internal() };
            }
        };
        let hint = match &error {
            Error::NoImage(image) => Some(format!("PUT /v1/images/{image} pulls it, if a registry has it").into()),
            _ => None,
        };
        let retry = match &error {
            Error::TooManyAttempts(wait) => Some(wait.as_secs() as u32 + 1),
            _ => Some(5).filter(|_| status == Status::ServiceUnavailable),
        };
        Self { retry, hint, ..Self::new(status, error.code(), error.to_string()) }
    }
}

impl<'r> Responder<'r, 'static> for ApiError {
    fn respond_to(self, request: &'r Request<'_>) -> response::Result<'static> {
        let request_id = request_id(request);
        if self.status == Status::InternalServerError {
            let cause = self.cause.as_deref().unwrap_or("a handler panicked or broke a rule of the server's");
            tracing::error!(request_id, cause, "a request failed");
        }
        let body = api::Error {
            message: self.message,
            code: self.code.into(),
            request_id: request_id.to_owned(),
            hint: self.hint.map(Into::into),
        };
        let body = serde_json::to_vec(&body).map_err(|_| Status::InternalServerError)?;
        let mut response = Response::build();
        response.status(self.status).header(ContentType::JSON).sized_body(body.len(), Cursor::new(body));
        if self.status == Status::Unauthorized {
            response.header(Header::new("WWW-Authenticate", "Basic realm=\"Spindle\", charset=\"UTF-8\""));
        }
        if let Some(allow) = self.allow {
            response.header(Header::new("Allow", allow));
        }
        if let Some(seconds) = self.retry {
            response.header(Header::new("Retry-After", seconds.to_string()));
        }
        response.ok()
    }
}
