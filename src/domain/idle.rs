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

/// When and why a running sandbox will be stopped, unless something changes.
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
    /// The cap: connections and cpu may keep it no longer.
    Cap,
    /// Somebody keeps it until then.
    Keep,
    /// Its greatest age, used or not.
    Age,
    /// Its limits were changed, and the new deadline had already passed: this is the time that it still gets.
    Change {
        /// Whether the new deadline came from its age.
        age: bool,
    },
}

impl Deadline {
    /// The reason for a stop at this deadline.
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
        /// The deadline that has passed.
        because: Deadline,
    },
}

/// When a sandbox that runs since `since` becomes idle, by its newest evidence of both kinds; a start is interactive:
/// `max(interactive + limit, min(other + limit, interactive + max(cap, limit)), keep_until)`.
fn idle_at(policy: &Policy, sandbox: &Sandbox, since: Timestamp, limit: Duration) -> Deadline {
    let start = Evidence { source: Source::Start, at: since };
    let counts = |s: Source, interactive| policy.evidence.count(s) && s.is_interactive() == interactive;
    let newest = |interactive| sandbox.life.evidence.newest(|s| counts(s, interactive)).filter(|e| e.at > since);
    let interactive = newest(true).unwrap_or(start);
    let mut deadline = Deadline { at: plus(interactive.at, limit), by: By::Evidence, evidence: interactive };
    if let Some(other) = newest(false) {
        // The cap does not shorten a limit that is longer than the cap.
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

/// As [`deadline`], for a sandbox that runs, or ran, since `since`.
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

/// Until when a sandbox is spared after a change of its limits. A change never reaches into the past: the sandbox ends
/// no earlier than its old deadline, `before`, or `grace_end`, whichever comes first (`FAILURES.md` 35).
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

/// Whether a sandbox needs a warning now, or when. It is due when the stop is no further away than the lead, once for
/// each planned moment of a stop. A grace puts the stop off, and the warning waits until a report could have come.
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

/// Whether and when those inside are warned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Warning {
    /// No warning is due, now or later, as things stand.
    None,
    /// Not yet.
    At(Timestamp),
    /// Now.
    Due {
        /// The deadline behind the stop.
        deadline: Deadline,
        /// The earliest moment of the stop.
        stop: Timestamp,
    },
}

/// When a running sandbox reaches its greatest age; nobody can keep it beyond that.
pub fn end_of_age(policy: &Policy, sandbox: &Sandbox) -> Option<Timestamp> {
    let State::Running { since, .. } = sandbox.life.state else { return None };
    policy.of(sandbox).max_age.span().map(|age| plus(since, age))
}

#[cfg(test)]
mod tests;
