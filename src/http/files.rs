//! `/v1/containers/{id}/files`: files and folders out of a sandbox and into it. Bodies are carried as they come.

use std::{sync::Arc, time::Duration};

use rocket::{
    Data, Either, Request, Route, State,
    data::{ByteUnit, DataStream},
    get,
    http::{ContentType, RawStr, Status},
    put,
    request::{FromRequest, Outcome},
    serde::json::Json,
    tokio::io::AsyncReadExt,
};

use super::{auth::Caller, error::ApiError, gate::Line, live::Live, strict, wire::instant};
use crate::{
    api,
    app::{App, ListedEntry, Manner, Taken},
};

/// How much longer a tar may be than what we make of it: programs fill it up, and say more in it.
const SLACK: u64 = 1 << 20;

/// How much is still read of a body that is refused, and for how long.
const REST: u64 = 256 << 20;
const PATIENCE: Duration = Duration::from_secs(5);

/// The routes of this file.
pub fn routes() -> Vec<Route> {
    let mut routes = strict::asking(rocket::routes![get], &["path", "list"]);
    routes.extend(strict::asking_with_body(rocket::routes![put], &["path", "owner", "mode"]));
    routes
}

/// What a request says of files in its query and its head.
struct Wanted {
    path: String,
    list: bool,
    manner: Manner,
    /// Whether the body is a tar.
    is_tar: bool,
    /// How long the body is, if the head says so.
    length: Option<u64>,
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
    let list = match text("list").as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(other) => return Err(ApiError::invalid("list", other, "it is \"true\" or \"false\"")),
    };
    let mode = text("mode").map(|text| {
        let mode = u32::from_str_radix(&text, 8).ok().filter(|mode| *mode <= 0o7777);
        mode.ok_or_else(|| ApiError::invalid("mode", &text, "it is permissions in octal digits, such as 644 or 755"))
    });
    let kind = request.content_type();
    Ok(Wanted {
        path: text("path").ok_or_else(|| ApiError::missing("path", "it is a path in the container"))?,
        list,
        manner: Manner { owner: text("owner"), mode: mode.transpose()? },
        is_tar: kind
            .is_some_and(|kind| kind.top() == "application" && ["x-tar", "tar"].iter().any(|t| kind.sub() == t)),
        length: request.headers().get_one("Content-Length").and_then(|length| length.parse().ok()),
    })
}

#[get("/v1/containers/<id>/files")]
async fn get(
    caller: Caller,
    app: &State<Arc<App>>,
    id: &str,
    line: Line,
    wanted: Result<Wanted, ApiError>,
) -> Result<Either<Json<api::Listing>, Live>, ApiError> {
    let Wanted { path, list, .. } = wanted?;
    if list {
        let listed = app.asked.list_files(&caller.0, id, &path).await?;
        let entries = listed.entries.into_iter().map(shown).collect();
        let listing = api::Listing { path, kind: listed.kind.word().into(), entries, truncated: listed.is_cut };
        return Ok(Either::Left(Json(listing)));
    }
    let Taken { name, size, pieces } = app.asked.take_files(&caller.0, id, &path).await?;
    Ok(Either::Right(match size {
        Some(size) => Live::new(ContentType::Binary, line, pieces)
            .with("Content-Length", size.to_string())
            .with("Content-Disposition", attachment(&name)),
        None => Live::new(ContentType::new("application", "x-tar"), line, pieces)
            .with("Content-Disposition", attachment(&format!("{}.tar", name.trim_matches('/')))),
    }))
}

fn shown(entry: ListedEntry) -> api::FileEntry {
    api::FileEntry {
        name: entry.name,
        kind: entry.kind.word().into(),
        size: entry.size,
        mode: format!("{:04o}", entry.mode),
        modified: instant(entry.modified),
        target: entry.target,
    }
}

/// A name for whoever saves it: in plain letters, and as it is (RFC 6266).
fn attachment(name: &str) -> String {
    let plain: String =
        name.chars().map(|c| if c.is_ascii_graphic() && !"\"\\/".contains(c) { c } else { '_' }).collect();
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{}", RawStr::new(name).percent_encode())
}

#[put("/v1/containers/<id>/files", data = "<body>")]
async fn put(
    caller: Caller,
    app: &State<Arc<App>>,
    id: &str,
    wanted: Result<Wanted, ApiError>,
    body: Data<'_>,
) -> Result<Json<api::PutIn>, ApiError> {
    let mut body = body.open(ByteUnit::max_value());
    let put = put_in(&caller, app, id, wanted, &mut body).await;
    if put.is_err() {
        // A client that is still sending would lose the answer with the connection.
        let rest = async { tokio::io::copy(&mut body.take(REST), &mut tokio::io::sink()).await };
        let _ = tokio::time::timeout(PATIENCE, rest).await;
    }
    put
}

async fn put_in(
    caller: &Caller,
    app: &App,
    id: &str,
    wanted: Result<Wanted, ApiError>,
    body: &mut DataStream<'_>,
) -> Result<Json<api::PutIn>, ApiError> {
    let Wanted { path, list: _, manner, is_tar, length } = wanted?;
    app.asked.may_put_files(&caller.0, id).await?;
    let most = app.asked.transfer_max() + if is_tar { SLACK } else { 0 };
    if length.is_some_and(|length| length > most) {
        let message = format!("The body is larger than {most} bytes, which is the most (SPINDLE_TRANSFER_MAX)");
        return Err(ApiError::new(Status::PayloadTooLarge, "payload_too_large", message));
    }
    let put = if is_tar {
        if let Some(mode) = manner.mode {
            let allowed = "a tar has its own; leave it out";
            return Err(ApiError::invalid("mode", &format!("{mode:o}"), allowed));
        }
        app.asked.put_tar(&caller.0, id, (&path, &manner), &mut body.take(most)).await?
    } else {
        let Some(length) = length else {
            let message = "The length of the file is missing: send Content-Length (curl -T FILE does)";
            return Err(ApiError::new(Status::LengthRequired, "length_required", message));
        };
        app.asked.put_file(&caller.0, id, (&path, &manner), length, body).await?
    };
    Ok(Json(api::PutIn { path, entries: put.entries, bytes: put.bytes }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_breaks_no_header() {
        assert_eq!(attachment("a b.txt"), "attachment; filename=\"a_b.txt\"; filename*=UTF-8''a%20b.txt");
        let nasty = attachment("é\"\r\nX: 1");
        assert!(!nasty.contains(['\r', '\n']) && nasty.starts_with("attachment; filename=\"____X:_1\";"), "{nasty}");
    }
}
