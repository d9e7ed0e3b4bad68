//! The grace: after sandboxes could not report, none is stopped before it has had time to report again.

use std::time::Duration;

use jiff::Timestamp;

use super::{rhythm::Rhythm, sandbox::Sandbox, time::plus};

/// Since when sandboxes can report again, and how long each of them has from then on (`IDLENESS.md`, rule 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grace {
    /// The last moment at which they may have been unable to report.
    pub since: Timestamp,
    /// How long after `since` none is stopped.
    pub length: Duration,
    /// How often sandboxes should report.
    pub period: Duration,
}

impl Grace {
    /// When the grace ends for a sandbox that reports as it should.
    pub fn end(&self) -> Timestamp {
        plus(self.since, self.length)
    }

    /// When the grace ends for this sandbox. A rare reporter has two of its periods, since one report may be lost.
    pub fn end_for(&self, sandbox: &Sandbox) -> Timestamp {
        plus(self.since, self.length.max(2 * sandbox.life.rhythm.period.unwrap_or_default()))
    }

    /// By when a report of this sandbox should have come. Before that, nobody knows whether it needs a warning.
    pub fn heard_by(&self, sandbox: &Sandbox) -> Timestamp {
        plus(self.since, self.period.max(sandbox.life.rhythm.period.unwrap_or_default()))
    }

    /// Whether it is over for all, even the rarest reporters.
    pub fn is_over(&self, now: Timestamp) -> bool {
        now >= plus(self.since, self.length.max(2 * Rhythm::MOST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixtures::{at, running};

    #[test]
    fn who_reports_rarely_has_two_of_its_periods() {
        let grace = Grace { since: at(1_000), length: Duration::from_mins(5), period: Duration::from_mins(1) };
        let seen = |period: u64| {
            let mut sandbox = running(0);
            sandbox.life.rhythm.period = Some(Duration::from_secs(period));
            (grace.end_for(&sandbox), grace.heard_by(&sandbox))
        };
        assert_eq!((grace.end(), grace.end_for(&running(0))), (at(1_300), at(1_300)));
        assert_eq!(seen(150), (at(1_300), at(1_150)));
        assert_eq!(seen(600), (at(2_200), at(1_600)));
        assert_eq!(seen(30), (at(1_300), at(1_060)));
        assert!(!grace.is_over(at(2_199)) && grace.is_over(at(2_200)));
    }
}
