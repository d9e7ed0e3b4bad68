//! `/v1/tickets`: for a browser that is about to open a WebSocket or an event stream.

use rocket::{Route, State, http::Status, post, serde::json::Json};

use super::{
    auth::Caller,
    error::ApiError,
    fields::{Body, Taken},
    strict,
    ticket::{GOOD, MOST_OF_ONE, Tickets},
};
use crate::{api, app::Error};

const TICKET: Taken = Taken { names: &[&["path"]], elsewhere: &[] };

/// The routes of this file.
pub fn routes() -> Vec<Route> {
    strict::with_body(rocket::routes![make])
}

#[post("/v1/tickets", data = "<body>")]
fn make(
    caller: Caller,
    tickets: &State<Tickets>,
    body: Result<Body, ApiError>,
) -> Result<(Status, Json<api::Ticket>), ApiError> {
    let what = "it is the path for which the ticket is good, such as /v1/containers/alice/terminal";
    let path = body?.only(&TICKET)?.string("path")?.ok_or_else(|| ApiError::missing("path", what))?;
    if !path.starts_with("/v1/") || path.contains(['?', '#']) || path.len() > 500 {
        return Err(ApiError::invalid("path", &path, format!("{what}, without a query")));
    }
    match tickets.give(caller.0, &path) {
        Some(Ok(ticket)) => Ok((Status::Created, Json(api::Ticket { ticket, expires_in: GOOD.as_secs() }))),
        Some(Err(e)) => Err(Error::NoRandom(e.to_string()).into()),
        None => {
            let message =
                format!("there are {MOST_OF_ONE} tickets of yours that are still good; wait {} s", GOOD.as_secs());
            Err(ApiError::new(Status::TooManyRequests, "too_many_tickets", message))
        }
    }
}
