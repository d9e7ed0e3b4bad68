//! Gives every request a line in the log, and checks that it came through the gate.

use std::sync::Arc;

use rocket::{
    Data, Request, Response,
    fairing::{Fairing, Info, Kind},
    http::{Header, Method, RawStr, uri::Origin},
};

use super::{
    arrival::{Arrival, arrival},
    gate,
    metrics::Requests,
    paths::Paths,
    refusals::Refusals,
};
use crate::app::App;

/// Managed by the door's server. Its requests are logged at debug only.
pub struct DoorOnly;

/// Turns away a request that came around the gate.
pub fn keep_out(request: &mut Request<'_>) {
    if is_kept_out(request) {
        // No route has this path, so the catcher answers.
        request.set_uri(Origin::const_new("/kept-out", None));
    }
}

fn is_for_sandboxes(request: &Request<'_>, path: &str) -> bool {
    request.rocket().state::<Paths>().is_some_and(|paths| paths.is_for_sandboxes(path.trim_end_matches('/')))
}

/// Whether [`keep_out`] turned the request away.
pub fn is_kept_out(request: &Request<'_>) -> bool {
    gate::peer(request).is_none()
}

/// Whether a form begins with the field that makes Rocket change the verb.
fn is_override(form: &[u8]) -> bool {
    let first = form.split(|byte| *byte == b'&').find(|field| !field.is_empty());
    first.is_some_and(|field| RawStr::new(&String::from_utf8_lossy(field)).url_decode_lossy().starts_with("_method"))
}

/// Gives every request its line in the log.
pub struct Trace;

#[rocket::async_trait]
impl Fairing for Trace {
    fn info(&self) -> Info {
        Info { name: "trace", kind: Kind::Request | Kind::Response }
    }

    async fn on_request(&self, request: &mut Request<'_>, data: &mut Data<'_>) {
        arrival(request);
        // Rocket lets a form's first field, `_method`, change the verb. Do not allow that.
        if request.content_type().is_some_and(|t| t.is_form()) && is_override(data.peek(64).await) {
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
        if let Some(app) = request.rocket().state::<Arc<App>>() {
            let made = app.actions.take_made(id);
            if !made.is_empty() {
                response.set_header(Header::new("Spindle-Action", made.join(", ")));
            }
        }
        let status = response.status().code;
        if let Some(requests) = request.rocket().state::<Requests>() {
            requests.count(request, status, watch.elapsed());
        }
        let ms = watch.elapsed().as_millis() as u64;
        let peer = gate::peer(request).map(|peer| peer.address.to_string()).unwrap_or_default();
        let door = request.rocket().state::<DoorOnly>().is_some();
        let is_refused = [401, 429].contains(&status);
        if let Some(refusals) = request.rocket().state::<Refusals>() {
            if is_refused {
                refusals.note(request);
            }
            refusals.settle(request);
        }
        // Refused requests are logged elsewhere, and not each time.
        if door
            || is_kept_out(request)
            || [401, 429].contains(&status)
            || (status == 200 && is_for_sandboxes(request, path))
        {
            // Every sandbox checks in every minute, and no learner shall fill the host's disk through our log.
            tracing::debug!(request_id = id, method = %request.method(), path, status, ms, peer, "request");
        } else {
            tracing::info!(request_id = id, method = %request.method(), path, status, ms, peer, "request");
        }
    }
}
