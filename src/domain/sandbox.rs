//! The sandbox: one learner's container, what it is made from, and what became of it.

use jiff::Timestamp;

use super::{
    evidence::EvidenceLog,
    names::{ContainerId, SandboxId, SandboxName, Token},
    people::{Ownership, Who},
    ports::{Carrier, Endpoint, PortMapping, PortSpec},
    reach::Reach,
    recipe::Recipe,
    rhythm::Rhythm,
    seen::Seen,
    traffic::{Wake, WakeFailure},
};

/// Why a sandbox stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// Nobody used it.
    Idle,
    /// Somebody asked for it through the API.
    Requested,
    /// It ended by itself, or something other than Spindle stopped it.
    Exited,
    /// It had run for its greatest age.
    MaxAge,
    /// It ended while the engine was away, for example because a restart of the engine ended its containers.
    Engine,
    /// The machine was restarted.
    Reboot,
    /// Somebody asked for a restart: it is started as soon as it has ended.
    Restart,
}

impl StopReason {
    /// The word for it in the API, the store and the log.
    pub fn word(self) -> &'static str {
        match self {
            StopReason::Idle => "idle",
            StopReason::Requested => "requested",
            StopReason::Exited => "exited",
            StopReason::MaxAge => "max_age",
            StopReason::Engine => "engine",
            StopReason::Reboot => "reboot",
            StopReason::Restart => "restart",
        }
    }

    /// Whether its deadline is the cause, and nobody asked for it.
    pub fn is_by_deadline(self) -> bool {
        matches!(self, StopReason::Idle | StopReason::MaxAge)
    }

    /// Whether nobody meant the stop, so that use of the sandbox may start it again. After an unasked end the reason
    /// alone does not tell: ask [`Sandbox::is_undone_by_use`].
    fn is_undone_by_use(self) -> bool {
        matches!(self, StopReason::Idle | StopReason::Engine | StopReason::Reboot)
    }

    /// Reads [`StopReason::word`]; `None` for any other.
    pub fn parse(word: &str) -> Option<Self> {
        use StopReason::{Engine, Exited, Idle, MaxAge, Reboot, Requested, Restart};
        [Idle, Requested, Exited, MaxAge, Engine, Reboot, Restart].into_iter().find(|r| r.word() == word)
    }
}

/// The state of a sandbox. Data exists only where it is true.
///
/// ```text
/// Creating ─► Running ─► Stopping ─► Stopped ─► Starting ─► Running
///                └────── exits by itself ──►┘        (each start: a new generation)
/// Running, Stopped ─► Resetting ─► Starting, Stopped
/// any of them ─► Deleting ─► gone
/// ```
///
/// `Creating`, `Starting`, `Stopping`, `Resetting` and `Deleting` are intents, written before the engine is called.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum State {
    /// Ports are reserved; no caller has an answer yet. Invisible in the API.
    #[default]
    Creating,
    /// A stopped sandbox is being started.
    Starting {
        /// When it had stopped.
        stopped_at: Timestamp,
        /// Why it had stopped.
        reason: StopReason,
    },
    /// The engine shows it running.
    Running {
        /// When this start was recorded.
        since: Timestamp,
        /// The engine's own mark of this start; another mark means that it was restarted behind our back.
        mark: String,
        /// Where it is found.
        reach: Reach,
    },
    /// The decision to stop it is recorded; the engine may or may not know yet.
    Stopping {
        /// When the decision was recorded.
        since: Timestamp,
        /// Why.
        reason: StopReason,
    },
    /// The engine shows it stopped.
    Stopped {
        /// When that was recorded.
        at: Timestamp,
        /// Why.
        reason: StopReason,
    },
    /// Somebody wants it anew: its container is removed, and another one is made from the same recipe.
    Resetting {
        /// When that was recorded; of one that was stopped: when it had stopped.
        at: Timestamp,
        /// Why it was stopped, and shall be afterwards; `None`: it is started.
        back_to: Option<StopReason>,
    },
    /// Somebody deleted it. Invisible in the API; its ports are released when the engine has removed it.
    Deleting,
}

impl State {
    /// Whether it is being stopped because its deadline passed, and nobody asked for it.
    pub fn ends_by_deadline(&self) -> bool {
        matches!(self, State::Stopping { reason, .. } if reason.is_by_deadline())
    }

    /// Whether callers of the API may see a sandbox in this state.
    pub fn is_visible(&self) -> bool {
        !matches!(self, State::Creating | State::Deleting)
    }
}

/// Somebody's wish to keep a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extension {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: Who,
    /// Until when at least.
    pub until: Timestamp,
}

/// What became of a sandbox: all that changes with its starts and its use. Its fields are what is recorded of that.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Life {
    /// The state.
    pub state: State,
    /// Grows by one at every start. A decision about an old generation never touches a new one.
    pub generation: u64,
    /// The last value reported since the last start.
    pub active: u64,
    /// When it last reported anything, zero included; `None` if it never did.
    pub last_report: Option<Timestamp>,
    /// How often it reports, as we see it.
    pub rhythm: Rhythm,
    /// The newest evidence of each source.
    pub evidence: EvidenceLog,
    /// Until when it is kept, even unused, if its age allows.
    pub keep_until: Option<Timestamp>,
    /// After a change of its limits: it is not stopped before this.
    pub spared_until: Option<Timestamp>,
    /// The planned moment of the stop that those inside were warned of.
    pub warned_for: Option<Timestamp>,
    /// The last wish to keep it.
    pub extension: Option<Extension>,
    /// Who worked in it last through the API without being its owner.
    pub staff: Option<Who>,
    /// Why the last attempt to wake it failed, unless it was started since.
    pub wake_failure: Option<WakeFailure>,
    /// What the engine shows of it besides its state.
    pub seen: Seen,
}

/// One learner's sandbox: who it is, what it is made from, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sandbox {
    /// Our id.
    pub id: SandboxId,
    /// The engine's id, once the engine has made it.
    pub container: Option<ContainerId>,
    /// Unique name.
    pub name: SandboxName,
    /// Its check-in secret.
    pub token: Token,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// The engine's ids of its containers before the last resets, oldest first.
    pub former: Vec<ContainerId>,
    /// The exposed ports with their reserved endpoints, tcp first, then by number.
    pub ports: Vec<PortMapping>,
    /// To whom it belongs.
    pub ownership: Ownership,
    /// What it is made from.
    pub recipe: Recipe,
    /// What became of it.
    pub life: Life,
}

impl Sandbox {
    /// A sandbox that was only asked for, without a container or ports.
    pub fn new(id: SandboxId, name: SandboxName, token: Token, created_at: Timestamp, recipe: Recipe) -> Self {
        let (ownership, life) = (Ownership::default(), Life::default());
        Self {
            id,
            container: None,
            name,
            token,
            created_at,
            former: Vec::new(),
            ports: Vec::new(),
            ownership,
            recipe,
            life,
        }
    }

    /// The same sandbox in another state.
    #[must_use]
    pub fn in_state(&self, state: State) -> Self {
        Self { life: Life { state, ..self.life.clone() }, ..self.clone() }
    }

    /// The latest moment in its record at which something happened.
    pub fn latest(&self) -> Timestamp {
        let changed = match self.life.state {
            State::Running { since, .. } | State::Stopping { since, .. } => Some(since),
            State::Stopped { at, .. } | State::Starting { stopped_at: at, .. } | State::Resetting { at, .. } => {
                Some(at)
            }
            State::Creating | State::Deleting => None,
        };
        let used = self.life.evidence.newest(|_| true).map(|e| e.at);
        [changed, used, self.life.last_report].into_iter().flatten().fold(self.created_at, Timestamp::max)
    }

    /// Whether it is stopped, or being stopped, and nobody meant that, so that use may start it again.
    pub fn is_undone_by_use(&self) -> bool {
        match self.life.state {
            State::Stopped { reason: StopReason::Exited, .. } => {
                self.life.seen.ended_by_itself() && !self.life.seen.keeps_ending()
            }
            State::Stopped { reason, .. }
            | State::Stopping { reason, .. }
            | State::Resetting { back_to: Some(reason), .. } => reason.is_undone_by_use(),
            _ => false,
        }
    }

    /// Whether a connection may wait for its start. `wake`: which connections wake it.
    pub fn is_woken(&self, wake: Wake) -> bool {
        match self.life.state {
            // It is being started already.
            State::Starting { .. }
            | State::Stopping { reason: StopReason::Restart, .. }
            | State::Resetting { back_to: None, .. } => return true,
            // It would end again at once.
            State::Stopped { reason: StopReason::Exited, .. } if self.life.seen.keeps_ending() => return false,
            State::Stopped { .. } | State::Stopping { .. } | State::Resetting { .. } => {}
            State::Creating | State::Running { .. } | State::Deleting => return false,
        }
        match wake {
            Wake::Idle => self.is_undone_by_use(),
            Wake::Always => true,
            Wake::Never => false,
        }
    }

    /// The ports that the relay carries.
    pub fn relayed(&self) -> impl Iterator<Item = &PortMapping> {
        self.ports.iter().filter(|p| p.carrier == Carrier::Relay)
    }

    /// The endpoint of one of its ports.
    pub fn endpoint(&self, inside: PortSpec) -> Option<Endpoint> {
        self.ports.iter().find(|p| p.inside == inside).map(|p| p.outside)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        EndedBy, Ending, Exit,
        fixtures::{at, running},
        seen::QUICK_ENDS,
    };

    fn is(state: State) -> Sandbox {
        running(0).in_state(state)
    }

    #[test]
    fn who_may_be_woken() {
        use StopReason::{Engine, Exited, Idle, MaxAge, Reboot, Requested};
        let stopped = |reason| is(State::Stopped { at: at(0), reason });
        let all = [Idle, Reboot, Engine, Requested, Exited, MaxAge];
        let woken = |wake: Wake| all.map(|reason| stopped(reason).is_woken(wake));
        assert_eq!(woken(Wake::Idle), [true, true, true, false, false, false]);
        assert_eq!(woken(Wake::Always), [true; 6]);
        assert_eq!(woken(Wake::Never), [false; 6]);
        let stopping = State::Stopping { since: at(0), reason: Idle };
        assert!(is(stopping).is_woken(Wake::Idle), "it waits for the end");
        assert!(is(State::Starting { stopped_at: at(0), reason: Requested }).is_woken(Wake::Never));
        assert!(is(State::Stopping { since: at(0), reason: StopReason::Restart }).is_woken(Wake::Never));
        let reset = |back_to| is(State::Resetting { at: at(0), back_to });
        assert!(reset(None).is_woken(Wake::Never), "it waits for the new container");
        assert_eq!([Some(Idle), Some(Requested)].map(|r| reset(r).is_woken(Wake::Idle)), [true, false]);
        assert!(!is(State::Deleting).is_woken(Wake::Always));
    }

    #[test]
    fn what_ended_by_itself_is_woken_unless_it_keeps_ending() {
        let ended = |by, quick_ends| {
            let ending = Ending { exit: Some(Exit { code: 1, oom_killed: false }), by, last_lines: vec![] };
            let seen = Seen { ending: Some(ending), quick_ends, ..Seen::default() };
            let mut sandbox = is(State::Stopped { at: at(0), reason: StopReason::Exited });
            sandbox.life.seen = seen;
            sandbox
        };
        for (by, woken) in [(EndedBy::Itself, true), (EndedBy::Signal, false), (EndedBy::Unheard, false)] {
            let sandbox = ended(by, QUICK_ENDS - 1);
            assert_eq!([Wake::Idle, Wake::Always, Wake::Never].map(|w| sandbox.is_woken(w)), [woken, true, false]);
            let fails = ended(by, QUICK_ENDS);
            assert_eq!([Wake::Idle, Wake::Always, Wake::Never].map(|w| fails.is_woken(w)), [false; 3]);
        }
    }
}
