//! Once: whoever sends `Idempotency-Key` with a POST may repeat it. It is done once, and what is repeated is answered
//! with the object as it is now. The one place for all routes: `strict` hands every request through here.

use std::{
    collections::HashMap,
    io::Cursor,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use rocket::{
    Request, Response,
    futures::future::BoxFuture,
    http::{ContentType, Method, Status},
    response::Responder,
    route::Outcome,
};
use serde_json::Value;
use tokio::sync::OwnedMutexGuard;

use super::{auth, error::ApiError};
use crate::{
    app::{App, Claimed},
    domain::Actor,
};

/// The header.
const HEADER: &str = "Idempotency-Key";

/// Stands before the ids of several containers, where a path stands for one thing.
pub const SEVERAL: &str = "several: ";

/// What was done before, as it is now.
pub type Shown<'a> = BoxFuture<'a, Result<Value, ApiError>>;

/// Managed by the API's server: shows what a request was about. The routes that can are above this file.
pub struct Shows(pub for<'a> fn(&'a Request<'_>, &'a App, &'a Actor, &'a str) -> Shown<'a>);

/// An actor and a key.
type Named = (String, String);

/// Managed by the API's server: the keys of requests that are under way.
#[derive(Default)]
pub struct UnderWay(Mutex<HashMap<Named, Weak<tokio::sync::Mutex<()>>>>);

impl UnderWay {
    /// Waits until no twin is under way.
    async fn turn(&self, actor: &str, key: &str) -> OwnedMutexGuard<()> {
        let turn = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.retain(|_, turn| turn.strong_count() > 0);
            let entry = all.entry((actor.to_owned(), key.to_owned())).or_default();
            entry.upgrade().unwrap_or_else(|| {
                let turn = Arc::new(tokio::sync::Mutex::new(()));
                *entry = Arc::downgrade(&turn);
                turn
            })
        };
        turn.lock_owned().await
    }
}

/// How far a request with a key is.
enum Phase {
    /// It does what it asks. A twin waits for the turn.
    Does(#[allow(dead_code, reason = "it is there to be dropped")] OwnedMutexGuard<()>),
    /// It repeats what is done; what that was about.
    Repeats(String),
}

/// What is known of a request; in its cache.
#[derive(Default)]
struct Once(Mutex<Option<Phase>>);

fn phase(request: &Request<'_>) -> Option<Phase> {
    request.local_cache(Once::default).0.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// The key of a request that has one where it counts.
fn key<'r>(request: &'r Request<'_>) -> Option<&'r str> {
    request.headers().get_one(HEADER).filter(|_| request.method() == Method::Post)
}

/// Claims a request whose body is `body`, before anything of it is done. Without a key it does nothing.
///
/// # Errors
/// `idempotency_key_reused`; and an error in place of an answer that [`answered`] gives, if it is done already.
pub async fn claim(request: &Request<'_>, body: &[u8]) -> Result<(), ApiError> {
    let (Some(key), Ok(by)) = (key(request), auth::caller(request).await) else { return Ok(()) };
    if key.is_empty() || key.len() > 255 || !key.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(ApiError::invalid("Idempotency-Key", key, "it has 1 to 255 visible ASCII characters"));
    }
    let (Some(app), Some(under_way)) = (request.rocket().state::<Arc<App>>(), request.rocket().state::<UnderWay>())
    else {
        return Ok(());
    };
    let turn = under_way.turn(&by.to_string(), key).await;
    let what = [request.uri().path().as_str(), request.uri().query().map_or("", |query| query.as_str())];
    let claimed = app.asked.claim_once(by, key, &[what[0].as_bytes(), what[1].as_bytes(), body]).await?;
    let phase = match claimed {
        Claimed::New => Phase::Does(turn),
        Claimed::Done(about) => Phase::Repeats(about),
        Claimed::Other => {
            let message = format!("{HEADER}: {key:?} was sent with another request within a day; take a new one");
            return Err(ApiError::new(Status::Conflict, "idempotency_key_reused", message));
        }
    };
    let repeats = matches!(phase, Phase::Repeats(_));
    *request.local_cache(Once::default).0.lock().unwrap_or_else(PoisonError::into_inner) = Some(phase);
    // The route gives up, and its answer is replaced.
    if repeats { Err(ApiError::new(Status::Conflict, "already_done", "it is done already")) } else { Ok(()) }
}

/// The answer to a request: what its route has answered, or, if it was done before, what it was about.
pub async fn answered<'r>(request: &'r Request<'_>, outcome: Outcome<'r>) -> Outcome<'r> {
    let Some(phase) = phase(request) else { return outcome };
    let (Some(app), Ok(by)) = (request.rocket().state::<Arc<App>>(), auth::caller(request).await) else {
        return outcome;
    };
    match phase {
        Phase::Repeats(about) => match request.rocket().state::<Shows>() {
            Some(Shows(shown)) => respond(request, shown(request, app, by, &about).await),
            None => outcome,
        },
        Phase::Does(_turn) => match outcome {
            Outcome::Success(mut response) => {
                let about = about(request, &mut response).await;
                app.asked.finish_once(by, about).await;
                Outcome::Success(response)
            }
            other => {
                app.asked.finish_once(by, None).await;
                other
            }
        },
    }
}

fn respond<'r>(request: &'r Request<'_>, answer: Result<Value, ApiError>) -> Outcome<'r> {
    let response = match answer {
        Ok(value) => {
            let body = value.to_string();
            Ok(Response::build().header(ContentType::JSON).sized_body(body.len(), Cursor::new(body)).finalize())
        }
        Err(e) => e.respond_to(request),
    };
    match response {
        Ok(response) => Outcome::Success(response),
        Err(status) => Outcome::Error(status),
    }
}

/// What a request was about that was done; `None` if it was refused.
async fn about(request: &Request<'_>, response: &mut Response<'_>) -> Option<String> {
    if response.status().class() != rocket::http::StatusClass::Success {
        return None;
    }
    if let Some(made) = response.headers().get_one("Location") {
        return Some(made.to_owned());
    }
    let path = request.uri().path().as_str();
    // A verb about one: what it is about is before the verb.
    if let Some((about, _verb)) = path.rsplit_once('/').filter(|_| path.matches('/').count() > 3) {
        return Some(about.to_owned());
    }
    if !path.starts_with("/v1/containers") {
        return Some(path.to_owned());
    }
    let text = response.body_mut().to_string().await.ok()?;
    let results: Vec<Value> = serde_json::from_str(&text).unwrap_or_default();
    response.set_sized_body(text.len(), Cursor::new(text));
    let done: Vec<&str> = results.iter().filter_map(|result| result["container_id"].as_str()).collect();
    Some(format!("{SEVERAL}{}", done.join(" ")))
}
