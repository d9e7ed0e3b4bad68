//! Rhythm: how often a sandbox reports, as we see it.

use std::time::Duration;

use jiff::Timestamp;

/// How often a sandbox reports: the longest gap between reports that came twice in a row.
///
/// This is the simplest measure that is safe enough for a stop:
/// - A lost report, a server that is away and a clock that is set each make one gap long. The gaps beside it stay
///   short, so the pair counts as short.
/// - Reports by hand, or in a loop, make gaps short. They take nothing away from the period.
/// - While the sandbox runs the period only grows, so no report, 0 included, ever moves a deadline back (`IDLENESS.md`,
///   rule 2).
/// - At a start the period falls to the last gap of the previous run, so a reporter that became quicker is believed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rhythm {
    /// The period, never more than [`Rhythm::MOST`]; `None` before there are three reports in one run.
    pub period: Option<Duration>,
    /// The gap between the last two reports of this run.
    pub gap: Option<Duration>,
}

impl Rhythm {
    /// The longest period that counts (`CONTRACT.md` 31): rare reports lengthen a life to three of these at most.
    pub const MOST: Duration = Duration::from_mins(10);

    /// The rhythm after a report at `at`. `before`: the previous report of the same run.
    #[must_use]
    pub fn heard(self, before: Option<Timestamp>, at: Timestamp) -> Self {
        // Two reports that come together may be recorded in either order.
        let gap = before.map(|before| Duration::try_from(at.duration_since(before)).unwrap_or_default());
        let twice = self.gap.zip(gap).map(|(one, other)| one.min(other).min(Self::MOST));
        Self { period: self.period.max(twice), gap }
    }

    /// The rhythm after a start: the time between two runs is no gap.
    #[must_use]
    pub fn restarted(self) -> Self {
        Self { period: self.period.map(|period| self.gap.map_or(period, |gap| gap.min(period))), gap: None }
    }

    /// The idle limit that leaves room for three reports. The period counts in whole seconds: a reporter that is a
    /// moment late is not rare.
    pub fn least_limit(self) -> Duration {
        3 * Duration::from_secs(self.period.unwrap_or_default().as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixtures::at;

    /// The period after reports at these seconds.
    fn seen(reports: &[i64]) -> Option<u64> {
        let mut rhythm = Rhythm::default();
        for (n, &second) in reports.iter().enumerate() {
            let before = n.checked_sub(1).map(|n| at(reports[n]));
            rhythm = rhythm.heard(before, at(second));
        }
        rhythm.period.map(|period| period.as_secs())
    }

    #[test]
    fn contract_31_the_period_is_what_came_twice_in_a_row() {
        assert_eq!([seen(&[]), seen(&[60]), seen(&[0, 60])], [None; 3]);
        assert_eq!(seen(&[2, 62, 122]), Some(60));
        assert_eq!(seen(&[0, 20, 40, 100, 160]), Some(60), "it has become rarer");
    }

    #[test]
    fn contract_31_one_long_gap_is_none() {
        assert_eq!(seen(&[0, 60, 120, 240, 300]), Some(60), "a report that was lost");
        assert_eq!(seen(&[0, 60, 120, 9_000, 9_060]), Some(60), "a server that was away, or a clock that was set");
        assert_eq!(seen(&[0, 120, 180]), Some(60), "the first was lost");
        assert_eq!(seen(&[5_000, 5_060, 1_000, 1_060, 1_120]), Some(60), "a clock that was set back");
        assert_eq!(seen(&[0, 61, 60, 120, 180]), Some(60), "one that was overtaken");
    }

    #[test]
    fn contract_31_reports_by_hand_take_nothing_away() {
        let by_hand: Vec<i64> = [0, 60, 120].into_iter().chain(121..400).collect();
        assert_eq!(seen(&by_hand), Some(60), "a loop");
        assert_eq!(seen(&[0, 60, 70, 120, 180, 240]), Some(60), "one between two");
    }

    #[test]
    fn contract_31_at_most_ten_minutes_count() {
        let rare: Vec<i64> = (0..5).map(|n| n * 100_000).collect();
        assert_eq!(seen(&rare), Some(600));
        let rhythm = Rhythm { period: Some(Duration::from_mins(10)), gap: None };
        assert_eq!(rhythm.least_limit(), Duration::from_mins(30));
        let jitter = Rhythm { period: Some(Duration::from_millis(20_999)), gap: None };
        assert_eq!(jitter.least_limit(), Duration::from_mins(1), "a moment late");
    }

    #[test]
    fn contract_31_a_start_believes_who_has_become_quicker() {
        let after = |gap: Option<u64>| {
            let rhythm = Rhythm { period: Some(Duration::from_mins(1)), gap: gap.map(Duration::from_secs) };
            let started = rhythm.restarted();
            assert_eq!(started.gap, None);
            started.period.map(|p| p.as_secs())
        };
        assert_eq!([after(Some(20)), after(Some(500)), after(None)], [Some(20), Some(60), Some(60)]);
        assert_eq!(Rhythm::default().restarted(), Rhythm::default());
    }
}
