//! The world of one trace: what outlives the server, and the server's processes one after another.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt;
use tokio::{sync::Notify, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{
    clock::{SimClock, pass},
    disk::Disk,
    engine::{Driven, Trouble},
    life::{Dawdle, Dice, Life},
    oracle::Oracle,
    relay::{Line, SimRelay},
    subject::Law,
};
use crate::{
    app::{App, CheckInDoor, ReachSettings, Settings},
    domain::{ContainerId, Cpus, Limit, Memory, Observed, Phase, Policy, Sandbox, SandboxId, Sources, State, Wake},
    engine::{Containers, fake::FakeEngine},
    loops,
    relay::Relay,
    store::{PortPool, Store},
};

/// How often a pass is due, in milliseconds.
pub const PERIOD: i64 = 5_000;

/// How long nothing is stopped after sandboxes could not report, in milliseconds.
pub const GRACE: i64 = 20_000;

/// The limit of a sandbox without its own, in milliseconds.
pub const LIMIT: i64 = 60_000;

/// The one image.
pub const IMAGE: &str = "lab";

/// What outlives the server.
/// Its fields are the parts of a machine, and the values that differ from trace to trace.
pub struct World {
    pub clock: Arc<SimClock>,
    pub engine: FakeEngine,
    pub relay: SimRelay,
    pub disk: Disk,
    pub dice: Arc<Dice>,
    /// The most milliseconds that a container takes to end when told to.
    pub longest_end: i64,
    /// How many of a thousand stops are followed by a start.
    pub contrary: i64,
    /// Whether events may be lost silently.
    pub loses_events: bool,
    /// Whether the relay lives and dies with the server.
    pub relay_is_ours: bool,
    pub trouble: Arc<Mutex<Trouble>>,
    dawdle: Dawdle,
    settings: Settings,
    oracle: Mutex<Oracle>,
    rows: Mutex<Arc<Store>>,
    server: Mutex<Option<Arc<Server>>>,
}

/// One process of the server.
pub struct Server {
    pub app: Arc<App>,
    pub life: Arc<Life>,
    /// Ends the stream of the engine's events.
    pub cut: Arc<Notify>,
    has_door: Arc<AtomicBool>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Server {
    /// Whether its check-in door is open. The caller takes the door, and must open it again.
    pub fn take_door(&self) -> bool {
        self.has_door.swap(false, Ordering::Relaxed)
    }

    pub fn open_door(&self) {
        open(&self.app, &self.has_door);
    }
}

/// What differs from trace to trace.
#[derive(Debug, Clone)]
pub struct Flavour {
    /// How long connections count after the last interactive evidence, in milliseconds.
    pub cap: Option<i64>,
    /// How long after its start a sandbox is stopped, used or not, in milliseconds.
    pub max_age: Option<i64>,
    /// How long before that its users are warned, in milliseconds.
    pub warn_before: Option<i64>,
    pub longest_end: i64,
    pub contrary: i64,
    pub loses_events: bool,
    pub relay_is_ours: bool,
    pub dawdle: Dawdle,
}

fn settings(flavour: &Flavour) -> Settings {
    let milliseconds = |m: i64| Duration::from_millis(m as u64);
    Settings {
        admin: crate::app::AdminLogin {
            user: "admin".into(),
            password: crate::domain::Password::Plain("spindocker".into()),
        },
        policy: Policy {
            idle_limit: limit_of(Some(LIMIT)),
            connection_cap: limit_of(flavour.cap),
            max_age: limit_of(flavour.max_age),
            warn_before: limit_of(flavour.warn_before),
            evidence: Sources::DEFAULT,
        },
        keep_max: milliseconds(4 * LIMIT),
        wake: Wake::Idle,
        report_period: Duration::from_secs(5),
        resume_grace: milliseconds(GRACE),
        converge_every: milliseconds(PERIOD),
        pool: PortPool { host: [127, 0, 0, 1].into(), range: 10_000..=10_011 },
        max_running: 5,
        start_concurrency: 2,
        stop_grace: Duration::from_secs(10),
        memory: Memory::parse("512m").expect("plain"),
        cpus: Cpus::parse("1").expect("plain"),
        zone: None,
        default_ssh_key: Some("ssh-ed25519 scripted".into()),
        default_ssh_key_always: true,
        check_in_address: None,
        check_in_port: 80,
        reach: ReachSettings::default(),
        spool: std::env::temp_dir().join("spindle-test-spool"),
        transfer_max: 64 << 20,
        actions_keep: Duration::from_hours(400 * 24),
    }
}

/// A limit, as a caller would set it.
pub fn limit_of(milliseconds: Option<i64>) -> Limit {
    milliseconds.map_or(Limit::Never, |m| Limit::After(Duration::from_millis(m as u64)))
}

impl World {
    pub fn new(dice: Arc<Dice>, flavour: &Flavour, tells: bool) -> Arc<Self> {
        let engine = FakeEngine::default();
        let law = Law { limit: Some(LIMIT), cap: flavour.cap, age: flavour.max_age, ..Law::default() };
        engine.add_image(&format!("{IMAGE}:latest"), &["22", "8000"], None);
        Arc::new(Self {
            clock: Arc::new(SimClock::new()),
            engine,
            relay: SimRelay::default(),
            disk: Disk::default(),
            dice,
            longest_end: flavour.longest_end,
            contrary: flavour.contrary,
            loses_events: flavour.loses_events,
            relay_is_ours: flavour.relay_is_ours,
            trouble: Arc::default(),
            dawdle: flavour.dawdle,
            settings: settings(flavour),
            oracle: Mutex::new(Oracle::new(law, tells, flavour.loses_events)),
            rows: Mutex::new(Arc::new(Store::in_memory().expect("there is memory"))),
            server: Mutex::default(),
        })
    }

    /// The oracle, at this moment.
    pub fn oracle(&self) -> MutexGuard<'_, Oracle> {
        let elapsed = self.clock.elapsed();
        let kept = self.store().scale().map_or(self.clock.wall() - elapsed, |scale| scale.ahead);
        let mut oracle = self.oracle.lock().expect("no holder panics");
        oracle.set_now(elapsed, kept);
        oracle
    }

    /// What is wrong with the engine.
    pub fn troubles(&self) -> MutexGuard<'_, Trouble> {
        self.trouble.lock().expect("no holder panics")
    }

    /// The process that runs at present.
    pub fn server(&self) -> Option<Arc<Server>> {
        self.server.lock().expect("no holder panics").clone().filter(|s| !s.life.is_dead())
    }

    fn store(&self) -> Arc<Store> {
        Arc::clone(&self.rows.lock().expect("no holder panics"))
    }

    /// All rows, as they are at this moment.
    pub fn rows(&self) -> Vec<Sandbox> {
        let rows = self.store().all().now_or_never().expect("nobody waits for memory").expect("memory does not fail");
        rows.into_iter().map(Arc::unwrap_or_clone).collect()
    }

    pub fn row(&self, id: &SandboxId) -> Option<Sandbox> {
        self.store().get(id).now_or_never().expect("nobody waits for memory").expect("memory does not fail")
    }

    pub fn row_of(&self, container: &ContainerId) -> Option<Sandbox> {
        self.rows().into_iter().find(|r| r.container.as_ref() == Some(container))
    }

    /// What the engine really holds.
    pub fn observed(&self) -> Vec<Observed> {
        self.engine.list().now_or_never().expect("nobody waits").expect("it does not fail")
    }

    fn inspected(&self, container: &ContainerId) -> Option<Observed> {
        self.engine.inspect(container).now_or_never().expect("nobody waits").ok()
    }

    pub fn phase(&self, container: &ContainerId) -> Option<Phase> {
        self.inspected(container).map(|o| o.phase)
    }

    pub fn starts_of(&self, container: &ContainerId) -> Option<String> {
        self.inspected(container)?.mark
    }

    pub fn made(&self, sandbox: &Sandbox, container: &ContainerId) {
        self.oracle().made(sandbox, container);
    }

    /// Others hold a port of a sandbox. No sandbox is stopped while nobody sees its connections.
    pub fn held(&self, at: SocketAddr) {
        let mut oracle = self.oracle();
        oracle.tell(|| format!("relay: {at} is held by others"));
        oracle.trouble(None, true);
        oracle.trouble(None, false);
    }

    /// Excuses starts that nobody can have seen yet: a quick restart whose event was lost, until the next close look;
    /// and any start while nobody can look.
    pub fn excuse_what_is_unseen(&self, rows: &[Sandbox]) {
        if !self.loses_events && !self.oracle().is_blind() {
            return;
        }
        for row in rows {
            if row.container.is_some() && !self.has_seen(row) {
                self.oracle().excuse(&row.id);
            }
        }
    }

    /// Whether a row knows the latest start of its container.
    pub fn has_seen(&self, row: &Sandbox) -> bool {
        let starts = row.container.as_ref().and_then(|container| self.starts_of(container));
        matches!(&row.life.state, State::Running { mark, .. } if starts.as_ref() == Some(mark))
    }

    /// Begins another process of the server.
    pub fn boot(self: &Arc<Self>) -> Arc<Server> {
        let life = Life::new(self.dawdle, Arc::clone(&self.dice));
        let cut = Arc::new(Notify::new());
        let (reads, writes) = life.hooks(self);
        let store = Arc::new(self.store().hooked(reads, writes));
        let engine = Arc::new(Driven {
            world: Arc::clone(self),
            life: Arc::clone(&life),
            cut: Arc::clone(&cut),
            trouble: Arc::clone(&self.trouble),
        });
        let (events, heard) = tokio::sync::mpsc::unbounded_channel();
        let line = Arc::new(Line { world: Arc::clone(self), life: Arc::clone(&life) });
        let relay = Arc::new(Relay::scripted(line, heard));
        self.relay.connect(events);
        let app = App::new(store, engine, relay, self.clock.clone(), self.settings.clone());
        self.oracle().tell(|| "server: begins".into());
        self.excuse_what_is_unseen(&self.rows());
        self.oracle().begun();
        for row in self.rows().iter().filter(|r| !matches!(r.life.state, State::Running { .. })) {
            row.container.iter().for_each(|c| self.oracle().see_late(c));
        }
        let (never, has_door) = (CancellationToken::new(), Arc::new(AtomicBool::new(false)));
        let tasks = vec![
            tokio::spawn(loops::converge_when_woken(Arc::clone(&app), self.settings.converge_every, never.clone())),
            tokio::spawn(loops::follow_events(Arc::clone(&app), never.clone())),
            tokio::spawn(loops::follow_relay(Arc::clone(&app), never)),
            tokio::spawn(tick(Arc::clone(&app), Arc::clone(&self.clock))),
            tokio::spawn(open_door(Arc::clone(&app), Arc::clone(&has_door))),
        ];
        app.wake();
        let server = Arc::new(Server { app, life, cut, has_door, tasks: Mutex::new(tasks) });
        *self.server.lock().expect("no holder panics") = Some(Arc::clone(&server));
        server
    }

    /// Lets go of the server. It holds this world as its engine, so otherwise neither would ever be dropped.
    pub fn end(&self) {
        *self.server.lock().expect("no holder panics") = None;
    }

    /// Cleans up after a process that was cut off.
    pub fn bury(&self, server: &Server, relay_too: bool, records_too: bool) {
        server.life.end();
        server.tasks.lock().expect("no holder panics").drain(..).for_each(|task| task.abort());
        self.oracle().tell(|| format!("server: is killed; relay too: {relay_too}; records too: {records_too}"));
        let rows = self.rows();
        self.oracle().crashed(&rows);
        self.oracle().takes_from(&rows);
        if relay_too {
            self.relay.forget();
            self.oracle().uses_are_lost(&rows);
        }
        if records_too {
            *self.rows.lock().expect("no holder panics") = Arc::new(Store::in_memory().expect("there is memory"));
            self.oracle().records_lost(&rows);
            // End the troubles: an adoption that comes late may find its ports taken, and that is not tested here.
            self.troubles().end();
            self.relay.set_faults(0);
            self.disk.set_faults(0);
        }
    }
}

/// Wakes the pass as the schedule does, until the clock is set.
async fn tick(app: Arc<App>, clock: Arc<SimClock>) {
    while !clock.was_set() {
        pass(PERIOD).await;
        app.wake();
    }
}

/// Opens the check-in door, as a process does.
async fn open_door(app: Arc<App>, has_door: Arc<AtomicBool>) {
    while app.vitals.door_address().is_none() {
        pass(50).await;
    }
    open(&app, &has_door);
}

fn open(app: &App, has_door: &AtomicBool) {
    app.vitals.set_door(CheckInDoor::Open(([127, 0, 0, 1], 80).into()));
    has_door.store(true, Ordering::Relaxed);
}
