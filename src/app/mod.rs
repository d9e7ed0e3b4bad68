//! What we do, in order: one file per verb. Both ways in, a request and a tick, end here.

mod check_in;
mod claims;
mod converge;
mod create;
mod error;
mod follow;
mod health;
mod lifecycle;
mod look;
mod steps;
mod traffic;

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, Semaphore};
use tokio_util::task::{TaskTracker, task_tracker::TaskTrackerToken};

use crate::{
    clock::Clock,
    domain::{ContainerId, Cpus, IdleLimit, Memory, Policy, Sandbox, SandboxId, Wake},
    engine::{Engine, EngineInfo},
    relay::{Count, Relay, Unopened},
    store::{PortPool, Store},
};

pub use crate::clock::Stopwatch;
use claims::Claims;
pub use converge::ConvergeReport;
pub use create::CreateSpec;
pub use error::{Error, chain};
pub use health::{CheckInDoor, Health};

/// The use cases' result.
pub type Result<T> = std::result::Result<T, Error>;

/// What the configuration decides for the use cases.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The idle limit of a sandbox that has none of its own.
    pub idle_limit: IdleLimit,
    /// For how long after the last interactive evidence connections count; `None`: without end.
    pub connection_cap: Option<Duration>,
    /// Which connections wake a sandbox for which nothing else is said.
    pub wake: Wake,
    /// How often images report.
    pub report_period: Duration,
    /// For how long nothing is stopped after sandboxes could not report (`idleness.md`, rule 7).
    pub resume_grace: Duration,
    /// How often the pass is woken when nothing else wakes it.
    pub converge_every: Duration,
    /// Where host ports come from.
    pub pool: PortPool,
    /// How many sandboxes may run at once.
    pub max_running: u32,
    /// How many sandboxes the engine creates or starts at once, and how many it removes. More at once gains nothing,
    /// and a hundred at once make it miss its deadlines.
    pub start_concurrency: usize,
    /// From SIGTERM to SIGKILL (`contract.md` 21).
    pub stop_grace: Duration,
    /// The memory limit of a sandbox whose creator set none.
    pub memory: Memory,
    /// The cpu limit of a sandbox whose creator set none.
    pub cpus: Cpus,
    /// The key of a sandbox whose creator gave none.
    pub default_ssh_key: Option<String>,
    /// Where the check-in door is; none: at the network's gateway.
    pub check_in_address: Option<IpAddr>,
    /// Its port.
    pub check_in_port: u16,
}

/// The most steps of a pass that are under way at once, waiting stops included. Large, because a stop
/// that waits for its grace costs nothing, and must not delay the others.
const HANDS: usize = 64;

/// What is remembered between passes, in memory only: after a crash it is rebuilt, on the safe side.
#[derive(Debug, Default)]
struct Pulse {
    /// When it began, by the clock and by the time that passes whatever the clock does.
    last_pass: Option<(Timestamp, Duration)>,
    hold_until: Option<Timestamp>,
    /// Sandboxes could not report, or we could not look, in the last pass.
    impaired: bool,
    engine: Option<std::result::Result<EngineInfo, String>>,
    door: CheckInDoor,
    gateway: Option<IpAddr>,
    /// There has been a complete pass since our start.
    passed: bool,
    /// The check-in URL that all sandboxes have been told.
    told_url: Option<String>,
    suspects: HashSet<ContainerId>,
    suspect_all: bool,
    /// The engine shows nothing at all, and that is not believed.
    all_absent: bool,
    /// Sandboxes about which a step failed and has not succeeded since.
    failing: HashSet<SandboxId>,
    report: Option<ConvergeReport>,
    /// The relay may not know all that it should.
    table_is_stale: bool,
    /// Sandboxes' ports that cannot be opened.
    held: Vec<Unopened>,
    /// What each port has carried.
    traffic: HashMap<(SandboxId, u16), Count>,
}

/// Says that something is under way.
pub struct UnderWay(#[allow(dead_code, reason = "it is there to be dropped")] TaskTrackerToken);

/// The use cases and what they stand on.
pub struct App {
    store: Arc<Store>,
    engine: Arc<dyn Engine>,
    relay: Arc<Relay>,
    /// Held while the relay is told something.
    table: tokio::sync::Mutex<()>,
    clock: Arc<dyn Clock>,
    settings: Settings,
    claims: Arc<Claims>,
    starts: Semaphore,
    removals: Semaphore,
    hands: Semaphore,
    tasks: TaskTracker,
    wake: Notify,
    pass: tokio::sync::Mutex<()>,
    pulse: Mutex<Pulse>,
}

impl App {
    /// Puts the parts together. Nothing runs until somebody calls.
    pub fn new(
        store: Arc<Store>,
        engine: Arc<dyn Engine>,
        relay: Arc<Relay>,
        clock: Arc<dyn Clock>,
        settings: Settings,
    ) -> Arc<Self> {
        Arc::new(Self {
            store,
            engine,
            relay,
            table: tokio::sync::Mutex::default(),
            clock,
            claims: Arc::default(),
            starts: Semaphore::new(settings.start_concurrency),
            removals: Semaphore::new(settings.start_concurrency),
            hands: Semaphore::new(HANDS),
            tasks: TaskTracker::new(),
            wake: Notify::new(),
            pass: tokio::sync::Mutex::default(),
            pulse: Mutex::new(Pulse { suspect_all: true, ..Pulse::default() }),
            settings,
        })
    }

    fn pulse(&self) -> MutexGuard<'_, Pulse> {
        self.pulse.lock().expect("no holder panics")
    }

    /// Waits until somebody wants a pass.
    pub async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Asks for a pass soon.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Says where the check-in door stands. While it is not open no sandbox can report, so none is
    /// stopped for being idle.
    pub fn set_door(&self, door: CheckInDoor) {
        let before = std::mem::replace(&mut self.pulse().door, door.clone());
        match door {
            CheckInDoor::Open(at) => tracing::info!(%at, "the check-in door is open"),
            CheckInDoor::Shut(why) if before != CheckInDoor::Shut(why.clone()) => {
                tracing::warn!(why, "sandboxes cannot check in, so none is stopped for being idle");
            }
            CheckInDoor::Shut(_) | CheckInDoor::Waiting => {}
        }
        self.wake();
    }

    /// Where the check-in door shall listen; `None` until the network is there.
    pub fn door_address(&self) -> Option<IpAddr> {
        self.settings.check_in_address.or(self.pulse().gateway)
    }

    /// Where sandboxes check in; `None` until the network is there.
    fn door_url(&self) -> Option<String> {
        // A door that listens everywhere is still reached at the gateway.
        let fixed = self.settings.check_in_address.filter(|a| !a.is_unspecified());
        fixed.or(self.pulse().gateway).map(|address| self.url_at(address))
    }

    fn url_at(&self, address: IpAddr) -> String {
        let door = SocketAddr::new(address, self.settings.check_in_port).to_string();
        format!("http://{}/v1/check-in", door.strip_suffix(":80").unwrap_or(&door))
    }

    /// How often images are expected to report; the least idle limit is three of these.
    pub fn report_period(&self) -> Duration {
        self.settings.report_period
    }

    /// When `sandbox` will be stopped unless it is used (`contract.md` 31).
    pub fn stops_at(&self, sandbox: &Sandbox) -> Option<Timestamp> {
        crate::domain::deadline(&self.policy(None), sandbox)
    }

    fn policy(&self, hold_until: Option<Timestamp>) -> Policy {
        Policy { limit: self.settings.idle_limit, connection_cap: self.settings.connection_cap, hold_until }
    }

    /// The limit that applies to `sandbox`.
    pub fn idle_limit(&self, sandbox: &Sandbox) -> IdleLimit {
        sandbox.idle_limit.unwrap_or(self.settings.idle_limit)
    }

    /// Something that is under way until it is dropped: [`App::drain`] waits for it.
    pub fn under_way(&self) -> UnderWay {
        UnderWay(self.tasks.token())
    }

    /// Starts no further creation or start, and waits until what is under way has ended, at most until
    /// `deadline` has passed. What has not ended by then is finished by the next server's first pass.
    pub async fn drain(&self, deadline: Duration) {
        self.starts.close();
        self.tasks.close();
        if tokio::time::timeout(deadline, self.tasks.wait()).await.is_err() {
            tracing::warn!(left = self.tasks.len(), "ended with work under way; the next start finishes it");
        }
    }
}

fn plus(at: Timestamp, duration: Duration) -> Timestamp {
    SignedDuration::try_from(duration).ok().and_then(|d| at.checked_add(d).ok()).unwrap_or(Timestamp::MAX)
}
