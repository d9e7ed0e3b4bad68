//! What must not happen, and the words in which a trace tells of it.

use std::fmt;

use crate::domain::State;

/// What must not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Stopped for being idle, with evidence younger than its limit on record.
    WrongStop,
    /// Idle for longer than its limit, one pass and one grace, with nothing in the way.
    LateStop,
    /// Stopped for being idle before everybody could report again.
    NoGrace,
    /// The engine was told to stop what no row says shall be stopped.
    NoIntent,
    /// Its row or its container went, and nobody deleted it.
    Lost,
    /// Deleted, and still there.
    Undead,
    /// We stopped it, and the row says otherwise.
    Unexplained,
    /// A start was answered, and a stop from before took it away.
    StartLost,
    /// The store and the engine disagree, or an intent is never finished.
    HalfDone,
    /// It is said to report more often, or more rarely, than it was seen to.
    Rhythm,
    /// Something panicked.
    Panic,
}

/// One thing that must not have happened.
#[derive(Debug, Clone)]
pub struct Violation {
    pub kind: Kind,
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.what)
    }
}

/// A state without what differs from one run to the next.
pub fn word(state: &State) -> String {
    match state {
        State::Creating => "creating".into(),
        State::Starting { .. } => "starting".into(),
        State::Running { mark, .. } => format!("running, start {mark}"),
        State::Stopping { reason, .. } => format!("stopping: {}", reason.word()),
        State::Stopped { reason, .. } => format!("stopped: {}", reason.word()),
        State::Deleting => "deleting".into(),
    }
}
