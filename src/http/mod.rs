//! The JSON API: one server for callers with credentials, and a separate door for check-ins.

mod activity;
mod auth;
mod check_in;
mod containers;
mod credentials;
mod error;
mod fields;
mod gate;
mod health;
mod images;
mod import;
mod keys;
mod namespaces;
mod paths;
mod refusals;
mod strict;
mod trace;
mod users;
mod wire;
mod wishes;

use std::{
    collections::HashSet,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use ipnet::Ipv4Net;
use rocket::{
    Build, Config, Rocket,
    config::{Ident, LogLevel, Shutdown},
    fairing::AdHoc,
};
use tokio::{net::TcpListener, sync::oneshot};
use tokio_util::sync::CancellationToken;

pub use keys::ssh_keys;
use paths::{For, Paths};

use crate::app::{App, CheckInDoor};

/// What a server needs besides the use cases.
#[derive(Debug, Clone)]
pub struct ApiSettings {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The sandboxes' addresses. Only check-ins from there are answered.
    pub sandboxes: Ipv4Net,
    /// Whether unknown fields are ignored (`CONTRACT.md` 24).
    pub lenient: bool,
    /// How many seconds requests under way get at a shutdown.
    pub grace: u32,
}

fn rocket(listen: SocketAddr, grace: u32) -> Rocket<Build> {
    let config = Config {
        address: listen.ip(),
        port: listen.port(),
        ident: Ident::try_new("spindle").expect("a valid token"),
        // Never believe what a proxy says about the client's address (`CONTRACT.md` 27).
        ip_header: None,
        // We log requests ourselves, and `main` handles signals for all servers together.
        log_level: LogLevel::Off,
        cli_colors: false,
        shutdown: Shutdown { ctrlc: false, signals: HashSet::default(), grace, mercy: 1, ..Shutdown::default() },
        ..Config::release_default()
    };
    rocket::custom(config).attach(trace::Trace).register("/", rocket::catchers![error::fallback])
}

/// The API for callers with credentials.
pub fn api(app: Arc<App>, settings: ApiSettings) -> Rocket<Build> {
    let sandboxes = settings.sandboxes;
    let callers = [
        images::routes(),
        containers::routes(),
        users::routes(),
        import::routes(),
        namespaces::routes(),
        credentials::routes(),
    ];
    let (callers, open) = (callers.concat(), [health::routes(), credentials::open()].concat());
    let check_in = check_in::routes();
    let paths = Paths::default().and(For::Callers, &callers).and(For::Everybody, &open).and(For::Sandboxes, &check_in);
    rocket(settings.listen, settings.grace)
        .manage(app)
        .manage(refusals::Refusals::default())
        .manage(fields::Lenient(settings.lenient))
        .manage(paths)
        .attach(AdHoc::on_request("sandboxes stay out", move |request, _| {
            Box::pin(async move { trace::keep_out(request, sandboxes) })
        }))
        .mount("/", callers)
        .mount("/", check_in)
        .mount("/", open)
}

/// Opens the check-in door at `listen`, and keeps it open until `closing`. It serves nothing else. Tells `app` when it
/// is open.
///
/// # Errors
/// Why it could not listen, or why it ended.
pub async fn keep_door(app: Arc<App>, listen: SocketAddr, closing: CancellationToken) -> io::Result<()> {
    let gate = TcpListener::bind(listen).await?;
    let peers = gate::Peers::default();
    let (tell_inside, inside) = oneshot::channel();
    let tell_inside = Mutex::new(Some(tell_inside));
    let check_in = check_in::routes();
    let door = rocket(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0), 1)
        .manage(Arc::clone(&app))
        .manage(trace::DoorOnly)
        .manage(Paths::default().and(For::Sandboxes, &check_in))
        .manage(peers.clone())
        .mount("/", check_in)
        .attach(AdHoc::on_liftoff("door", move |rocket| {
            let port = rocket.config().port;
            if let Some(tell) = tell_inside.lock().expect("no holder panics").take() {
                // If nobody waits any more, the door is being closed.
                let _ = tell.send(port);
            }
            Box::pin(async {})
        }));
    let door = door.ignite().await.map_err(io::Error::other)?;
    let stop = door.shutdown();
    let launched = door.launch();
    tokio::pin!(launched);
    let gated = async {
        let Ok(port) = inside.await else { return };
        app.vitals.set_door(CheckInDoor::Open(listen));
        gate::keep(gate, SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port), peers).await;
    };
    tokio::select! {
        ended = &mut launched => return ended.map(drop).map_err(|e| io::Error::other(e.to_string())),
        () = gated => {}
        () = closing.cancelled() => {}
    }
    stop.notify();
    launched.await.map(drop).map_err(|e| io::Error::other(e.to_string()))
}
