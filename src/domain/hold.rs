//! The hold: whether idle stops are allowed at all (`IDLENESS.md`, rule 7).

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{
    grace::Grace,
    rules::{Rule, broken},
    sandbox::Sandbox,
};

/// A jump of the clock up to this counts as none: it is a correction by the time service.
pub const JUMP: SignedDuration = SignedDuration::from_secs(10);

/// The times in which sandboxes could not report, as the passes saw them.
#[derive(Debug, Default)]
pub struct Hold {
    /// When the last pass began, by the clock and by the steady clock.
    last_pass: Option<(Timestamp, Duration)>,
    /// The last grace, until it is over for everybody.
    grace: Option<Grace>,
    /// Something failed that every decision needs; the next pass begins with a grace.
    impaired: bool,
}

impl Hold {
    /// Something failed that every decision needs.
    pub fn impair(&mut self) {
        self.impaired = true;
    }

    /// Whether something failed since the last pass began, or in it.
    pub fn is_impaired(&self) -> bool {
        self.impaired
    }

    /// Whether a sandbox must not be stopped now.
    pub fn holds(&self, sandbox: &Sandbox, now: Timestamp) -> bool {
        self.impaired || self.grace.is_some_and(|grace| now < grace.end_for(sandbox))
    }

    /// The grace in which nothing is stopped. Before the first pass this is `fresh`: a pass would begin that one now.
    pub fn grace(&self, fresh: Grace) -> Option<Grace> {
        if self.last_pass.is_none() { Some(fresh) } else { self.grace }
    }

    /// Begins a pass: at the begin of `fresh` by the clock, and at `steady` by the steady clock. The grace begins again
    /// whenever sandboxes may have been unable to report: at our start, while something is `impaired`, after a gap
    /// longer than `tolerance`, and after a jump of the clock.
    pub fn renew(&mut self, fresh: Grace, steady: Duration, tolerance: Duration, impaired: bool) -> Option<Grace> {
        let (now, tolerance) = (fresh.since, SignedDuration::try_from(tolerance).ok());
        let on_time = self.last_pass.is_some_and(|(last, last_steady)| {
            let gap = now.duration_since(last);
            // The time that passed by the clock, minus the time that really passed, is the clock's jump.
            let passed = SignedDuration::try_from(steady.saturating_sub(last_steady)).unwrap_or(SignedDuration::MAX);
            tolerance.is_some_and(|t| gap <= t) && gap.saturating_sub(passed).abs() <= JUMP
        });
        if !on_time || impaired || self.impaired {
            self.grace = Some(fresh);
        }
        self.impaired = impaired;
        self.last_pass = Some((now, steady));
        self.grace = self.grace.filter(|grace| !grace.is_over(now) && !broken(Rule::GraceAfterTrouble));
        self.grace
    }

    /// Follows the clock, which was set together with all records.
    pub fn shift(&mut self, by: SignedDuration) {
        self.grace = self.grace.and_then(|grace| Some(Grace { since: grace.since.checked_add(by).ok()?, ..grace }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixtures::{at, running};

    fn fresh(second: i64) -> Grace {
        Grace { since: at(second), length: Duration::from_secs(30), period: Duration::from_secs(10) }
    }

    /// Makes a pass at a second of the clock and of the steady clock. Returns whether it holds.
    fn pass(hold: &mut Hold, second: i64, steady: u64, impaired: bool) -> bool {
        hold.renew(fresh(second), Duration::from_secs(steady), Duration::from_secs(20), impaired);
        hold.holds(&running(0), at(second))
    }

    /// A hold after a hundred seconds without trouble.
    fn quiet() -> Hold {
        let mut hold = Hold::default();
        let held: Vec<bool> = (0..=10).map(|n| pass(&mut hold, 10 * n, 10 * n as u64, false)).collect();
        assert_eq!((held[0], held[2], held[3], held[10]), (true, true, false, false), "our start begins one");
        hold
    }

    #[test]
    fn a_gap_a_jump_and_trouble_each_begin_a_grace() {
        assert_eq!(Hold::default().grace(fresh(7)), Some(fresh(7)), "before the first pass");
        assert!(!pass(&mut quiet(), 120, 120, false), "late, and not too late");
        assert!(pass(&mut quiet(), 121, 121, false), "a gap");
        assert!(!pass(&mut quiet(), 120, 110, false), "the time service corrects");
        assert!(pass(&mut quiet(), 105, 116, false), "the clock was set back");
        assert!(pass(&mut quiet(), 120, 109, false), "the clock was set forward");
        let mut hold = quiet();
        assert!(pass(&mut hold, 110, 110, true), "trouble");
        assert!(pass(&mut hold, 115, 115, false) && hold.grace(fresh(0)) == Some(fresh(115)), "and a grace after it");
        let mut hold = quiet();
        hold.impair();
        assert!(hold.is_impaired() && hold.holds(&running(0), at(10_000)));
    }

    #[test]
    fn a_grace_moves_with_the_clock() {
        let mut hold = Hold::default();
        pass(&mut hold, 100, 0, false);
        hold.shift(SignedDuration::from_secs(50));
        assert!(hold.holds(&running(0), at(179)) && !hold.holds(&running(0), at(180)));
    }
}
