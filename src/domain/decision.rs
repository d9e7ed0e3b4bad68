//! Decisions: what was decided about a sandbox, when and on which evidence, for later questions.

use jiff::Timestamp;

use super::evidence::Evidence;

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decided {
    /// Its deadline came, but use had moved it on.
    Kept,
    /// Its deadline passed, but it was not stopped, because sandboxes could not report.
    Refused,
    /// A stop was planned, and dropped because evidence arrived before the signal.
    Dropped,
    /// Those inside were warned.
    Warned,
    /// Somebody extended its life.
    Extended,
    /// Its limits were changed.
    Changed,
    /// It was stopped, or ended.
    Stopped,
}

impl Decided {
    /// All, in the order of their weight.
    pub const ALL: [Decided; 7] = [
        Decided::Kept,
        Decided::Refused,
        Decided::Dropped,
        Decided::Warned,
        Decided::Extended,
        Decided::Changed,
        Decided::Stopped,
    ];

    /// The word for it in the API and the store.
    pub fn word(self) -> &'static str {
        match self {
            Decided::Kept => "kept",
            Decided::Refused => "refused",
            Decided::Dropped => "dropped",
            Decided::Warned => "warned",
            Decided::Extended => "extended",
            Decided::Changed => "changed",
            Decided::Stopped => "stopped",
        }
    }

    /// Reads [`Decided::word`]; `None` for any other.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|d| d.word() == word)
    }
}

/// One decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// When.
    pub at: Timestamp,
    /// What.
    pub decided: Decided,
    /// Why, as a sentence.
    pub why: String,
    /// The newest evidence that it rests on.
    pub evidence: Option<Evidence>,
}

impl Decision {
    /// How many decisions are kept for each sandbox.
    pub const KEPT: usize = 100;
}
