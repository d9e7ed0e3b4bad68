//! The JSON API: one server for those who have credentials, and a door of its own for check-ins.

mod auth;
mod check_in;
mod containers;
mod error;
mod fields;
mod health;
mod images;
mod trace;
mod wire;

use std::{net::SocketAddr, sync::Arc};

use ipnet::Ipv4Net;
use rocket::{
    Build, Config, Rocket,
    config::{Ident, LogLevel, Shutdown},
    fairing::AdHoc,
};

pub use auth::Credentials;
pub use containers::ssh_key;

use crate::app::{App, CheckInDoor};

/// What a server needs besides the use cases.
#[derive(Debug, Clone)]
pub struct ApiSettings {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Who may use it.
    pub credentials: Credentials,
    /// The sandboxes' addresses: from there only the check-in is answered.
    pub sandboxes: Ipv4Net,
    /// How long requests that are under way at a shutdown are given, in seconds.
    pub grace: u32,
}

fn rocket(listen: SocketAddr, grace: u32) -> Rocket<Build> {
    let config = Config {
        address: listen.ip(),
        port: listen.port(),
        ident: Ident::try_new("spindle").expect("a valid token"),
        // A proxy's word for the client's address is never believed (`contract.md` 27).
        ip_header: None,
        // Requests are logged by ourselves; signals are handled by `main` for all servers together.
        log_level: LogLevel::Off,
        cli_colors: false,
        shutdown: Shutdown { ctrlc: false, signals: Default::default(), grace, mercy: 1, ..Shutdown::default() },
        ..Config::release_default()
    };
    rocket::custom(config).attach(trace::Trace).register("/", rocket::catchers![error::fallback])
}

/// The API for those who have credentials.
pub fn api(app: Arc<App>, settings: ApiSettings) -> Rocket<Build> {
    let sandboxes = settings.sandboxes;
    rocket(settings.listen, settings.grace)
        .manage(app)
        .manage(settings.credentials)
        .attach(AdHoc::on_request("sandboxes stay out", move |request, _| {
            Box::pin(async move { trace::keep_out(request, sandboxes) })
        }))
        .mount("/", images::routes())
        .mount("/", containers::routes())
        .mount("/", check_in::routes())
        .mount("/", health::routes())
}

/// The check-in door: it serves nothing else. Once it listens it says so to `app`.
pub fn door(app: Arc<App>, listen: SocketAddr, grace: u32) -> Rocket<Build> {
    let opened = Arc::clone(&app);
    rocket(listen, grace)
        .manage(app)
        .manage(error::DoorOnly)
        .mount("/", check_in::routes())
        .attach(AdHoc::on_liftoff("door", move |_| Box::pin(async move { opened.set_door(CheckInDoor::Open(listen)) })))
}
