//! What must not happen, and the words in which a trace tells it.

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
    /// The engine was told to stop a container, and no row had that intent.
    NoIntent,
    /// Its row or its container is gone, and nobody deleted it.
    Lost,
    /// It was deleted, and is still there.
    Undead,
    /// We stopped it, and the row says otherwise.
    Unexplained,
    /// A start was answered, and an earlier stop took it away.
    StartLost,
    /// The store and the engine disagree, or an intent is never finished.
    HalfDone,
    /// A value that was changed was rebuilt as another after the records were lost.
    Forgotten,
    /// The recorded report period is not what was seen.
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

/// The name of a state, without values that differ from run to run.
pub fn word(state: &State) -> String {
    match state {
        State::Creating => "creating".into(),
        State::Starting { .. } => "starting".into(),
        State::Running { mark, .. } => format!("running, start {mark}"),
        State::Stopping { reason, .. } => format!("stopping: {}", reason.word()),
        State::Stopped { reason, .. } => format!("stopped: {}", reason.word()),
        State::Resetting { .. } => "resetting".into(),
        State::Deleting => "deleting".into(),
    }
}
