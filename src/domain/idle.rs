//! The law of stopping: whether a sandbox is idle is a pure function of its record, the policy and now.

use std::{fmt, time::Duration};

use jiff::{SignedDuration, Timestamp};

use super::{
    evidence::{Evidence, Source},
    names::Invalid,
    sandbox::{Sandbox, State},
};

/// After how much time without evidence a sandbox is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdleLimit {
    /// Idle stop is off.
    Never,
    /// That much, a whole number of seconds and never zero.
    After(Duration),
}

impl IdleLimit {
    /// The longest limit that is taken: ten years, so that no deadline leaves the calendar.
    pub const MAX: Duration = Duration::from_secs(10 * 366 * 86_400);

    /// Parses seconds or `never`; `field` is the caller's name for it. At least three report periods,
    /// so that a report or two may be lost without harm (`failures.md` 5).
    pub fn parse(field: &'static str, text: &str, report_period: Duration) -> Result<Self, Invalid> {
        if text == "never" {
            return Ok(Self::Never);
        }
        let least = 3 * report_period.as_secs();
        let seconds = Some(text).filter(|t| t.bytes().all(|b| b.is_ascii_digit())).and_then(|t| t.parse().ok());
        match seconds {
            Some(s) if s >= least.max(1) && s <= Self::MAX.as_secs() => Ok(Self::After(Duration::from_secs(s))),
            _ => Err(Invalid::new(
                field,
                text,
                format!(
                    "it is \"never\", or whole seconds from {least} (three report periods) to {}",
                    Self::MAX.as_secs()
                ),
            )),
        }
    }
}

impl fmt::Display for IdleLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IdleLimit::Never => f.write_str("never"),
            IdleLimit::After(limit) => write!(f, "{}", limit.as_secs()),
        }
    }
}

/// What applies to all sandboxes at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// The limit of a sandbox that has none of its own.
    pub limit: IdleLimit,
    /// For how long after the last interactive evidence connections count; `None`: without end.
    pub connection_cap: Option<Duration>,
    /// Until when nothing is stopped for being idle, because sandboxes could not report
    /// (`idleness.md`, rule 7).
    pub hold_until: Option<Timestamp>,
}

/// Why a sandbox is kept or stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Because {
    /// It does not run, so it cannot be idle (`contract.md` 32).
    NotRunning,
    /// Its limit is `never`.
    Never,
    /// This is its newest evidence.
    Evidence(Evidence),
    /// Its deadline has passed, but sandboxes could not report for a while.
    Held,
}

/// The decision about one sandbox at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Leave it alone.
    Keep {
        /// When to look again; `None` if only a change can alter the verdict.
        until: Option<Timestamp>,
        /// Why.
        because: Because,
    },
    /// Stop it: it is idle.
    Stop {
        /// The newest evidence, which is older than the limit.
        because: Evidence,
    },
}

fn plus(at: Timestamp, duration: Duration) -> Timestamp {
    SignedDuration::try_from(duration).ok().and_then(|d| at.checked_add(d).ok()).unwrap_or(Timestamp::MAX)
}

/// When a running sandbox is idle, and the evidence on which that rests.
///
/// The later of: its last interactive evidence plus its limit, its start being the first of them; its last connection
/// evidence plus its limit, but no later than the cap after the last interactive evidence.
fn judged(policy: &Policy, sandbox: &Sandbox, since: Timestamp, limit: Duration) -> (Timestamp, Evidence) {
    let start = Evidence { source: Source::Start, at: since };
    let newest = |interactive| sandbox.evidence.newest(|s| s.is_interactive() == interactive).filter(|e| e.at > since);
    let interactive = newest(true).unwrap_or(start);
    let by_person = (plus(interactive.at, limit), interactive);
    let Some(connection) = newest(false) else { return by_person };
    // A limit of its own that is longer than the cap is not shortened by it.
    let end = policy.connection_cap.map_or(Timestamp::MAX, |cap| plus(interactive.at, cap.max(limit)));
    let by_traffic = (plus(connection.at, limit).min(end), connection);
    if by_traffic.0 > by_person.0 { by_traffic } else { by_person }
}

/// When a sandbox will be stopped unless it is used. `None` when it does not run or its limit is `never`
/// (`contract.md` 31, `idleness.md`, Words).
pub fn deadline(policy: &Policy, sandbox: &Sandbox) -> Option<Timestamp> {
    let State::Running { since, .. } = sandbox.state else { return None };
    let IdleLimit::After(limit) = sandbox.idle_limit.unwrap_or(policy.limit) else { return None };
    Some(judged(policy, sandbox, since, limit).0)
}

/// Decides about one sandbox. The rules are ordered; the first that applies wins.
///
/// A running sandbox is idle if and only if `now >= deadline` (`idleness.md`, Words).
pub fn verdict(policy: &Policy, sandbox: &Sandbox, now: Timestamp) -> Verdict {
    let State::Running { since, .. } = sandbox.state else {
        return Verdict::Keep { until: None, because: Because::NotRunning };
    };
    let IdleLimit::After(limit) = sandbox.idle_limit.unwrap_or(policy.limit) else {
        return Verdict::Keep { until: None, because: Because::Never };
    };
    let (deadline, evidence) = judged(policy, sandbox, since, limit);
    if now < deadline {
        return Verdict::Keep { until: Some(deadline), because: Because::Evidence(evidence) };
    }
    match policy.hold_until {
        Some(hold) if now < hold => Verdict::Keep { until: Some(hold), because: Because::Held },
        _ => Verdict::Stop { because: evidence },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        EvidenceLog, StopReason,
        fixtures::{at, running},
    };

    const LIMIT: IdleLimit = IdleLimit::After(Duration::from_secs(9_000));
    const CAP: u64 = 20_000;
    const POLICY: Policy = Policy { limit: LIMIT, connection_cap: Some(Duration::from_secs(CAP)), hold_until: None };

    fn stops(policy: &Policy, sandbox: &Sandbox, now: i64) -> bool {
        matches!(verdict(policy, sandbox, at(now)), Verdict::Stop { .. })
    }

    #[test]
    fn contract_31_deadline_is_the_later_of_start_and_evidence_plus_the_limit() {
        let mut sandbox = running(1_000);
        assert_eq!(deadline(&POLICY, &sandbox), Some(at(10_000)));
        sandbox.evidence.record(Evidence { source: Source::CheckIn, at: at(4_000) });
        assert_eq!(deadline(&POLICY, &sandbox), Some(at(13_000)));
        assert!(!stops(&POLICY, &sandbox, 12_999));
        assert!(stops(&POLICY, &sandbox, 13_000));
    }

    #[test]
    fn evidence_from_before_the_last_start_does_not_count() {
        let mut sandbox = running(5_000);
        sandbox.evidence = EvidenceLog::of(Source::CheckIn, at(100));
        assert_eq!(deadline(&POLICY, &sandbox), Some(at(14_000)));
    }

    #[test]
    fn a_connection_counts_but_only_up_to_the_cap() {
        let mut sandbox = running(1_000);
        let mut moved = |at_second| sandbox.evidence.record(Evidence { source: Source::Connection, at: at(at_second) });
        moved(5_000);
        assert_eq!(deadline(&POLICY, &sandbox), Some(at(14_000)));
        let mut moved = |at_second| sandbox.evidence.record(Evidence { source: Source::Connection, at: at(at_second) });
        moved(20_000);
        assert_eq!(deadline(&POLICY, &sandbox), Some(at(21_000)), "the cap after the start");
        assert!(stops(&POLICY, &sandbox, 21_000), "an open tab does not keep it for ever");
        sandbox.evidence.record(Evidence { source: Source::CheckIn, at: at(18_000) });
        assert_eq!(deadline(&POLICY, &sandbox), Some(at(29_000)), "a person moves the cap");
        let without = Policy { connection_cap: None, ..POLICY };
        sandbox.evidence.record(Evidence { source: Source::Connection, at: at(1_000_000) });
        assert_eq!(deadline(&without, &sandbox), Some(at(1_009_000)));
    }

    #[test]
    fn a_limit_longer_than_the_cap_is_not_shortened() {
        let mut sandbox = running(0);
        sandbox.idle_limit = Some(IdleLimit::After(Duration::from_secs(50_000)));
        sandbox.evidence.record(Evidence { source: Source::Connection, at: at(100) });
        assert_eq!(deadline(&POLICY, &sandbox), Some(at(50_000)));
    }

    #[test]
    fn never_is_never() {
        let mut sandbox = running(0);
        sandbox.idle_limit = Some(IdleLimit::Never);
        let expected = Verdict::Keep { until: None, because: Because::Never };
        assert_eq!(verdict(&POLICY, &sandbox, at(1_000_000_000)), expected);
        sandbox.idle_limit = Some(IdleLimit::After(Duration::from_secs(300)));
        let never = Policy { limit: IdleLimit::Never, ..POLICY };
        assert!(stops(&never, &sandbox, 300));
    }

    #[test]
    fn nothing_is_stopped_while_held() {
        let held = Policy { hold_until: Some(at(20_000)), ..POLICY };
        assert!(!stops(&held, &running(0), 19_999));
        assert!(stops(&held, &running(0), 20_000));
    }

    #[test]
    fn contract_32_only_a_running_sandbox_is_idle() {
        for state in [
            State::Stopping { since: at(0), reason: StopReason::Requested },
            State::Stopped { at: at(0), reason: StopReason::Idle },
            State::Starting { stopped_at: at(0), reason: StopReason::Idle },
            State::Creating,
            State::Deleting,
        ] {
            let sandbox = Sandbox { state, ..running(0) };
            assert!(!stops(&POLICY, &sandbox, 1_000_000));
            assert_eq!(deadline(&POLICY, &sandbox), None);
        }
    }

    #[test]
    fn limits_are_seconds_of_three_reports_or_never() {
        let parse = |text| IdleLimit::parse("idle_timeout", text, Duration::from_secs(60));
        assert_eq!(parse("never"), Ok(IdleLimit::Never));
        assert_eq!(parse("180"), Ok(IdleLimit::After(Duration::from_secs(180))));
        for bad in ["0", "179", "-1", "1e9", "", "Never", "99999999999999999999", "+300"] {
            assert!(parse(bad).is_err(), "{bad:?} was taken");
        }
    }
}
