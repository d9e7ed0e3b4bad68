//! `/v1/actions`: what was done, page by page or all of it, and the end of what is under way.

use std::sync::Arc;

use rocket::{
    Either, Request, Route, State,
    futures::{StreamExt, stream::BoxStream},
    get,
    http::{ContentType, Header, Status, uri::Origin},
    post,
    request::{FromRequest, Outcome},
    response::stream::{TextStream, stream},
    serde::json::Json,
};

use super::{auth::Caller, error::ApiError, export::Export, selecting::next, strict, wire, wishes};
use crate::{
    api,
    app::App,
    domain::{Act, ActionFilter, ActionState, Actor, ImageRef, ObjectKind},
};

/// How many actions a page has, unless the request says otherwise.
const PAGE: usize = 100;

/// The most that a page may have. An export reads as many at a time.
const MOST: usize = 1_000;

/// What `GET /v1/actions` may be asked by.
const QUERY: [&str; 8] = ["object", "actor", "verb", "state", "since", "limit", "after", "format"];

/// The routes of this file.
pub fn routes() -> Vec<Route> {
    let mut routes = strict::bare(rocket::routes![get_one, cancel]);
    routes.extend(strict::asking(rocket::routes![list], &QUERY));
    routes
}

/// Which actions a request is about, and in which form it wants them.
struct Wanted {
    filter: ActionFilter,
    after: Option<String>,
    limit: usize,
    export: Option<Export>,
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
    let (kind, object) = text("object").map(|text| object(&text)).transpose()?.unwrap_or_default();
    let filter = ActionFilter {
        object,
        kind,
        actor: text("actor"),
        act: text("verb").map(|word| Act::parse(&word)).transpose()?,
        state: text("state").map(|word| ActionState::parse(&word)).transpose()?,
        since: text("since").map(|text| since(request, &text)).transpose()?,
        reader: None,
    };
    let export = match text("format") {
        Some(word) => Export::parse(&word)?,
        None => request.accept().and_then(|accept| Export::of(accept.preferred().media_type())),
    };
    let limit = match text("limit") {
        Some(text) if export.is_some() => {
            return Err(ApiError::invalid("limit", &text, "an export has no pages; leave it out"));
        }
        Some(text) => text
            .parse()
            .ok()
            .filter(|n| (1..=MOST).contains(n))
            .ok_or_else(|| ApiError::invalid("limit", &text, format!("it is a whole number, 1 to {MOST}")))?,
        None => PAGE,
    };
    Ok(Wanted { filter, after: text("after"), limit, export })
}

/// Reads an object: its id or name, with its kind and a colon before it if need be.
fn object(text: &str) -> Result<(Option<ObjectKind>, Option<String>), ApiError> {
    let Some((kind, id)) = text.split_once(':') else {
        return Ok((None, Some(text.trim_start_matches('/').to_owned())));
    };
    let kind = ObjectKind::parse(kind).map_err(|_| {
        let allowed = "it is an id or a name, or a kind and one of them, such as image:debian:bookworm or user:ann";
        ApiError::invalid("object", text, allowed)
    })?;
    let id = match kind {
        ObjectKind::Image => ImageRef::parse(id)?.tagged(),
        _ => id.trim_start_matches('/').to_owned(),
    };
    Ok((Some(kind), Some(id)))
}

/// Reads from when on something is wanted: an instant, or a length that is over since then.
pub(super) fn since(request: &Request<'_>, text: &str) -> Result<jiff::Timestamp, ApiError> {
    let app = request.rocket().state::<Arc<App>>().expect("every server has its app");
    // A query turns the + of a zone into a space.
    let instant = text.trim().replace(' ', "+").parse().ok();
    let ago = || wishes::length("since", text).ok().map(|length| app.asked.ago(length));
    instant.or_else(ago).ok_or_else(|| {
        let allowed = "it is an instant with its zone, such as 2026-12-24T18:00:00Z, or a length, such as 90m, 2h, 7d";
        ApiError::invalid("since", text, allowed)
    })
}

#[derive(rocket::Responder)]
enum Listed {
    Page(Json<Vec<api::Action>>),
    More(Json<Vec<api::Action>>, Header<'static>),
}

/// An export, as it is read.
type Lines = (ContentType, TextStream<BoxStream<'static, String>>);

#[get("/v1/actions")]
async fn list(
    caller: Caller,
    app: &State<Arc<App>>,
    origin: &Origin<'_>,
    wanted: Result<Wanted, ApiError>,
) -> Result<Either<Listed, Lines>, ApiError> {
    let Wanted { filter, after, limit, export } = wanted?;
    let by = caller.0;
    if let Some(export) = export {
        // What is wrong with the request is an error, and no line of the export.
        app.asked.actions(&by, filter.clone(), after.as_deref(), 1).await?;
        let lines = all(Arc::clone(app), by, filter, after, export);
        return Ok(Either::Right((export.content_type(), lines)));
    }
    let mut found = app.asked.actions(&by, filter, after.as_deref(), limit + 1).await?;
    let is_last = found.len() <= limit;
    found.truncate(limit);
    let page = Json(found.iter().map(|action| wire::action(&by, action)).collect());
    Ok(Either::Left(match found.last().filter(|_| !is_last) {
        Some(last) => Listed::More(page, next(origin, &last.id)),
        None => Listed::Page(page),
    }))
}

/// All actions from `after` on, read page by page.
fn all(
    app: Arc<App>,
    by: Actor,
    filter: ActionFilter,
    mut after: Option<String>,
    export: Export,
) -> TextStream<BoxStream<'static, String>> {
    let lines = stream! {
        yield export.head();
        loop {
            let page = match app.asked.actions(&by, filter.clone(), after.as_deref(), MOST).await {
                Ok(page) => page,
                Err(e) => {
                    yield export.broken_off(ApiError::from(e).message());
                    return;
                }
            };
            yield page.iter().map(|action| export.line(&wire::action(&by, action))).collect();
            match page.last().filter(|_| page.len() == MOST) {
                Some(last) => after = Some(last.id.clone()),
                None => return,
            }
        }
    };
    TextStream(lines.boxed())
}

#[get("/v1/actions/<id>")]
async fn get_one(caller: Caller, app: &State<Arc<App>>, id: &str) -> Result<Json<api::Action>, ApiError> {
    Ok(Json(wire::action(&caller.0, &app.asked.action(&caller.0, id).await?)))
}

#[post("/v1/actions/<id>/cancel")]
async fn cancel(caller: Caller, app: &State<Arc<App>>, id: &str) -> Result<Json<api::Action>, ApiError> {
    Ok(Json(wire::action(&caller.0, &app.asked.cancel(&caller.0, id).await?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_may_be_named_by_its_kind() {
        let read = |text| object(text).ok();
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(read("/alice"), Some((None, some("alice"))));
        assert_eq!(read("container:/alice"), Some((Some(ObjectKind::Sandbox), some("alice"))));
        assert_eq!(read("image:debian"), Some((Some(ObjectKind::Image), some("debian:latest"))));
        assert_eq!(read("debian:bookworm"), None, "a colon follows a kind");
    }
}
