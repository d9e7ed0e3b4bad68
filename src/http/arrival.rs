//! The arrival of a request: its id, when it came, and its path as it came.

use std::sync::Arc;

use rocket::Request;

use super::gate;
use crate::app::{App, Stopwatch, UnderWay};

/// A request as it arrived.
pub struct Arrival {
    /// Its id, the same in its answer, in the log and in records.
    pub id: String,
    /// How long it takes.
    pub watch: Stopwatch,
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
        path: shown(request.uri().path().as_str()),
        _under_way: request.rocket().state::<Arc<App>>().map(|app| app.under_way()),
    })
}

/// The id of a request.
pub fn request_id<'r>(request: &'r Request<'_>) -> &'r str {
    &arrival(request).id
}

/// A path as the log has it: cut, and without the secret of an invitation.
fn shown(path: &str) -> String {
    match path.split_once("/invitation/") {
        Some((before, _)) => format!("{before}/invitation/..."),
        None => path.chars().take(200).collect(),
    }
}
