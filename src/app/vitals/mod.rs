//! Vitals: whether the engine, the store and the door work, and what that means for idle stops.

mod recording;

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;

use super::{Error, Result, Settings, next::Next};
use crate::{
    clock::RecordClock,
    domain::{
        Fact, Grace, Happened, Hold, Sandbox,
        rules::{Rule, broken},
    },
    engine::{CheckIn, EngineError, EngineInfo},
    store::Store,
};

/// How late a pass may be, beyond two periods, before sandboxes get a grace.
const LATENESS: Duration = Duration::from_secs(10);

/// How long a creation waits for the first pass to end.
const FIRST_PASS: Duration = Duration::from_secs(30);

/// Where the check-in door stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum CheckInDoor {
    /// The network is not there yet.
    #[default]
    Waiting,
    /// Sandboxes can report.
    Open(SocketAddr),
    /// It cannot be opened; this is the reason.
    Shut(String),
}

/// What one pass found and did.
#[derive(Debug, Clone, Default)]
pub struct ConvergeReport {
    /// When it began.
    pub at: Option<Timestamp>,
    /// How many sandboxes we knew.
    pub known: usize,
    /// How many containers the engine showed.
    pub observed: usize,
    /// How many steps were due.
    pub steps: usize,
    /// Why the engine could not be read; then nothing was decided.
    pub engine_error: Option<EngineError>,
    /// Why the store could not be read; then nothing was decided.
    pub store_error: Option<String>,
    /// Until when nothing is stopped for being idle.
    pub hold_until: Option<Timestamp>,
    /// How long until the next deadline.
    pub wake_in: Option<Duration>,
}

impl ConvergeReport {
    /// An error unless the pass could look. `doing`: what fails then.
    ///
    /// # Errors
    /// [`Error::EngineAway`], [`Error::Engine`], [`Error::DatabaseAway`].
    pub(super) fn has_looked(self, doing: &'static str) -> Result<()> {
        match (self.engine_error, self.store_error) {
            (Some(e), _) => Err(Error::engine(doing, e)),
            (None, Some(why)) => Err(Error::DatabaseAway(why)),
            (None, None) => Ok(()),
        }
    }
}

#[derive(Debug, Default)]
struct State {
    hold: Hold,
    door: CheckInDoor,
    gateway: Option<IpAddr>,
    /// The engine, as the last pass saw it; or why it cannot be used.
    engine: Option<std::result::Result<EngineInfo, String>>,
    /// The engine shows no container at all, and we do not believe it.
    is_all_absent: bool,
    /// How often the store had failed when a pass last looked.
    failures: u64,
    /// Why the database cannot be used, as the log said last.
    database: Option<String>,
    /// There has been a complete pass since our start.
    has_begun: bool,
    report: Option<ConvergeReport>,
}

/// Whether the engine, the store and the door work. In memory only: after a crash it is learned again, and errs on the
/// safe side.
pub struct Vitals {
    store: Arc<Store>,
    clock: Arc<RecordClock>,
    settings: Arc<Settings>,
    next: Arc<Next>,
    state: Mutex<State>,
    /// A pass has ended. Those who wait are woken in the order in which they came.
    passed: Notify,
    /// When the database was last tried, by the steady clock, and the result.
    tried: tokio::sync::Mutex<Option<(Duration, std::result::Result<(), String>)>>,
}

impl Vitals {
    /// Nothing has been seen yet.
    pub fn new(store: Arc<Store>, clock: Arc<RecordClock>, settings: Arc<Settings>, next: Arc<Next>) -> Self {
        let (state, passed, tried) = (Mutex::default(), Notify::new(), tokio::sync::Mutex::default());
        Self { store, clock, settings, next, state, passed, tried }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }

    /// Says where the check-in door stands. While it is shut no sandbox can report, so none is stopped for being idle.
    pub fn set_door(&self, door: CheckInDoor) {
        let before = std::mem::replace(&mut self.state().door, door.clone());
        match door {
            CheckInDoor::Open(at) => tracing::info!(%at, "the check-in door is open"),
            CheckInDoor::Shut(why) if before != CheckInDoor::Shut(why.clone()) => {
                tracing::warn!(why, "sandboxes cannot check in, so none is stopped for being idle");
            }
            CheckInDoor::Shut(_) | CheckInDoor::Waiting => {}
        }
        self.next.wake();
    }

    /// Where the check-in door stands.
    pub fn door(&self) -> CheckInDoor {
        self.state().door.clone()
    }

    /// Where the check-in door shall listen; `None` until the network is there.
    pub fn door_address(&self) -> Option<IpAddr> {
        self.settings.check_in_address.or(self.state().gateway)
    }

    /// The network is there, and this is its gateway.
    pub fn set_gateway(&self, gateway: IpAddr) {
        self.state().gateway = Some(gateway);
    }

    /// Where and how often sandboxes check in; `None` until the network is there.
    pub fn reporting(&self) -> Option<CheckIn> {
        // Sandboxes reach a door that listens everywhere at the gateway.
        let fixed = self.settings.check_in_address.filter(|a| !a.is_unspecified());
        let door = SocketAddr::new(fixed.or(self.state().gateway)?, self.settings.check_in_port).to_string();
        let url = format!("http://{}/v1/check-in", door.strip_suffix(":80").unwrap_or(&door));
        Some(CheckIn { url, period: self.settings.report_period })
    }

    /// Tells those who follow. If the store fails, others log it.
    fn tell(&self, what: Happened, detail: &[(&str, Fact)]) {
        self.store.tell(what, None, detail, |_| {});
    }

    /// Notes that the engine answered a pass.
    pub fn engine_is_seen(&self, info: &EngineInfo) {
        let before = self.state().engine.replace(Ok(info.clone()));
        if matches!(before, Some(Err(_))) {
            self.tell(Happened::EngineBack, &[]);
        }
        if !matches!(before, Some(Ok(_))) {
            tracing::info!(version = info.version, api_version = info.api_version, "the engine answers");
        }
    }

    /// Notes that the engine did not answer a pass.
    pub fn engine_is_missed(&self, why: &EngineError) {
        let before = self.state().engine.replace(Err(why.to_string()));
        if !matches!(before, Some(Err(_))) {
            tracing::warn!(error = %why, "the engine cannot be looked at; nothing is stopped or forgotten");
            self.tell(Happened::EngineLost, &[("why", why.to_string().into())]);
        }
    }

    /// Why the engine cannot be used, as far as the last pass saw.
    pub fn engine_failure(&self) -> Option<String> {
        let state = self.state();
        if state.is_all_absent {
            return Some("it shows none of the sandboxes; is it another engine?".into());
        }
        state.engine.as_ref().and_then(|seen| seen.as_ref().err().cloned())
    }

    /// `Some(n)`: the engine shows none of our `n` sandboxes, and we do not believe it. `None`: it shows them.
    pub fn set_all_absent(&self, sandboxes: Option<usize>) {
        let before = std::mem::replace(&mut self.state().is_all_absent, sandboxes.is_some());
        if let Some(sandboxes) = sandboxes.filter(|_| !before) {
            tracing::error!(
                sandboxes,
                "the engine shows none of the sandboxes; is it another engine, or is its disk missing? none is forgotten"
            );
        }
    }

    /// Waits for the first complete pass since our start. `doing`: what fails if there is none.
    ///
    /// # Errors
    /// Those of `ConvergeReport::has_looked`, of the next pass; [`Error::DatabaseAway`] if that pass could not record
    /// what it saw.
    pub async fn begun(&self, doing: &'static str) -> Result<()> {
        let passed = self.passed.notified();
        tokio::pin!(passed);
        passed.as_mut().enable();
        if self.has_begun() {
            return Ok(());
        }
        self.next.wake();
        if tokio::time::timeout(FIRST_PASS, passed).await.is_err() {
            let late = EngineError::Timeout { call: "the first pass", deadline: FIRST_PASS };
            return Err(Error::engine(doing, late));
        }
        self.report().unwrap_or_default().has_looked(doing)?;
        if self.has_begun() {
            Ok(())
        } else {
            Err(Error::DatabaseAway("what runs already could not be recorded".into()))
        }
    }

    /// Whether there has been a complete pass since our start.
    pub fn has_begun(&self) -> bool {
        self.state().has_begun
    }

    /// Notes that a pass was complete.
    pub fn begin(&self) {
        self.state().has_begun = true;
    }

    /// What the last pass found and did, if there was one.
    pub fn report(&self) -> Option<ConvergeReport> {
        self.state().report.clone()
    }

    /// Keeps what a pass found and did.
    pub fn set_report(&self, report: ConvergeReport) {
        self.state().report = Some(report);
        self.passed.notify_waiters();
    }

    /// The grace that begins if sandboxes could not report until `since`.
    fn grace_since(&self, since: Timestamp) -> Grace {
        Grace { since, length: self.settings.resume_grace, period: self.settings.report_period }
    }

    /// The grace in which nothing is stopped; before the first pass, the grace that a pass would begin now.
    pub fn grace(&self, now: Timestamp) -> Option<Grace> {
        self.state().hold.grace(self.grace_since(now))
    }

    /// Something failed that every decision needs: nothing is stopped until the next pass.
    pub fn impair(&self) {
        self.state().hold.impair();
    }

    /// Whether something failed that every decision needs.
    pub fn is_impaired(&self) -> bool {
        self.state().hold.is_impaired()
    }

    /// Whether a sandbox must not be stopped now, by the last pass and all that we heard since.
    pub fn holds(&self, sandbox: &Sandbox) -> bool {
        let state = self.state();
        let is_shut = !matches!(state.door, CheckInDoor::Open(_));
        let is_held = is_shut || self.has_lost(&state) || state.hold.holds(sandbox, self.clock.now());
        is_held && !broken(Rule::GraceAfterTrouble)
    }

    /// Begins a pass, and returns the grace in which nothing is stopped (`IDLENESS.md`, rule 7). `looked`: the engine
    /// and the relay answered; `recorded`: all reports reached the disk.
    pub fn renew_grace(&self, now: Timestamp, steady: Duration, looked: bool, recorded: bool) -> Option<Grace> {
        let tolerance = self.settings.converge_every * 2 + LATENESS;
        let mut state = self.state();
        let is_open = matches!(state.door, CheckInDoor::Open(_));
        let is_impaired = !(looked || broken(Rule::CouldNotLook)) || !recorded || !is_open;
        state.hold.renew(self.grace_since(now), steady, tolerance, is_impaired)
    }

    /// Follows the clock, which was set together with all records.
    pub fn shift(&self, by: SignedDuration) {
        self.state().hold.shift(by);
    }
}
