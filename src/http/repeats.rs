//! Repeats: what a repeated request is answered with, which was done before.

use rocket::{Request, futures::FutureExt, http::Status};
use serde_json::Value;

use super::{
    containers,
    error::ApiError,
    namespaces,
    once::{SEVERAL, Shown},
};
use crate::{app::App, domain::Actor};

/// What was done, as it is now.
pub fn shown<'a>(request: &'a Request<'_>, app: &'a App, by: &'a Actor, about: &'a str) -> Shown<'a> {
    shown_now(request, app, by, about).boxed()
}

async fn shown_now(request: &Request<'_>, app: &App, by: &Actor, about: &str) -> Result<Value, ApiError> {
    let (host, fault) = (request.host(), |_: serde_json::Error| ApiError::internal());
    if let Some(all) = about.strip_prefix(SEVERAL) {
        let mut results = Vec::new();
        for id in all.split_whitespace() {
            results.push(containers::result_now(app, by, host, id).await);
        }
        return serde_json::to_value(results).map_err(fault);
    }
    if let Some(id) = about.strip_prefix("/v1/containers/").filter(|id| !id.contains('/')) {
        return serde_json::to_value(containers::now(app, by, host, id).await?).map_err(fault);
    }
    if let Some(name) = about.strip_prefix("/v1/namespaces/") {
        return serde_json::to_value(namespaces::now(app, by, name).await?).map_err(fault);
    }
    let message = format!("this is done already: {about}; what its answer told once is not told again");
    Err(ApiError::new(Status::Conflict, "already_done", message))
}
