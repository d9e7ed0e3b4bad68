//! The arrival of a request: its id, when it came, and its path as it came.

use std::sync::Arc;

use rocket::{
    Request,
    http::{Method, RawStr},
};

use super::gate;
use crate::app::{App, Stopwatch, UnderWay};

/// A request as it arrived.
pub struct Arrival {
    /// Its id, the same in its answer, in the log and in records.
    pub id: String,
    /// How long it takes.
    pub watch: Stopwatch,
    /// The method as it came: Rocket turns HEAD into GET.
    pub method: Method,
    /// The path as it came, even if the request is changed later.
    pub path: String,
    /// Makes a shutdown wait until the answer is on its way.
    _under_way: Option<UnderWay>,
}

/// How a request arrived.
pub fn arrival<'r>(request: &'r Request<'_>) -> &'r Arrival {
    request.local_cache(|| Arrival {
        id: gate::random_id(),
        watch: Stopwatch::start(),
        method: request.method(),
        path: shown(request.uri().path().as_str()),
        _under_way: request.rocket().state::<Arc<App>>().map(|app| app.under_way()),
    })
}

/// The id of a request.
pub fn request_id<'r>(request: &'r Request<'_>) -> &'r str {
    &arrival(request).id
}

/// A path as the log has it: cut, and without a secret, however it is spelt.
fn shown(path: &str) -> String {
    let plain = RawStr::new(path).url_decode_lossy();
    match plain.split_once("spindle_") {
        Some((before, _)) => format!("{before}spindle_..."),
        None => path.chars().take(200).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_spelling_of_a_link_leaves_its_secret_in_the_log() {
        for path in ["/v1/invitation/spindle_0af", "/v1/%69nvitation/%73pindle_0af", "/v1/invitations/spindle_0af/x"] {
            let shown = shown(path);
            assert!(shown.ends_with("spindle_...") && !shown.contains("0af"), "{shown}");
        }
        assert_eq!(shown("/v1/containers/a%20b"), "/v1/containers/a%20b");
    }
}
