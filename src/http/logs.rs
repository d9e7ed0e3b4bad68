//! `/v1/containers/{id}/logs`: what the programs of a sandbox write, as text or line by line as JSON.

use std::sync::Arc;

use rocket::{
    Request, Route, State,
    futures::{FutureExt, StreamExt, stream},
    get,
    http::{ContentType, Status},
    request::{FromRequest, Outcome},
};

use super::{actions::since, auth::Caller, error::ApiError, gate::Line, live::Live, strict, wire::instant};
use crate::{
    api,
    app::{App, LogLine, LogsWanted, Outlet},
};

/// What a log may be asked by.
const QUERY: [&str; 5] = ["tail", "since", "follow", "stream", "timestamps"];

/// How many lines are shown, unless the request says otherwise.
const TAIL: u64 = 300;

/// Lines that are there already are sent together until they have so many bytes.
const TOGETHER: usize = 8 << 10;

/// The routes of this file.
pub fn routes() -> Vec<Route> {
    strict::asking(rocket::routes![logs], &QUERY)
}

/// Which lines a request is about, and how it wants them.
struct Wanted {
    logs: LogsWanted,
    shape: Shape,
}

#[derive(Debug, Clone, Copy)]
enum Shape {
    /// As the programs wrote them; `stamped`: after the moment.
    Text { stamped: bool },
    /// An object on each line.
    JsonLines,
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
    let flag = |name| match text(name).as_deref() {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => Err(ApiError::invalid(name, other, "it is \"true\" or \"false\"")),
    };
    let since = text("since").map(|text| since(request, &text)).transpose()?;
    let tail = match text("tail").as_deref() {
        // Who says from when wants all from then on.
        None => Some(TAIL).filter(|_| since.is_none()),
        Some("all") => None,
        Some(number) => Some(number.parse().ok().filter(|n| i64::try_from(*n).is_ok()).ok_or_else(|| {
            ApiError::invalid("tail", number, "it is \"all\", or how many of the last lines are wanted")
        })?),
    };
    let only = match text("stream").as_deref() {
        None | Some("both") => None,
        Some(word) => Some(
            Outlet::ALL
                .into_iter()
                .find(|outlet| outlet.word() == word)
                .ok_or_else(|| ApiError::invalid("stream", word, "it is \"stdout\", \"stderr\" or \"both\""))?,
        ),
    };
    let stamped = flag("timestamps")?;
    let lines = ContentType::new("application", "x-ndjson");
    let wants_lines = request.accept().is_some_and(|accept| accept.preferred().media_type() == lines.media_type());
    let shape = if wants_lines { Shape::JsonLines } else { Shape::Text { stamped } };
    Ok(Wanted { logs: LogsWanted { tail, since, only, follow: flag("follow")? }, shape })
}

impl Shape {
    fn content_type(self) -> ContentType {
        match self {
            Shape::Text { .. } => ContentType::Plain,
            Shape::JsonLines => ContentType::new("application", "x-ndjson"),
        }
    }

    fn write(self, line: &LogLine, to: &mut Vec<u8>) {
        match self {
            Shape::Text { stamped } => {
                if let Some(at) = line.at.filter(|_| stamped && !line.continues) {
                    to.extend(format!("{} ", api::Instant(at)).into_bytes());
                }
                to.extend_from_slice(&line.bytes);
            }
            Shape::JsonLines => {
                let line = api::LogLine {
                    at: instant(line.at),
                    stream: line.outlet.word().into(),
                    line: String::from_utf8_lossy(&line.bytes).into_owned(),
                    partial: !line.is_whole,
                };
                serde_json::to_writer(&mut *to, &line).expect("its keys are strings, and memory can be written");
            }
        }
        if line.is_whole || matches!(self, Shape::JsonLines) {
            to.push(b'\n');
        }
    }

    /// What stands at the end of what is not whole. A text has no place for it.
    fn broken_off(self, why: &ApiError, to: &mut Vec<u8>) {
        if matches!(self, Shape::JsonLines) {
            let why = serde_json::json!({ "error": why.message(), "code": why.code() });
            to.extend(format!("{why}\n").into_bytes());
        }
    }
}

#[get("/v1/containers/<id>/logs")]
async fn logs(
    caller: Caller,
    app: &State<Arc<App>>,
    id: &str,
    line: Line,
    wanted: Result<Wanted, ApiError>,
) -> Result<Live, ApiError> {
    let Wanted { logs, shape } = wanted?;
    let lines = app.asked.logs(&caller.0, id, logs).await?;
    let pieces = stream::unfold(lines, move |mut lines| async move {
        let mut piece = Vec::new();
        let mut next = lines.next().await;
        while let Some(line) = next {
            match line {
                Ok(line) => shape.write(&line, &mut piece),
                Err(e) => shape.broken_off(&e.into(), &mut piece),
            }
            next = if piece.len() < TOGETHER { lines.next().now_or_never().flatten() } else { None };
        }
        (!piece.is_empty()).then(|| (Ok(piece.into()), lines))
    });
    Ok(Live::new(shape.content_type(), line, pieces.boxed()).unbuffered())
}
