//! `/v1/check-in`: the one open door. A caller can record evidence for one live sandbox, and nothing else.

use std::{net::IpAddr, sync::Arc};

use rocket::{
    Request, Route, State,
    http::Status,
    post,
    request::{FromRequest, Outcome},
    serde::json::Json,
};

use super::{activity, error::ApiError, fields::Body, gate, wishes::length};
use crate::{api, app::App, domain::Token};

/// The routes of this file.
pub fn routes() -> Vec<Route> {
    rocket::routes![check_in, check_in_underscored]
}

/// The answer: empty, unless the reporter asks to be kept.
#[derive(rocket::Responder)]
enum CheckedIn {
    Done(Status),
    Kept(Json<api::Kept>),
}

/// Who reports: the token, if there is one, and the connection's own peer. Headers about addresses are not looked at
/// (`CONTRACT.md` 27), and credentials are ignored (3).
struct Reporter {
    token: Option<String>,
    peer: Option<IpAddr>,
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Reporter {
    type Error = std::convert::Infallible;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, Self::Error> {
        let token = request.headers().get_one("X-Spindle-Token").map(|t| t.trim().to_owned());
        Outcome::Success(Self { token, peer: gate::peer(request).map(|peer| peer.address) })
    }
}

#[post("/v1/check-in", data = "<body>")]
async fn check_in(
    app: &State<Arc<App>>,
    reporter: Reporter,
    body: Result<Body, ApiError>,
) -> Result<CheckedIn, ApiError> {
    let body = body?;
    let keep = largest(&body, &["keep"], |text| Ok(length("keep", text)?));
    let value = largest(&body, &VALUE, number)?;
    // A caller who only keeps the sandbox reports no number.
    if value.is_none() && matches!(keep, Ok(None)) {
        let message = "active-connections: the field is missing; it is the number of connections in use, 0 or more";
        return Err(ApiError::new(Status::BadRequest, "missing_field", message));
    }
    let tokens = reporter.token.into_iter().chain(body.all(&["token"]).flatten());
    let token = tokens.into_iter().find(|token| Token::parse(token).is_some());
    if let Some(value) = value {
        app.asked.check_in(token.as_deref(), reporter.peer, value).await?;
    }
    // A wish that cannot be read does not spoil the report beside it.
    let kept = match keep? {
        Some(length) => app.asked.keep_from_inside(token.as_deref(), reporter.peer, length).await?,
        None => None,
    };
    Ok(match kept {
        Some(kept) => CheckedIn::Kept(Json(activity::kept(&app.asked.view(kept)))),
        None => CheckedIn::Done(Status::Ok),
    })
}

#[post("/v1/check_in", data = "<body>")]
async fn check_in_underscored(
    app: &State<Arc<App>>,
    reporter: Reporter,
    body: Result<Body, ApiError>,
) -> Result<CheckedIn, ApiError> {
    check_in(app, reporter, body).await
}

/// The names of a report's value.
const VALUE: [&str; 3] = ["active-connections", "active_connections", "active"];

/// The largest of the values that came under one of `names`. An error counts only if no value can be read: an old cron
/// line must never lose evidence (`CONTRACT.md` 24).
fn largest<T: Ord>(
    body: &Body,
    names: &[&str],
    read: impl Fn(&str) -> Result<T, ApiError>,
) -> Result<Option<T>, ApiError> {
    let (mut most, mut refused) = (None, None);
    for value in body.all(names) {
        let shown = value.as_ref().unwrap_or_else(|shown| shown);
        match read(shown) {
            Ok(value) => most = most.max(Some(value)),
            Err(e) => refused = refused.or(Some(e)),
        }
    }
    match (most, refused) {
        (None, Some(e)) => Err(e),
        (most, _) => Ok(most),
    }
}

/// The reported value (`CONTRACT.md` 26 and 28).
fn number(text: &str) -> Result<u64, ApiError> {
    // `wc -l` pads its number with spaces on some systems.
    let digits = text.trim();
    let value = Some(digits).filter(|d| d.bytes().all(|b| b.is_ascii_digit())).and_then(|d| d.parse::<u64>().ok());
    // Only numbers that the store can hold.
    value.filter(|&v| i64::try_from(v).is_ok()).ok_or_else(|| {
        let allowed = "it is the number of connections in use, a whole number, 0 or more";
        ApiError::invalid("active-connections", text, allowed)
    })
}
