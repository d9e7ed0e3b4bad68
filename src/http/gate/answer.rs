//! Answers of the gate's own, in the shape that all errors have.

use std::io;

use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{
    HeaderMap, Response, StatusCode,
    body::Bytes,
    header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue},
};

use crate::api;

/// A body in either direction, or why it broke off.
pub type Body = BoxBody<Bytes, io::Error>;

/// Why a request is not passed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: StatusCode,
    /// For programs.
    pub code: &'static str,
    /// For people.
    pub message: String,
}

impl Refusal {
    /// A refusal with a status, a code for programs and a message for people.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    /// A request that is not well-formed.
    pub fn malformed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    /// The answer. It ends the connection: what else the client sends on it is not read.
    pub fn answer(self) -> Response<Body> {
        let request_id = random_id();
        tracing::debug!(request_id, status = self.status.as_u16(), code = self.code, "refused at the gate");
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        headers.insert("x-request-id", HeaderValue::from_str(&request_id).expect("hexadecimal digits"));
        let body = api::Error { message: self.message, code: self.code.into(), request_id, hint: None };
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = Response::new(Full::from(body).map_err(|never| match never {}).boxed());
        *response.status_mut() = self.status;
        *response.headers_mut() = headers;
        response
    }
}

/// A random id, in hexadecimal digits.
pub fn random_id() -> String {
    let mut bytes = [0; 8];
    // Without random numbers all requests share an id. That is no reason to refuse them.
    let _ = getrandom::fill(&mut bytes);
    format!("{:016x}", u64::from_be_bytes(bytes))
}
