//! `/v1/check-in`: the one open door. Whoever comes through can record evidence for one live sandbox,
//! and nothing else.

use std::{net::IpAddr, sync::Arc};

use rocket::{
    Request, Route, State,
    http::Status,
    post,
    request::{FromRequest, Outcome},
    serde::json::Json,
};

use super::{activity::Kept, containers::length, error::ApiError, fields::Fields, gate::Peers};
use crate::app::App;

/// The routes of this file.
pub fn routes() -> Vec<Route> {
    rocket::routes![check_in, check_in_underscored]
}

/// The answer: empty, unless whoever reports wants to be kept.
#[derive(rocket::Responder)]
enum CheckedIn {
    Done(Status),
    Kept(Json<Kept>),
}

/// Who says it: the token, if there is one, and the connection's own peer. No header about addresses is
/// looked at (`contract.md` 27), and credentials are ignored (3).
struct Reporter {
    token: Option<String>,
    peer: Option<IpAddr>,
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Reporter {
    type Error = std::convert::Infallible;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, Self::Error> {
        let token = request.headers().get_one("X-Spindle-Token").map(|t| t.trim().to_owned());
        let peer = match (request.remote(), request.rocket().state::<Peers>()) {
            (Some(remote), Some(peers)) => peers.behind(remote),
            (remote, _) => remote.map(|r| r.ip()),
        };
        Outcome::Success(Self { token, peer })
    }
}

#[post("/v1/check-in", data = "<fields>")]
async fn check_in(
    app: &State<Arc<App>>,
    reporter: Reporter,
    fields: Result<Fields, ApiError>,
) -> Result<CheckedIn, ApiError> {
    let fields = fields?;
    let keep = fields.text(&["keep"])?.map(|text| length("keep", &text)).transpose()?;
    // Whoever only says that the sandbox shall be kept reports no number.
    let value = if keep.is_some() && !has_report(&fields)? { None } else { Some(report(&fields)?) };
    let token = reporter.token.or(fields.text(&["token"])?);
    if let Some(value) = value {
        app.check_in(token.as_deref(), reporter.peer, value).await?;
    }
    let kept = match keep {
        Some(length) => app.keep_from_inside(token.as_deref(), reporter.peer, length).await?,
        None => None,
    };
    Ok(match kept {
        Some(kept) => CheckedIn::Kept(Json(Kept::new(app, &kept))),
        None => CheckedIn::Done(Status::Ok),
    })
}

#[post("/v1/check_in", data = "<fields>")]
async fn check_in_underscored(
    app: &State<Arc<App>>,
    reporter: Reporter,
    fields: Result<Fields, ApiError>,
) -> Result<CheckedIn, ApiError> {
    check_in(app, reporter, fields).await
}

/// What a report's value is called.
const VALUE: [&str; 3] = ["active-connections", "active_connections", "active"];

fn has_report(fields: &Fields) -> Result<bool, ApiError> {
    Ok(fields.text(&VALUE)?.is_some())
}

/// The reported value (`contract.md` 26 and 28).
fn report(fields: &Fields) -> Result<u64, ApiError> {
    let Some(text) = fields.text(&VALUE)? else {
        let message = "active-connections: the field is missing; it is the number of connections in use, 0 or more";
        return Err(ApiError::new(Status::BadRequest, "missing_field", message));
    };
    // `wc -l` pads its number with spaces on some systems.
    let digits = text.trim();
    let value = Some(digits).filter(|d| d.bytes().all(|b| b.is_ascii_digit())).and_then(|d| d.parse::<u64>().ok());
    // What the store can hold.
    value.filter(|&v| i64::try_from(v).is_ok()).ok_or_else(|| {
        ApiError::invalid(
            "active-connections",
            &text,
            "it is the number of connections in use, a whole number, 0 or more",
        )
    })
}
