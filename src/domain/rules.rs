//! The rules of `idleness.md`, by number, as something that a test may break: whoever proves that they hold must
//! notice when one does not. Rule 12 is about settings, which are refused when the server starts. 31 is the statement of
//! `contract.md` of that number.

/// Whether the rule of this number is broken on purpose. Never, but in a test that says so.
#[cfg(not(test))]
pub(crate) const fn broken(_rule: u8) -> bool {
    false
}

/// Rule 8 at another place: what the store could not record counts as silence.
pub(crate) const UNRECORDED: u8 = 108;

/// What is a length is measured by the clock, however that was set meanwhile.
pub(crate) const BY_THE_CLOCK: u8 = 107;

#[cfg(test)]
pub(crate) use in_tests::{breaking, broken};

#[cfg(test)]
mod in_tests {
    use std::cell::Cell;

    thread_local! {
        static BROKEN: Cell<Option<u8>> = const { Cell::new(None) };
    }

    /// Whether this thread breaks that rule.
    pub(crate) fn broken(rule: u8) -> bool {
        BROKEN.get() == Some(rule)
    }

    /// Runs `f` on this thread with a rule broken, or none.
    pub(crate) fn breaking<T>(rule: Option<u8>, f: impl FnOnce() -> T) -> T {
        BROKEN.set(rule);
        let value = f();
        BROKEN.set(None);
        value
    }
}
