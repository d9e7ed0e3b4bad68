//! What we do, in order: one file per verb. Both ways in, a request and a tick, end here.

mod activity;
mod check_in;
mod claims;
mod converge;
mod cpu;
mod create;
mod decide;
mod ended;
mod error;
mod follow;
mod health;
mod images;
mod lifecycle;
mod look;
mod names;
mod policy;
mod record;
mod steps;
mod stop;
mod traffic;
mod warn;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use futures_util::future::{BoxFuture, WeakShared};
use jiff::Timestamp;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::{TaskTracker, task_tracker::TaskTrackerToken};

use crate::{
    clock::{Clock, RecordClock},
    domain::{ContainerId, Cpus, Grace, Memory, Policy, Sandbox, SandboxId, Wake, Zone, deadline, time::plus},
    engine::{CheckIn, Engine, EngineInfo},
    relay::{Count, Relay, Unopened},
    store::{PortPool, Store},
};

pub use crate::{clock::Stopwatch, store::Change};
pub use activity::Activity;
use claims::Claims;
pub use converge::ConvergeReport;
use cpu::CpuSample;
pub use create::CreateSpec;
use decide::Awaited;
pub use error::{Error, chain};
use follow::Heard;
pub use health::{CheckInDoor, Health};
pub use images::{Ensured, Image, Pull, PullState};
use stop::CutOff;

/// The use cases' result.
pub type Result<T> = std::result::Result<T, Error>;

/// What the configuration decides for the use cases.
#[derive(Debug, Clone)]
pub struct Settings {
    /// When sandboxes that have nothing of their own are stopped.
    pub policy: Policy,
    /// For how long at most somebody inside may keep a sandbox at a time.
    pub keep_max: Duration,
    /// Which connections wake a sandbox for which nothing else is said.
    pub wake: Wake,
    /// How often images report.
    pub report_period: Duration,
    /// For how long nothing is stopped after sandboxes could not report (`IDLENESS.md`, rule 7).
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
    /// From SIGTERM to SIGKILL (`CONTRACT.md` 21).
    pub stop_grace: Duration,
    /// The memory limit of a sandbox whose creator set none.
    pub memory: Memory,
    /// The cpu limit of a sandbox whose creator set none.
    pub cpus: Cpus,
    /// The time zone of sandboxes for which neither their creator nor their image says one; none: UTC, and their programs are
    /// told nothing.
    pub zone: Option<Zone>,
    /// Public keys, one a line: of a sandbox whose creator gave none, or of every one.
    pub default_ssh_key: Option<String>,
    /// Whether they are added to those that a creator gave.
    pub default_ssh_key_always: bool,
    /// Where the check-in door is; none: at the network's gateway.
    pub check_in_address: Option<IpAddr>,
    /// Its port.
    pub check_in_port: u16,
}

/// The most steps of a pass that the engine is given at once.
const HANDS: usize = 64;

/// For how long a step counts among them. One that takes longer waits for its grace, or for an engine that hangs, which
/// costs nothing and must not delay the others.
const HAND_HELD: Duration = Duration::from_secs(2);

/// How many sandboxes are warned at once; each warning starts a process in one.
const VOICES: usize = 16;

/// What is remembered between passes, in memory only: after a crash it is rebuilt, on the safe side.
#[derive(Debug, Default)]
struct Pulse {
    /// When it began, by the clock and by the time that passes whatever the clock does.
    last_pass: Option<(Timestamp, Duration)>,
    /// The last one, until it is over for everybody.
    grace: Option<Grace>,
    /// Sandboxes could not report, or we could not look, in the last pass.
    impaired: bool,
    engine: Option<std::result::Result<EngineInfo, String>>,
    door: CheckInDoor,
    gateway: Option<IpAddr>,
    /// There has been a complete pass since our start.
    passed: bool,
    /// Where and how often to check in, as all sandboxes have been told.
    told: Option<CheckIn>,
    suspects: HashSet<ContainerId>,
    suspect_all: bool,
    /// What was heard of containers' present or last runs.
    heard: HashMap<ContainerId, Heard>,
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
    /// Who is being warned.
    being_warned: HashSet<SandboxId>,
    /// Containers of which the engine does not tell, those first that were asked for longest ago.
    mute: VecDeque<ContainerId>,
    /// What connections carried could not be looked at.
    relay_is_away: bool,
    /// The log says that the relay is away, and not yet that it is back.
    relay_is_missed: bool,
    /// The deadlines that are awaited.
    awaited: HashMap<SandboxId, Awaited>,
    /// What each sandbox that counts cpu had used when last looked at.
    cpu: HashMap<SandboxId, CpuSample>,
    /// Idle stops that were cut off.
    cut_off: HashMap<SandboxId, CutOff>,
    /// How often the store had failed when a pass last looked.
    failures: u64,
    /// What was said last of why the database cannot be used.
    database: Option<String>,
    /// The engine did not answer since the last complete look.
    engine_was_away: bool,
    /// The engine was unreachable before the look that produced these steps.
    engine_is_back: bool,
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
    clock: Arc<RecordClock>,
    settings: Settings,
    claims: Arc<Claims>,
    starts: Semaphore,
    removals: Semaphore,
    hands: Semaphore,
    voices: Semaphore,
    /// The question whether the engine is there, while it is asked.
    asked: Mutex<Option<WeakShared<BoxFuture<'static, crate::engine::Result<()>>>>>,
    /// Held while somebody looks at cpu use.
    cpu_looks: Arc<tokio::sync::Mutex<()>>,
    /// Images that are being pulled, by tag.
    pulls: Mutex<HashMap<String, Pull>>,
    /// Cancelled when the server is being shut down.
    closing: CancellationToken,
    tasks: TaskTracker,
    wake: Notify,
    pass: tokio::sync::Mutex<()>,
    pulse: Mutex<Pulse>,
    /// When the database was last tried, by the time that passes whatever the clock does, and with what result.
    tried: tokio::sync::Mutex<Option<(Duration, std::result::Result<(), String>)>>,
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
        let scale = store.scale().filter(|scale| scale.boot == clock.boot());
        let clock = Arc::new(RecordClock::new(clock, scale.map(|scale| scale.ahead)));
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
            voices: Semaphore::new(VOICES),
            asked: Mutex::default(),
            cpu_looks: Arc::default(),
            pulls: Mutex::default(),
            closing: CancellationToken::new(),
            tasks: TaskTracker::new(),
            wake: Notify::new(),
            pass: tokio::sync::Mutex::default(),
            pulse: Mutex::new(Pulse { suspect_all: true, ..Pulse::default() }),
            tried: tokio::sync::Mutex::default(),
            settings,
        })
    }

    fn pulse(&self) -> MutexGuard<'_, Pulse> {
        self.pulse.lock().expect("no holder panics")
    }

    fn pulls(&self) -> MutexGuard<'_, HashMap<String, Pull>> {
        self.pulls.lock().expect("no holder panics")
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

    /// Where and how often sandboxes check in; `None` until the network is there.
    fn reporting(&self) -> Option<CheckIn> {
        // A door that listens everywhere is still reached at the gateway.
        let fixed = self.settings.check_in_address.filter(|a| !a.is_unspecified());
        fixed.or(self.pulse().gateway).map(|address| self.reporting_to(address))
    }

    fn reporting_to(&self, address: IpAddr) -> CheckIn {
        let door = SocketAddr::new(address, self.settings.check_in_port).to_string();
        let url = format!("http://{}/v1/check-in", door.strip_suffix(":80").unwrap_or(&door));
        CheckIn { url, period: self.settings.report_period }
    }

    /// How often images are expected to report; the least idle limit is three of these.
    pub fn report_period(&self) -> Duration {
        self.settings.report_period
    }

    /// When `sandbox` will be stopped unless it is used (`CONTRACT.md` 31).
    pub fn stops_at(&self, sandbox: &Sandbox) -> Option<Timestamp> {
        deadline(&self.settings.policy, sandbox).map(|d| d.at)
    }

    /// The policy that applies to `sandbox`.
    pub fn policy_of(&self, sandbox: &Sandbox) -> Policy {
        self.settings.policy.of(sandbox)
    }

    /// The policy that is set for `sandbox`, whatever its limit is because its reports are rare.
    pub fn policy_set_for(&self, sandbox: &Sandbox) -> Policy {
        self.settings.policy.set_for(sandbox)
    }

    /// Something that is under way until it is dropped: [`App::drain`] waits for it.
    pub fn under_way(&self) -> UnderWay {
        UnderWay(self.tasks.token())
    }

    /// Starts no further creation or start, and waits until what is under way has ended, at most until
    /// `deadline` has passed. What has not ended by then is finished by the next server's first pass.
    pub async fn drain(&self, deadline: Duration) {
        self.closing.cancel();
        self.starts.close();
        self.voices.close();
        self.tasks.close();
        if tokio::time::timeout(deadline, self.tasks.wait()).await.is_err() {
            tracing::warn!(left = self.tasks.len(), "ended with work under way; the next start finishes it");
        }
    }
}
