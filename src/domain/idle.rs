//! The law of stopping: whether a sandbox is idle is a pure function of its record, the policy and now.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{
    evidence::{Evidence, Source},
    grace::Grace,
    policy::Policy,
    rules::{Rule, broken},
    sandbox::{Sandbox, State, StopReason},
    time::plus,
};

/// When a running sandbox will be stopped unless something changes, and why then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    /// When.
    pub at: Timestamp,
    /// What sets it.
    pub by: By,
    /// The newest evidence that it rests on.
    pub evidence: Evidence,
}

/// What sets a deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The idle limit, counted from the newest evidence.
    Evidence,
    /// The cap: connections and cpu have kept it for as long as they may.
    Cap,
    /// Somebody said until when it shall be kept.
    Keep,
    /// Its greatest age, used or not.
    Age,
    /// Its limits were changed, and what they were changed to had passed already. What then sets it: its age or not.
    Change {
        /// Whether it is its age that has passed.
        age: bool,
    },
}

impl Deadline {
    /// The reason of a stop at this deadline.
    pub fn reason(&self) -> StopReason {
        match self.by {
            By::Age | By::Change { age: true } => StopReason::MaxAge,
            By::Evidence | By::Cap | By::Keep | By::Change { age: false } => StopReason::Idle,
        }
    }
}

/// Why a sandbox is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Because {
    /// It does not run, so it cannot be idle (`CONTRACT.md` 32).
    NotRunning,
    /// Nothing sets a deadline: its limit is `never`.
    Never,
    /// Its deadline is ahead.
    Before(Deadline),
    /// Its deadline has passed, but sandboxes could not report for a while.
    Held(Deadline),
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
    /// Stop it.
    Stop {
        /// What has passed.
        because: Deadline,
    },
}

/// When a sandbox that runs since `since` is idle: the later of its last interactive evidence plus its limit, its start
/// being the first of them, and its last other evidence plus its limit, but no later than the cap after the last
/// interactive evidence; and not before the moment until which somebody keeps it.
fn idle_at(policy: &Policy, sandbox: &Sandbox, since: Timestamp, limit: Duration) -> Deadline {
    let start = Evidence { source: Source::Start, at: since };
    let counts = |s: Source, interactive| policy.evidence.count(s) && s.is_interactive() == interactive;
    let newest = |interactive| sandbox.life.evidence.newest(|s| counts(s, interactive)).filter(|e| e.at > since);
    let interactive = newest(true).unwrap_or(start);
    let mut deadline = Deadline { at: plus(interactive.at, limit), by: By::Evidence, evidence: interactive };
    if let Some(other) = newest(false) {
        // A limit of its own that is longer than the cap is not shortened by it.
        let end = policy.connection_cap.span().map_or(Timestamp::MAX, |cap| plus(interactive.at, cap.max(limit)));
        let at = plus(other.at, limit);
        if at.min(end) > deadline.at {
            let by = if at > end { By::Cap } else { By::Evidence };
            deadline = Deadline { at: at.min(end), by, evidence: other };
        }
    }
    match sandbox.life.keep_until {
        Some(keep) if keep > deadline.at => Deadline { at: keep, by: By::Keep, ..deadline },
        _ => deadline,
    }
}

/// When a sandbox will be stopped unless it is used. `None` when it does not run or nothing sets a deadline
/// (`CONTRACT.md` 31).
pub fn deadline(policy: &Policy, sandbox: &Sandbox) -> Option<Deadline> {
    let State::Running { since, .. } = sandbox.life.state else { return None };
    deadline_since(policy, sandbox, if broken(Rule::StartIsEvidence) { sandbox.created_at } else { since })
}

/// As [`deadline`], of a sandbox that runs, or ran, since `since`.
pub fn deadline_since(policy: &Policy, sandbox: &Sandbox, since: Timestamp) -> Option<Deadline> {
    let policy = policy.of(sandbox);
    let idle = policy.idle_limit.span().map(|limit| idle_at(&policy, sandbox, since, limit));
    let aged = policy.max_age.span().map(|age| {
        let newest = sandbox.life.evidence.newest(|s| policy.evidence.count(s)).filter(|e| e.at > since);
        let evidence = newest.unwrap_or(Evidence { source: Source::Start, at: since });
        Deadline { at: plus(since, age), by: By::Age, evidence }
    });
    let first = match (idle, aged) {
        (Some(idle), Some(aged)) => Some(if aged.at <= idle.at { aged } else { idle }),
        (idle, aged) => idle.or(aged),
    };
    first.map(|deadline| match sandbox.life.spared_until {
        Some(spared) if spared > deadline.at => {
            Deadline { at: spared, by: By::Change { age: deadline.by == By::Age }, ..deadline }
        }
        _ => deadline,
    })
}

/// Until when a sandbox whose limits were just changed is spared: a change never reaches into the past, so what was to
/// end later than `now` plus `grace` does not end before that (`FAILURES.md` 35). `before` is the deadline that was.
pub fn spared_until(before: Option<Deadline>, after: Option<Deadline>, grace_end: Timestamp) -> Option<Timestamp> {
    let soonest = before.map_or(grace_end, |before| before.at.min(grace_end));
    after.filter(|after| after.at < soonest).map(|_| soonest)
}

/// Decides about one sandbox. The rules are ordered; the first that applies wins. During a grace nothing is stopped,
/// because sandboxes could not report (`IDLENESS.md`, rule 7).
///
/// A running sandbox is idle if and only if `now >= deadline` (`IDLENESS.md`).
pub fn verdict(policy: &Policy, grace: Option<Grace>, sandbox: &Sandbox, now: Timestamp) -> Verdict {
    if !matches!(sandbox.life.state, State::Running { .. }) {
        return Verdict::Keep { until: None, because: Because::NotRunning };
    }
    let Some(deadline) = deadline(policy, sandbox) else {
        return Verdict::Keep { until: None, because: Because::Never };
    };
    if now < deadline.at {
        return Verdict::Keep { until: Some(deadline.at), because: Because::Before(deadline) };
    }
    match grace.map(|grace| grace.end_for(sandbox)) {
        Some(hold) if now < hold => Verdict::Keep { until: Some(hold), because: Because::Held(deadline) },
        _ => Verdict::Stop { because: deadline },
    }
}

/// Who is to be warned: those whose stop is no further away than the lead, once for each moment at which it is to come,
/// which a grace puts off; but not before whoever uses it could be heard again. Otherwise, when that will be.
pub fn warning(policy: &Policy, grace: Option<Grace>, sandbox: &Sandbox, now: Timestamp) -> Warning {
    let (Some(deadline), Some(lead)) = (deadline(policy, sandbox), policy.of(sandbox).lead()) else {
        return Warning::None;
    };
    let stop = grace.map_or(deadline.at, |grace| grace.end_for(sandbox).max(deadline.at));
    let due = SignedDuration::try_from(lead).ok().and_then(|l| stop.checked_sub(l).ok()).unwrap_or(Timestamp::MIN);
    let due = grace.map_or(due, |grace| grace.heard_by(sandbox).max(due));
    if sandbox.life.warned_for == Some(stop) || now >= stop {
        Warning::None
    } else if now >= due {
        Warning::Due { deadline, stop }
    } else {
        Warning::At(due)
    }
}

/// Whether somebody is to be warned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Warning {
    /// Nobody, or not any more.
    None,
    /// Not yet.
    At(Timestamp),
    /// Now.
    Due {
        /// Of this deadline.
        deadline: Deadline,
        /// The moment before which it is not stopped.
        stop: Timestamp,
    },
}

/// When a running sandbox will have its greatest age; nobody can keep it beyond that.
pub fn end_of_age(policy: &Policy, sandbox: &Sandbox) -> Option<Timestamp> {
    let State::Running { since, .. } = sandbox.life.state else { return None };
    policy.of(sandbox).max_age.span().map(|age| plus(since, age))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        EvidenceLog, Limit, Sources,
        fixtures::{POLICY, at, running},
    };

    fn after(seconds: u64) -> Limit {
        Limit::After(Duration::from_secs(seconds))
    }

    const CAP: u64 = 20_000;

    fn policy() -> Policy {
        Policy { connection_cap: after(CAP), ..POLICY }
    }

    fn ends(policy: &Policy, sandbox: &Sandbox) -> Option<(Timestamp, By)> {
        deadline(policy, sandbox).map(|d| (d.at, d.by))
    }

    fn stops(policy: &Policy, sandbox: &Sandbox, now: i64) -> bool {
        matches!(verdict(policy, None, sandbox, at(now)), Verdict::Stop { .. })
    }

    /// A grace of 300 s that ends then.
    fn until(end: i64) -> Grace {
        Grace { since: at(end - 300), length: Duration::from_secs(300), period: Duration::from_secs(60) }
    }

    fn record(sandbox: &mut Sandbox, source: Source, seconds: i64) {
        sandbox.life.evidence.record(Evidence { source, at: at(seconds) });
    }

    #[test]
    fn contract_31_deadline_is_the_later_of_start_and_evidence_plus_the_limit() {
        let mut sandbox = running(1_000);
        assert_eq!(ends(&POLICY, &sandbox), Some((at(10_000), By::Evidence)));
        record(&mut sandbox, Source::CheckIn, 4_000);
        assert_eq!(ends(&POLICY, &sandbox), Some((at(13_000), By::Evidence)));
        assert!(!stops(&POLICY, &sandbox, 12_999));
        assert!(stops(&POLICY, &sandbox, 13_000));
    }

    #[test]
    fn contract_31_rare_reports_make_the_limit_three_of_their_periods() {
        let mut sandbox = running(1_000);
        sandbox.recipe.own.idle_limit = Some(after(60));
        let ends_with = |sandbox: &Sandbox, period: u64| {
            let mut sandbox = sandbox.clone();
            sandbox.life.rhythm.period = Some(Duration::from_secs(period));
            deadline(&POLICY, &sandbox).map(|d| d.at)
        };
        assert_eq!(ends_with(&sandbox, 20), Some(at(1_060)), "a third of the limit is often enough");
        assert_eq!(ends_with(&sandbox, 60), Some(at(1_180)));
        record(&mut sandbox, Source::Connection, 1_100);
        assert_eq!(ends_with(&sandbox, 60), Some(at(1_280)), "whatever was the last evidence");
        sandbox.recipe.own.evidence = Sources::read("connection");
        assert_eq!(ends_with(&sandbox, 60), Some(at(1_160)), "where reports do not count they lengthen nothing");
        sandbox.recipe.own.idle_limit = Some(Limit::Never);
        assert_eq!(ends_with(&sandbox, 60), None);
    }

    #[test]
    fn evidence_from_before_the_last_start_does_not_count() {
        let mut sandbox = running(5_000);
        sandbox.life.evidence = EvidenceLog::of(Source::CheckIn, at(100));
        assert_eq!(ends(&POLICY, &sandbox), Some((at(14_000), By::Evidence)));
    }

    #[test]
    fn a_connection_counts_but_only_up_to_the_cap() {
        let (policy, mut sandbox) = (policy(), running(1_000));
        record(&mut sandbox, Source::Connection, 5_000);
        assert_eq!(ends(&policy, &sandbox), Some((at(14_000), By::Evidence)));
        record(&mut sandbox, Source::Connection, 20_000);
        assert_eq!(ends(&policy, &sandbox), Some((at(21_000), By::Cap)), "the cap after the start");
        assert!(stops(&policy, &sandbox, 21_000), "an open tab does not keep it for ever");
        record(&mut sandbox, Source::CheckIn, 18_000);
        assert_eq!(ends(&policy, &sandbox), Some((at(29_000), By::Evidence)), "a person moves the cap");
        let without = Policy { connection_cap: Limit::Never, ..policy };
        record(&mut sandbox, Source::Connection, 1_000_000);
        assert_eq!(ends(&without, &sandbox), Some((at(1_009_000), By::Evidence)));
    }

    #[test]
    fn a_limit_longer_than_the_cap_is_not_shortened() {
        let mut sandbox = running(0);
        sandbox.recipe.own.idle_limit = Some(after(50_000));
        record(&mut sandbox, Source::Connection, 100);
        assert_eq!(ends(&policy(), &sandbox), Some((at(50_000), By::Evidence)));
    }

    #[test]
    fn only_what_counts_counts() {
        let mut sandbox = running(0);
        record(&mut sandbox, Source::CheckIn, 500);
        record(&mut sandbox, Source::Cpu, 800);
        assert_eq!(ends(&policy(), &sandbox), Some((at(9_500), By::Evidence)), "cpu does not, unless asked for");
        sandbox.recipe.own.evidence = Sources::read("cpu");
        assert_eq!(ends(&policy(), &sandbox), Some((at(9_800), By::Evidence)));
        sandbox.recipe.own.evidence = Sources::read("none");
        assert_eq!(ends(&policy(), &sandbox), Some((at(9_000), By::Evidence)));
        record(&mut sandbox, Source::Extension, 900);
        assert_eq!(ends(&policy(), &sandbox), Some((at(9_900), By::Evidence)), "a person's word always does");
    }

    #[test]
    fn never_is_never() {
        let mut sandbox = running(0);
        sandbox.recipe.own.idle_limit = Some(Limit::Never);
        let expected = Verdict::Keep { until: None, because: Because::Never };
        assert_eq!(verdict(&POLICY, None, &sandbox, at(1_000_000_000)), expected);
        sandbox.recipe.own.idle_limit = Some(after(300));
        assert!(stops(&Policy { idle_limit: Limit::Never, ..POLICY }, &sandbox, 300));
    }

    #[test]
    fn kept_is_kept_but_not_beyond_its_age() {
        let mut sandbox = running(0);
        sandbox.life.keep_until = Some(at(30_000));
        assert_eq!(ends(&POLICY, &sandbox), Some((at(30_000), By::Keep)));
        sandbox.recipe.own.max_age = Some(after(20_000));
        assert_eq!(ends(&POLICY, &sandbox), Some((at(20_000), By::Age)));
        assert_eq!(deadline(&POLICY, &sandbox).unwrap().reason(), StopReason::MaxAge);
        sandbox.life.keep_until = Some(at(10));
        assert_eq!(ends(&POLICY, &sandbox), Some((at(9_000), By::Evidence)), "a wish shortens no life");
        sandbox.recipe.own.idle_limit = Some(Limit::Never);
        assert_eq!(ends(&POLICY, &sandbox), Some((at(20_000), By::Age)));
    }

    #[test]
    fn a_change_never_reaches_into_the_past() {
        let mut sandbox = running(0);
        let before = deadline(&POLICY, &sandbox);
        sandbox.recipe.own.idle_limit = Some(after(300));
        let spared = |before, sandbox: &Sandbox, now: i64| spared_until(before, deadline(&POLICY, sandbox), at(now));
        assert_eq!(spared(before, &sandbox, 5_300), Some(at(5_300)), "one grace");
        assert_eq!(spared(before, &sandbox, 9_200), Some(at(9_000)), "no longer than it had before");
        assert_eq!(spared(None, &sandbox, 5_300), Some(at(5_300)), "it had no end before");
        sandbox.life.spared_until = Some(at(5_300));
        assert_eq!(ends(&POLICY, &sandbox), Some((at(5_300), By::Change { age: false })));
        sandbox.recipe.own.idle_limit = Some(after(8_000));
        assert_eq!(spared(before, &sandbox, 5_300), None, "it is still ahead");
        sandbox.recipe.own.max_age = Some(after(60));
        let aged = deadline(&POLICY, &sandbox).unwrap();
        assert_eq!((aged.by, aged.reason()), (By::Change { age: true }, StopReason::MaxAge));
    }

    #[test]
    fn a_warning_comes_once_for_each_deadline() {
        let lead = Policy { warn_before: after(600), ..POLICY };
        let mut sandbox = running(0);
        let due = |sandbox: &Sandbox, hold: Option<i64>, now| warning(&lead, hold.map(until), sandbox, at(now));
        assert_eq!(due(&sandbox, None, 8_399), Warning::At(at(8_400)));
        assert!(matches!(due(&sandbox, None, 8_400), Warning::Due { stop, .. } if stop == at(9_000)));
        assert_eq!(
            due(&sandbox, Some(9_500), 9_250),
            Warning::At(at(9_260)),
            "whoever uses it may be heard until then"
        );
        assert!(matches!(due(&sandbox, Some(9_500), 9_260), Warning::Due { stop, .. } if stop == at(9_500)));
        assert_eq!(due(&sandbox, None, 9_000), Warning::None, "it is too late");
        sandbox.life.warned_for = Some(at(9_000));
        assert_eq!(due(&sandbox, None, 8_500), Warning::None);
        record(&mut sandbox, Source::CheckIn, 8_450);
        assert_eq!(due(&sandbox, None, 8_500), Warning::At(at(16_850)), "another deadline");
        sandbox.recipe.own.idle_limit = Some(after(300));
        assert_eq!(due(&sandbox, None, 8_500), Warning::At(at(8_600)), "at most half of the limit ahead");
        sandbox.recipe.own.warn_before = Some(Limit::Never);
        assert_eq!(due(&sandbox, None, 8_700), Warning::None);
    }

    #[test]
    fn nothing_is_stopped_while_held() {
        let held = |now| verdict(&POLICY, Some(until(20_000)), &running(0), at(now));
        assert!(matches!(held(19_999), Verdict::Keep { because: Because::Held(_), .. }));
        assert!(matches!(held(20_000), Verdict::Stop { .. }));
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
            let sandbox = running(0).in_state(state);
            assert!(!stops(&POLICY, &sandbox, 1_000_000));
            assert_eq!(deadline(&POLICY, &sandbox), None);
        }
    }
}
