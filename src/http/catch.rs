//! The catchers: answer what no route answered, and what a guard refused.

use rocket::{Request, catch, http::Status};

use super::{
    auth,
    error::ApiError,
    gate,
    paths::{For, Paths},
};
use crate::app::Error;

/// Answers whatever no route answered.
#[catch(default)]
pub async fn fallback(status: Status, request: &Request<'_>) -> ApiError {
    if gate::peer(request).is_none() {
        return ApiError::new(Status::Forbidden, "forbidden", "This port is Spindle's own; the API is at another");
    }
    match status.code {
        401 | 403 | 429 | 503 if let Some(e) = auth::refusal(request, status).await => e,
        404 => no_route(request).await,
        413 => ApiError::new(status, "payload_too_large", "The request is too large"),
        415 => ApiError::new(status, "unsupported_media_type", "This content type is not understood"),
        422 => ApiError::new(status, "unprocessable", "The request could not be understood"),
        400..=499 => ApiError::new(status, "bad_request", "The request could not be understood"),
        503 => Error::ShuttingDown.into(),
        _ => ApiError::internal(),
    }
}

/// No such path (404), or a path without this method (`CONTRACT.md` 6).
async fn no_route(request: &Request<'_>) -> ApiError {
    let paths = request.rocket().state::<Paths>();
    match paths.and_then(|paths| paths.known(request.uri().path().as_str())) {
        Some((_, For::Callers)) if let Err(e) = auth::caller(request).await => e.clone(),
        Some((allow, _)) => {
            let message = format!("{} is not allowed here; allowed are {allow}", request.method());
            ApiError::new(Status::MethodNotAllowed, "method_not_allowed", message).allowing(allow)
        }
        None => ApiError::new(Status::NotFound, "not_found", "There is no such path"),
    }
}
