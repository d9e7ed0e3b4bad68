//! Gives every request an id and a line in the log, and checks that it does not come from a sandbox.

use std::{net::IpAddr, sync::Arc};

use ipnet::Ipv4Net;
use rocket::{
    Data, Request, Response,
    fairing::{Fairing, Info, Kind},
    http::{Header, Method, uri::Origin},
};

use super::{paths::Paths, refusals::Refusals};
use crate::app::{App, Stopwatch, UnderWay};

/// Managed by the door's server. Its requests are logged at debug only.
pub struct DoorOnly;

struct Arrival {
    id: String,
    watch: Stopwatch,
    /// The path as it came, even if the request is changed later.
    path: String,
    /// Makes a shutdown wait until the answer is on its way.
    _under_way: Option<UnderWay>,
}

struct KeptOut(bool);

fn arrival<'r>(request: &'r Request<'_>) -> &'r Arrival {
    request.local_cache(|| {
        let mut bytes = [0; 8];
        // Without random numbers all requests share an id. That is no reason to refuse them.
        let _ = getrandom::fill(&mut bytes);
        Arrival {
            id: format!("{:016x}", u64::from_be_bytes(bytes)),
            watch: Stopwatch::start(),
            path: request.uri().path().as_str().chars().take(200).collect(),
            _under_way: request.rocket().state::<Arc<App>>().map(|app| app.under_way()),
        }
    })
}

/// The id of a request, the same in its answer and in the log.
pub fn request_id<'r>(request: &'r Request<'_>) -> &'r str {
    &arrival(request).id
}

/// Turns away a request that comes from a sandbox and is not a check-in. A server that listens only on loopback cannot
/// be reached from there; this is for all others.
pub fn keep_out(request: &mut Request<'_>, sandboxes: Ipv4Net) {
    let from_sandbox = match request.remote().map(|r| r.ip().to_canonical()) {
        Some(IpAddr::V4(peer)) => sandboxes.contains(&peer),
        _ => false,
    };
    let kept_out = from_sandbox && !is_for_sandboxes(request, request.uri().path().as_str());
    request.local_cache(|| KeptOut(kept_out));
    if kept_out {
        // No route has this path, so the catcher answers.
        request.set_uri(Origin::const_new("/kept-out", None));
    }
}

fn is_for_sandboxes(request: &Request<'_>, path: &str) -> bool {
    request.rocket().state::<Paths>().is_some_and(|paths| paths.is_for_sandboxes(path.trim_end_matches('/')))
}

/// Whether [`keep_out`] turned the request away.
pub fn is_kept_out(request: &Request<'_>) -> bool {
    request.local_cache(|| KeptOut(false)).0
}

/// Gives every request its id and its line in the log.
pub struct Trace;

#[rocket::async_trait]
impl Fairing for Trace {
    fn info(&self) -> Info {
        Info { name: "trace", kind: Kind::Request | Kind::Response }
    }

    async fn on_request(&self, request: &mut Request<'_>, data: &mut Data<'_>) {
        arrival(request);
        // Rocket lets a form's first field, `_method`, change the verb. Do not allow that.
        if request.content_type().is_some_and(|t| t.is_form()) && data.peek(8).await.starts_with(b"_method=") {
            request.set_method(Method::Post);
        }
        // A slash at the end changes nothing.
        let path = request.uri().path();
        let trimmed = path.as_str().trim_end_matches('/');
        if trimmed.len() < path.len() && !trimmed.is_empty() {
            let query = request.uri().query().map(|q| format!("?{q}")).unwrap_or_default();
            if let Ok(uri) = Origin::parse_owned(format!("{trimmed}{query}")) {
                request.set_uri(uri);
            }
        }
    }

    async fn on_response<'r>(&self, request: &'r Request<'_>, response: &mut Response<'r>) {
        let Arrival { id, watch, path, .. } = arrival(request);
        response.set_header(Header::new("X-Request-Id", id.clone()));
        // A proxy must not store the state of a class.
        response.set_header(Header::new("Cache-Control", "no-store"));
        let status = response.status().code;
        let ms = watch.elapsed().as_millis() as u64;
        let peer = request.remote().map(|r| r.to_string()).unwrap_or_default();
        let door = request.rocket().state::<DoorOnly>().is_some();
        if let Some(refusals) = request.rocket().state::<Refusals>() {
            refusals.settle();
        }
        // Refused requests are logged elsewhere, and not each time.
        if door || is_kept_out(request) || status == 401 || (status == 200 && is_for_sandboxes(request, path)) {
            // Every sandbox checks in every minute, and no learner shall fill the host's disk through our log.
            tracing::debug!(request_id = id, method = %request.method(), path, status, ms, peer, "request");
        } else {
            tracing::info!(request_id = id, method = %request.method(), path, status, ms, peer, "request");
        }
    }
}
