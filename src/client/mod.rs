//! A client of our API over HTTP, like any other client. It answers with the API's own shapes.

mod error;
mod request;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use http_auth_basic::Credentials;
use serde::de::DeserializeOwned;

pub use error::{Error, Result};

use crate::api;

/// A client of one server.
pub struct Client {
    at: SocketAddr,
    authorization: String,
}

impl Client {
    /// A client of the server at `at`, with these credentials.
    pub fn new(at: SocketAddr, user: &str, password: &str) -> Self {
        Self { at, authorization: Credentials::new(user, password).as_http_header() }
    }

    /// What the server says about itself. This request does not send the password.
    ///
    /// # Errors
    /// [`Error::NoSpindle`] if somebody else answers; the errors of every request.
    pub async fn health(&self) -> Result<api::Health> {
        // A 503 has the same body, which says what is not well.
        let answer = request::get(self.at, "/v1/health", None).await?;
        serde_json::from_str(&answer.body).map_err(|_| Error::NoSpindle)
    }

    /// All containers, oldest first.
    ///
    /// # Errors
    /// The errors of every request.
    pub async fn containers(&self) -> Result<Vec<api::Container>> {
        self.get("/v1/containers").await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let answer = request::get(self.at, path, Some(&self.authorization)).await?;
        match answer.status {
            200 => serde_json::from_str(&answer.body).map_err(Error::Unclear),
            status => {
                let error: api::Error = serde_json::from_str(&answer.body).unwrap_or_default();
                Err(Error::Refused { status, message: error.message })
            }
        }
    }
}
