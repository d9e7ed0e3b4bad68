//! `/v1/health`: open to everybody, and tells nothing about any user.

use std::sync::Arc;

use rocket::{Route, State, get, http::Status, serde::json::Json};

use super::{strict, wire::instant};
use crate::{
    api,
    app::{App, CheckInDoor, Health},
};

/// The routes of this file.
pub fn routes() -> Vec<Route> {
    strict::open(rocket::routes![health])
}

#[get("/v1/health")]
async fn health(app: &State<Arc<App>>) -> (Status, Json<api::Health>) {
    let health = app.asked.health().await;
    let status = if health.is_well() { Status::Ok } else { Status::ServiceUnavailable };
    (status, Json(shown(&health)))
}

const OK: api::Word = api::Word::Borrowed("ok");
const UNAVAILABLE: api::Word = api::Word::Borrowed("unavailable");

/// The object for `health`.
fn shown(health: &Health) -> api::Health {
    let counts = &health.counts;
    api::Health {
        status: match health.is_well() {
            true => OK,
            false if health.is_starting() => "starting".into(),
            false => UNAVAILABLE,
        },
        version: env!("CARGO_PKG_VERSION").into(),
        engine: engine(health),
        database: match &health.database {
            Ok(()) => api::Database { status: OK, message: None },
            Err(why) => api::Database { status: UNAVAILABLE, message: Some(why.clone()) },
        },
        check_in: match &health.door {
            CheckInDoor::Open(at) => api::CheckInDoor { status: OK, listening_on: Some(at.to_string()), message: None },
            CheckInDoor::Waiting => shut("the network is not there yet".into()),
            CheckInDoor::Shut(why) => shut(why.clone().into()),
        },
        relay: relay(health),
        last_pass: health.last_pass.as_ref().map(|pass| api::Pass {
            at: instant(pass.at),
            known: pass.known,
            observed: pass.observed,
            steps: pass.steps,
            failing: health.failing,
            no_idle_stops_before: instant(pass.hold_until),
        }),
        containers: api::Containers { running: counts.running, stopping: counts.stopping, stopped: counts.stopped },
    }
}

fn engine(health: &Health) -> api::Engine {
    match &health.engine {
        Ok(info) => api::Engine {
            status: OK,
            version: Some(info.version.clone()),
            api_version: Some(info.api_version.clone()),
            message: None,
        },
        Err(why) => api::Engine { status: UNAVAILABLE, message: Some(why.clone()), ..api::Engine::default() },
    }
}

fn shut(why: api::Word) -> api::CheckInDoor {
    api::CheckInDoor { status: UNAVAILABLE, message: Some(why), listening_on: None }
}

fn relay(health: &Health) -> api::Relay {
    let load = match &health.relay {
        Ok(load) => load,
        Err(why) => {
            return api::Relay { status: UNAVAILABLE, message: Some(why.clone()), ..api::Relay::default() };
        }
    };
    let not_open = health.held.iter().map(|held| api::PortNotOpen {
        at: held.at.to_string(),
        message: held.why.clone().map_or("another program listens there".into(), Into::into),
    });
    api::Relay {
        status: if health.held.is_empty() { OK } else { "impaired".into() },
        listeners: Some(load.listeners),
        connections: Some(load.connections),
        descriptors: Some(load.descriptors.0),
        descriptors_limit: Some(load.descriptors.1),
        ports_not_open: Some(not_open.collect()),
        message: None,
    }
}
