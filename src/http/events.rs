//! `/v1/events`: what happens, as server-sent events.

use std::{sync::Arc, time::Duration};

use rocket::{
    Request, Route, State,
    futures::{StreamExt, stream::BoxStream},
    get,
    http::Status,
    request::{FromRequest, Outcome},
    response::stream::{Event as Line, EventStream},
};

use super::{auth::Caller, error::ApiError, strict, wire};
use crate::{
    api,
    app::{App, Told},
    domain::{EventFilter, Happened, Label, SandboxRef},
};

/// What it may be asked by.
const QUERY: [&str; 5] = ["type", "object", "label", "after", "follow"];

/// How often a silent stream shows that it lives.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// The routes of this file.
pub fn routes() -> Vec<Route> {
    strict::asking(rocket::routes![events], &QUERY)
}

/// Which events a request is about.
struct Wanted {
    filter: EventFilter,
    after: Option<u64>,
    follow: bool,
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Wanted {
    type Error = ApiError;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, ApiError> {
        match wanted(request) {
            Ok(wanted) => Outcome::Success(wanted),
            Err(e) => Outcome::Error((Status::BadRequest, e)),
        }
    }
}

fn wanted(request: &Request<'_>) -> Result<Wanted, ApiError> {
    let text = |name| request.query_value::<String>(name).and_then(Result::ok).filter(|text| !text.is_empty());
    let number = |name: &'static str, text: &str| {
        text.trim().parse().map_err(|_| ApiError::invalid(name, text, "it is the id of an event, a whole number"))
    };
    let words = text("type").unwrap_or_default();
    let what = words.split(',').map(str::trim).filter(|word| !word.is_empty()).map(Happened::parse);
    let label = |text: String| match text.split_once('=') {
        Some((key, value)) => Ok(Label::parse(key, value)?),
        None => Err(ApiError::invalid("label", &text, "it is a key and a value, such as group=a")),
    };
    // A browser that comes back says where it was, and knows better than the address with which it began.
    let after = match request.headers().get_one("Last-Event-ID") {
        Some(id) => Some(number("Last-Event-ID", id)?),
        None => text("after").map(|id| number("after", &id)).transpose()?,
    };
    let follow = match text("follow").as_deref() {
        None | Some("true") => true,
        Some("false") => false,
        Some(other) => return Err(ApiError::invalid("follow", other, "it is \"true\" or \"false\"")),
    };
    let filter = EventFilter {
        what: what.collect::<Result<_, _>>()?,
        object: text("object").map(|text| SandboxRef::parse(&text)),
        labels: text("label").map(label).transpose()?.into_iter().collect(),
    };
    Ok(Wanted { filter, after, follow })
}

#[get("/v1/events")]
async fn events(
    caller: Caller,
    app: &State<Arc<App>>,
    wanted: Result<Wanted, ApiError>,
) -> Result<EventStream<BoxStream<'static, Line>>, ApiError> {
    let Wanted { filter, after, follow } = wanted?;
    let told = app.asked.events(&caller.0, filter, after, follow).await?;
    let lines = EventStream::from(told.map(|told| line(&told)).boxed());
    Ok(lines.heartbeat(follow.then_some(HEARTBEAT)))
}

fn line(told: &Told) -> Line {
    match told {
        Told::Event(event) => Line::json(&wire::event(event)).event(event.what.word()).id(event.id.to_string()),
        Told::Missed(before) => Line::json(&api::Missed { before: *before }).event("missed"),
    }
}
