//! Explain: one sentence that says why a sandbox is in its state, the same in the API and in the log.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{
    evidence::{Evidence, Source},
    grace::Grace,
    idle::{Because, By, Deadline, Verdict, deadline_since, verdict},
    people::Who,
    policy::{Policy, Sources},
    sandbox::{Sandbox, State, StopReason},
    time::{plus, since, span},
};

/// A sandbox with evidence no older than this is *active*; a reporter that reports each minute may miss one.
pub const RECENT: Duration = Duration::from_mins(2);

/// What the relay sees of one port: its number, its connections, and when the last byte moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortUse {
    /// The port inside.
    pub inside: u16,
    /// How many connections are open.
    pub connections: u32,
    /// How many of them were used lately. The others explain nothing.
    pub in_use: u32,
    /// When the last byte was seen to have moved.
    pub last_byte: Option<Timestamp>,
    /// When bytes above the floor last moved; only that is evidence.
    pub last_use: Option<Timestamp>,
}

/// An instant in UTC, with its day only if that is not today.
pub fn clock_time(at: Timestamp, now: Timestamp) -> String {
    let text = format!("{at:.0}");
    let (day, time) = text.trim_end_matches('Z').split_once('T').unwrap_or(("", &text));
    let today = format!("{now:.0}").starts_with(day);
    if today { format!("{time} UTC") } else { format!("{day} {time} UTC") }
}

fn ago(at: Timestamp, now: Timestamp) -> String {
    format!("{} ago", span(since(at, now)))
}

/// A source of evidence, in words for people.
fn name(source: Source) -> &'static str {
    match source {
        Source::Start => "its start",
        Source::CheckIn => "a check-in",
        Source::Extension => "an extension",
        Source::Connection => "bytes on a connection",
        Source::Cpu => "cpu use",
        Source::Terminal => "typing in a terminal",
        Source::Exec => "a program that was run through the API",
        Source::Staff => "work in it by somebody who is not its owner",
        Source::Files => "files that were put in",
    }
}

fn in_use(sandbox: &Sandbox, evidence: Evidence, ports: &[PortUse], now: Timestamp) -> String {
    let when = ago(evidence.at, now);
    match evidence.source {
        Source::Start => format!("started {when}"),
        Source::CheckIn if sandbox.life.active > 0 => format!("it reported {}, {when}", sandbox.life.active),
        Source::CheckIn => format!("it reported that it is in use, {when}"),
        Source::Extension => match &sandbox.life.extension {
            Some(extension) if extension.by == Who::Inside => format!("kept from inside, {when}"),
            Some(extension) => format!("kept by {}, {when}", extension.by),
            None => format!("extended {when}"),
        },
        Source::Cpu => format!("its programs used the cpu, {when}"),
        Source::Terminal => format!("somebody typed in a terminal, {when}"),
        Source::Exec => format!("a program was run in it through the API, {when}"),
        Source::Staff => match &sandbox.life.staff {
            Some(by) => format!("{by}, not its owner, worked in it through the API, {when}"),
            None => format!("somebody other than its owner worked in it through the API, {when}"),
        },
        Source::Files => format!("files were put in through the API, {when}"),
        Source::Connection => match ports.iter().filter(|p| p.last_use.is_some()).max_by_key(|p| p.last_use) {
            Some(PortUse { inside, connections, in_use, last_use: Some(last), .. }) => {
                let open = match (in_use, connections) {
                    (0, 0) => "a connection, closed since,".to_owned(),
                    (0, _) => "a connection, closed or silent since,".to_owned(),
                    (1, _) => "1 connection".to_owned(),
                    (n, _) => format!("{n} connections"),
                };
                format!("{open} on port {inside}, bytes moved {}", ago((*last).max(evidence.at), now))
            }
            _ => format!("bytes moved on a connection, {when}"),
        },
    }
}

/// A sentence that says so if its reports are rarer than a third of the set limit, and lengthen it (`CONTRACT.md` 31).
pub fn lengthened(policy: &Policy, sandbox: &Sandbox) -> Option<String> {
    let (set, has) = policy.lengthened(sandbox)?;
    Some(format!(
        "it is seen to report every {} only, so that its limit is {} and not {}",
        span(has / 3),
        span(has),
        span(set)
    ))
}

fn in_brackets(text: Option<String>) -> String {
    text.map_or(String::new(), |text| format!(" ({text})"))
}

/// What will happen at the deadline, as the end of a sentence.
pub fn end(policy: &Policy, sandbox: &Sandbox, deadline: &Deadline, now: Timestamp) -> String {
    let at = clock_time(deadline.at, now);
    match deadline.by {
        By::Evidence if policy.of(sandbox).evidence == Sources::NONE => format!("stops at {at} unless extended"),
        By::Evidence => format!("stops at {at} unless used{}", in_brackets(lengthened(policy, sandbox))),
        By::Keep => format!("kept until {at}, then stopped unless used"),
        By::Cap => format!(
            "stops at {at} unless somebody reports or extends it: {} alone has kept it for as long as that may",
            name(deadline.evidence.source)
        ),
        By::Age => {
            let age = policy.of(sandbox).max_age.span().map(span).unwrap_or_default();
            format!("stops at {at}, used or not: it may run for {age} (max_age)")
        }
        By::Change { age: false } => format!("its limits were changed: stops at {at} unless used"),
        By::Change { age: true } => format!("its limits were changed: stops at {at}, used or not (max_age)"),
    }
}

/// What we see of a sandbox besides its record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sight {
    /// The grace in which it is not stopped, if there is one.
    pub grace: Option<Grace>,
    /// Its ports.
    pub ports: Vec<PortUse>,
    /// Why nobody can say whether it is used; then it is not stopped.
    pub blind: Option<&'static str>,
}

/// Why `sandbox` runs, will be stopped, or was stopped.
pub fn explain(policy: &Policy, sandbox: &Sandbox, sight: &Sight, now: Timestamp) -> String {
    match sandbox.life.state {
        State::Creating | State::Starting { .. } => "it is being started".into(),
        State::Resetting { .. } => "it is being made anew".into(),
        State::Deleting => "it is being deleted".into(),
        State::Stopping { since, reason } => {
            format!("stopping since {}: {}", clock_time(since, now), ended(policy, sandbox, reason, now))
        }
        State::Stopped { at, reason } => {
            format!("stopped at {}: {}", clock_time(at, now), ended(policy, sandbox, reason, now))
        }
        State::Running { since, .. } => {
            let counting = policy.of(sandbox).evidence;
            let newest = sandbox.life.evidence.newest(|s| counting.count(s)).filter(|e| e.at >= since);
            let newest = newest.unwrap_or(Evidence { source: Source::Start, at: since });
            let recent = RECENT.max(2 * sandbox.life.rhythm.period.unwrap_or_default());
            let use_of_it = if sandbox.life.seen.paused {
                "paused: somebody has paused it through the engine, so that nothing in it runs and connections wait"
                    .into()
            } else if now <= plus(newest.at, recent) {
                format!("active: {}", in_use(sandbox, newest, &sight.ports, now))
            } else {
                format!("idle since {} (the last was {})", clock_time(newest.at, now), name(newest.source))
            };
            format!("{use_of_it}; {}", outlook(policy, sandbox, sight, now))
        }
    }
}

fn outlook(policy: &Policy, sandbox: &Sandbox, sight: &Sight, now: Timestamp) -> String {
    match verdict(policy, sight.grace, sandbox, now) {
        Verdict::Keep { because: Because::NotRunning, .. } => String::new(),
        Verdict::Keep { because: Because::Never, .. } => "never stopped for being idle (idle_timeout is never)".into(),
        Verdict::Keep { because: Because::Before(deadline), .. } => end(policy, sandbox, &deadline, now),
        Verdict::Keep { because: Because::Held(deadline), until } => format!(
            "its time was over at {}, and it is not stopped before {}: for a while Spindle could not see whether it is used",
            clock_time(deadline.at, now),
            until.map(|at| clock_time(at, now)).unwrap_or_default()
        ),
        Verdict::Stop { because } if because.reason() == StopReason::Idle && sight.blind.is_some() => {
            let why = sight.blind.unwrap_or_default();
            format!("its time was over at {}, and it is not stopped: {why}", clock_time(because.at, now))
        }
        Verdict::Stop { because } => {
            format!("its time was over at {}: stopped in a moment", clock_time(because.at, now))
        }
    }
}

/// Why it was stopped.
pub fn ended(policy: &Policy, sandbox: &Sandbox, reason: StopReason, now: Timestamp) -> String {
    let since = sandbox.life.evidence.last_of(Source::Start).unwrap_or(sandbox.created_at);
    match (reason, deadline_since(policy, sandbox, since)) {
        (StopReason::Idle, Some(deadline)) => {
            let rare = lengthened(policy, sandbox).filter(|_| deadline.by == By::Evidence);
            format!(
                "{}{}{}",
                after_change(&deadline),
                unused(policy, sandbox, &deadline, |at| clock_time(at, now)),
                in_brackets(rare)
            )
        }
        (StopReason::Idle, None) => "it was idle".into(),
        (StopReason::Requested, _) => "somebody asked for it through the API".into(),
        (StopReason::Exited, _) => sandbox.life.seen.how_it_ended(sandbox.recipe.memory),
        (StopReason::MaxAge, deadline) => {
            let change = deadline.as_ref().map_or("", after_change);
            format!("{change}it had run for as long as it may since {} (max_age)", clock_time(since, now))
        }
        (StopReason::Engine, _) => "it ended while the container engine was away".into(),
        (StopReason::Reboot, _) => "the machine was started anew".into(),
        (StopReason::Restart, _) => "somebody asked for a restart".into(),
    }
}

pub(super) fn after_change(deadline: &Deadline) -> &'static str {
    if matches!(deadline.by, By::Change { .. }) { "its limits were changed, and " } else { "" }
}

/// Since when it is unused, and what used it last. At the cap it names the moment from which the cap counts instead.
/// `time` shows an instant.
pub(super) fn unused(
    policy: &Policy,
    sandbox: &Sandbox,
    deadline: &Deadline,
    time: impl Fn(Timestamp) -> String,
) -> String {
    let Deadline { by, evidence, .. } = *deadline;
    if by != By::Cap {
        return format!("idle since {} (the last was {})", time(evidence.at), name(evidence.source));
    }
    let counting = policy.of(sandbox).evidence;
    let person = sandbox.life.evidence.newest(|s| counting.count(s) && s.is_interactive());
    let person = person.map_or("its start".into(), |e| format!("{} at {}", name(e.source), time(e.at)));
    format!("only {} kept it since {person}, for as long as that may (connection_cap)", name(evidence.source))
}

/// How a sandbox's reports come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reports {
    /// It never reported anything.
    Never,
    /// It reports as it should.
    Current,
    /// It has reported before, but not for three periods: its reporter may be dead (`FAILURES.md` 29).
    Ceased,
}

impl Reports {
    /// How the reports of `sandbox` come, if it runs. `period`: how often they are expected; a sandbox that reports
    /// more rarely gets its own period.
    pub fn of(sandbox: &Sandbox, period: Duration, now: Timestamp) -> Self {
        let State::Running { since, .. } = sandbox.life.state else {
            return if sandbox.life.last_report.is_some() { Reports::Current } else { Reports::Never };
        };
        let period = sandbox.life.rhythm.period.unwrap_or_default().max(period);
        let patience = SignedDuration::try_from(3 * period).unwrap_or(SignedDuration::MAX);
        match sandbox.life.last_report {
            None => Reports::Never,
            Some(last) if now.duration_since(last.max(since)) > patience => Reports::Ceased,
            Some(_) => Reports::Current,
        }
    }

    /// The word for it in the API.
    pub fn word(self) -> &'static str {
        match self {
            Reports::Never => "never",
            Reports::Current => "current",
            Reports::Ceased => "ceased",
        }
    }
}

#[cfg(test)]
mod tests;
