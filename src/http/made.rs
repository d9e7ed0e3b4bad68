//! The answer to whoever has made something: 201, where it is, and how it looks.

use rocket::{http::Header, serde::json::Json};

/// Something that was made.
#[derive(rocket::Responder)]
#[response(status = 201)]
pub struct Located<B> {
    body: B,
    location: Header<'static>,
}

/// Something that was made, as JSON.
pub type Made<T> = Located<Json<T>>;

impl<T> Made<T> {
    /// `body` was made, and is at `path`.
    pub fn at(path: String, body: T) -> Self {
        Self { body: Json(body), location: Header::new("Location", path) }
    }
}
