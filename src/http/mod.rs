//! The JSON API: one server for callers with credentials, and a separate door for check-ins.

mod actions;
mod activity;
mod arrival;
mod auth;
mod bulk;
mod catch;
mod check_in;
mod containers;
mod credentials;
mod error;
mod events;
mod exec;
mod export;
mod fields;
mod figures;
mod files;
mod gate;
mod health;
mod images;
mod import;
mod keys;
mod live;
mod logs;
mod made;
mod metrics;
mod namespaces;
mod once;
mod paths;
mod refusals;
mod repeats;
mod selecting;
mod socket;
mod strict;
mod terminal;
mod ticket;
mod tickets;
mod trace;
mod users;
mod wire;
mod wishes;

use std::{
    collections::HashSet,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use ipnet::{IpNet, Ipv4Net};
use rocket::{
    Build, Config, Rocket, Route,
    config::{Ident, LogLevel, Shutdown},
    fairing::AdHoc,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use gate::{Certificates, Times};
use gate::{Limits, Rules};
pub use keys::ssh_keys;
use paths::{For, Paths};

use crate::app::{App, CheckInDoor};

/// The most connections to the API from an address that has not signed in lately.
const OF_STRANGER: u32 = 64;

/// The most connections to the door from one sandbox. A reporter needs one.
const OF_SANDBOX: u32 = 16;

/// What a server needs besides the use cases.
#[derive(Debug, Clone)]
pub struct ApiSettings {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The sandboxes' addresses. Their connections are reset.
    pub sandboxes: Ipv4Net,
    /// The proxies that are believed when they say for whom they ask.
    pub proxies: Vec<IpNet>,
    /// The name that a `Host` must have; `None`: any.
    pub public_name: Option<String>,
    /// Where people reach the API, for links; `None`: where the request was sent to.
    pub public_url: Option<String>,
    /// What TLS is spoken with; `None`: no TLS.
    pub certificates: Option<Arc<Certificates>>,
    /// The most connections. Half of them is for addresses that have signed in lately.
    pub connections: u32,
    /// How long a client may be silent.
    pub times: Times,
    /// Whether unknown fields are ignored (`CONTRACT.md` 24).
    pub lenient: bool,
    /// How many seconds requests under way get at a shutdown.
    pub grace: u32,
}

/// A server behind a gate. The gate alone may use its port.
fn rocket(grace: u32) -> Rocket<Build> {
    let config = Config {
        address: Ipv4Addr::LOCALHOST.into(),
        port: 0,
        ident: Ident::try_new("spindle").expect("a valid token"),
        // The gate knows who asks.
        ip_header: None,
        // We log requests ourselves, and `main` handles signals for all servers together.
        log_level: LogLevel::Off,
        cli_colors: false,
        shutdown: Shutdown { ctrlc: false, signals: HashSet::default(), grace, mercy: 1, ..Shutdown::default() },
        ..Config::release_default()
    };
    rocket::custom(config)
        .attach(trace::Trace)
        .attach(AdHoc::on_request("nobody comes around the gate", |request, _| {
            Box::pin(async move { trace::keep_out(request) })
        }))
        .register("/", rocket::catchers![catch::fallback])
}

/// The routes for callers with credentials.
fn callers() -> Vec<Route> {
    let all = [
        images::routes(),
        containers::routes(),
        bulk::routes(),
        exec::routes(),
        terminal::routes(),
        tickets::routes(),
        logs::routes(),
        files::routes(),
        figures::routes(),
        users::routes(),
        import::routes(),
        namespaces::routes(),
        credentials::routes(),
        actions::routes(),
        events::routes(),
    ];
    all.concat()
}

/// The routes for everybody.
fn open() -> Vec<Route> {
    [health::routes(), credentials::open(), metrics::routes()].concat()
}

/// Every route of the API, by its method and path.
pub fn routes() -> Vec<(String, String)> {
    let all = [callers(), open(), check_in::routes()].concat();
    all.iter().map(|route| (route.method.to_string(), route.uri.to_string())).collect()
}

/// The API for callers with credentials, at its address.
pub struct Api {
    listener: TcpListener,
    rules: Rules,
    server: Rocket<Build>,
}

impl Api {
    /// Listens. Who connects waits until it is served.
    ///
    /// # Errors
    /// Why it cannot listen.
    pub fn open(app: Arc<App>, settings: ApiSettings) -> io::Result<Self> {
        let (callers, open, check_in) = (callers(), open(), check_in::routes());
        let paths =
            Paths::default().and(For::Callers, &callers).and(For::Everybody, &open).and(For::Sandboxes, &check_in);
        let server = rocket(settings.grace)
            .manage(app)
            .manage(refusals::Refusals::default())
            .manage(metrics::Requests::default())
            .manage(once::UnderWay::default())
            .manage(once::Shows(repeats::shown))
            .manage(fields::Lenient(settings.lenient))
            .manage(auth::Base(settings.public_url))
            .manage(ticket::Tickets::default())
            .manage(paths)
            .mount("/", callers)
            .mount("/", check_in)
            .mount("/", open);
        let total = settings.connections;
        let rules = Rules {
            name: "api",
            refused: Some(settings.sandboxes),
            proxies: settings.proxies,
            public_name: settings.public_name,
            certificates: settings.certificates,
            limits: Limits {
                total,
                strangers: total / 2,
                of_stranger: OF_STRANGER.min(total.div_ceil(4)),
                of_known: total.div_ceil(4),
            },
            times: settings.times,
            is_api: true,
        };
        Ok(Self { listener: gate::bind(settings.listen)?, rules, server })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `closing`, and finishes the requests under way.
    ///
    /// # Errors
    /// Why it ended by itself.
    pub async fn serve(self, closing: CancellationToken) -> io::Result<()> {
        gate::keep(self.server, self.listener, self.rules, || {}, closing).await
    }
}

/// Opens the check-in door at `listen` for at most so many `connections`, and keeps it open until `closing`. It serves
/// nothing else. Tells `app` when it is open.
///
/// # Errors
/// Why it could not listen, or why it ended.
pub async fn keep_door(
    app: Arc<App>,
    listen: SocketAddr,
    connections: u32,
    closing: CancellationToken,
) -> io::Result<()> {
    let listener = gate::bind(listen)?;
    let check_in = check_in::routes();
    let door = rocket(1)
        .manage(Arc::clone(&app))
        .manage(trace::DoorOnly)
        .manage(Paths::default().and(For::Sandboxes, &check_in))
        .mount("/", check_in);
    let rules = Rules {
        name: "door",
        refused: None,
        proxies: Vec::new(),
        public_name: None,
        certificates: None,
        limits: Limits { total: connections, strangers: connections, of_stranger: OF_SANDBOX, of_known: OF_SANDBOX },
        times: Times::default(),
        is_api: false,
    };
    gate::keep(door, listener, rules, || app.vitals.set_door(CheckInDoor::Open(listen)), closing).await
}
