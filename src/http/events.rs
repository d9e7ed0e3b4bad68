//! `/v1/events`: what happens, as server-sent events.

use std::{sync::Arc, time::Duration};

use rocket::{
    Request, Route, State,
    futures::{StreamExt, stream::BoxStream},
    get,
    http::{Header, Status},
    request::{FromRequest, Outcome},
    response::{
        self, Responder,
        stream::{Event as Line, EventStream},
    },
};

use super::{auth::Caller, error::ApiError, gate::UNBUFFERED, strict, wire};
use crate::{
    api,
    app::{App, Told},
    domain::{EventFilter, Happened, Label, SandboxRef},
};

/// What it may be asked by.
const QUERY: [&str; 6] = ["type", "object", "label", "after", "follow", "ticket"];

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
    let labels = request.query_fields().filter(|field| field.name == "label").map(|field| field.value.to_owned());
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
        labels: labels.filter(|text| !text.is_empty()).map(label).collect::<Result<_, _>>()?,
    };
    Ok(Wanted { filter, after, follow })
}

/// Events as they come, and whether what is between may hold them back.
struct Stream {
    lines: EventStream<BoxStream<'static, Line>>,
    buffering: Header<'static>,
}

impl<'r> Responder<'r, 'r> for Stream {
    fn respond_to(self, request: &'r Request<'_>) -> response::Result<'r> {
        let mut response = self.lines.respond_to(request)?;
        response.set_header(self.buffering);
        Ok(response)
    }
}

#[get("/v1/events")]
async fn events(caller: Caller, app: &State<Arc<App>>, wanted: Result<Wanted, ApiError>) -> Result<Stream, ApiError> {
    let Wanted { filter, after, follow } = wanted?;
    let told = app.asked.events(&caller.0, filter, after, follow).await?;
    let lines = EventStream::from(told.map(|told| line(&told)).boxed()).heartbeat(follow.then_some(HEARTBEAT));
    // What is finite is wanted by a client that has closed its side, too.
    let buffering = Header::new(UNBUFFERED, if follow { "no" } else { "yes" });
    Ok(Stream { lines, buffering })
}

fn line(told: &Told) -> Line {
    match told {
        Told::Event(event) => Line::json(&wire::event(event)).event(event.what.word()).id(event.id.to_string()),
        Told::Missed(before) => Line::json(&api::Missed { before: *before }).event("missed"),
    }
}
