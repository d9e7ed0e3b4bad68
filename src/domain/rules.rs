//! The rules of stopping, as switches that a test can break: a good test must notice a broken rule. `IDLENESS.md` has
//! the rules with their numbers. Rule 12 is not here: it is about settings, and bad settings are refused at the
//! server's start.

/// A rule, and the way in which a test breaks it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Rule 1. Broken: the clock runs from the creation, whatever starts came later.
    StartIsEvidence,
    /// Rule 2. Broken: a report of 0 takes the earlier evidence away.
    EvidenceNeverMovesBack,
    /// Rule 3. Broken: a stop looks at the state, and not at the deadline.
    StopComparesAndSets,
    /// Rule 4. Broken: a start that comes during a stop is dropped.
    StartWins,
    /// Rule 5. Broken: a report of 0 stops at once, without the pass.
    OneAuthority,
    /// Rule 6. Broken: the pass waits for slow sandboxes.
    NobodyDelaysOthers,
    /// Rule 7. Broken: there is no grace.
    GraceAfterTrouble,
    /// Rule 7, of lengths. Broken: lengths are measured by the clock, even after it was set.
    LengthsArePassedTime,
    /// Rule 8. Broken: a pass that could not look at the relay stops sandboxes all the same.
    CouldNotLook,
    /// Rule 8, of the store. Broken: a lost record counts as silence.
    CouldNotRecord,
    /// Rule 9. Broken: the engine is told to stop before the row says so.
    IntentFirst,
    /// Rule 10. Broken: a new event stream asks for no look.
    SubscribeThenList,
    /// Rule 11. Broken: a stop removes.
    StopNeverDeletes,
    /// Rule 13. Broken: a list counts as use.
    OursIsNoEvidence,
    /// Rule 14. Broken: the pass does not ask what connections carried.
    NewestEvidence,
    /// `CONTRACT.md` 31. Broken: the limit is the same however rarely a sandbox reports.
    RareReports,
}

/// Whether this rule is broken on purpose. Only a test does that.
#[cfg(not(test))]
pub(crate) const fn broken(_rule: Rule) -> bool {
    false
}

#[cfg(test)]
pub(crate) use in_tests::{breaking, broken};

#[cfg(test)]
mod in_tests {
    use std::cell::Cell;

    use super::Rule;

    thread_local! {
        static BROKEN: Cell<Option<Rule>> = const { Cell::new(None) };
    }

    /// Whether this thread breaks that rule.
    pub(crate) fn broken(rule: Rule) -> bool {
        BROKEN.get() == Some(rule)
    }

    /// Runs `f` on this thread with a rule broken, or none.
    pub(crate) fn breaking<T>(rule: Option<Rule>, f: impl FnOnce() -> T) -> T {
        BROKEN.set(rule);
        let value = f();
        BROKEN.set(None);
        value
    }
}
