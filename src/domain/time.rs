//! Reckoning with instants.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// `at`, later by `duration`; the end of the calendar if that lies beyond it.
pub fn plus(at: Timestamp, duration: Duration) -> Timestamp {
    SignedDuration::try_from(duration).ok().and_then(|d| at.checked_add(d).ok()).unwrap_or(Timestamp::MAX)
}
