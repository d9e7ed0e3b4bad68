//! The oracle: it is told what really happened to each sandbox. It takes the law from `IDLENESS.md`, not from the code
//! that it judges.

use super::{
    subject::{Ended, Law, Subject},
    violation::{Kind, Violation, word},
    world::GRACE,
};
use crate::domain::{ContainerId, Sandbox, SandboxId, Source, State};

/// What is known about all sandboxes.
/// Its fields are what a judge must know about all of them. Each rule reads some.
#[derive(Debug, Default)]
pub struct Oracle {
    /// The sandboxes, in the order of their creation.
    pub subjects: Vec<Subject>,
    pub violations: Vec<Violation>,
    /// What happened, if somebody wants to read it.
    pub account: Option<Vec<String>>,
    pub idle_stops: u64,
    pub other_stops: u64,
    /// Check-ins that came when their idle sandbox was already being stopped.
    pub too_late: u64,
    pub now: i64,
    /// What the clock of the rows shows for the beginning of the trace, in milliseconds since the epoch.
    pub kept: i64,
    pub default: Law,
    pub calm_since: i64,
    pub troubles: u32,
    pub outages: u32,
    /// Whether events of the engine may be lost silently.
    pub loses_events: bool,
    /// Whether no process runs.
    pub down: bool,
    /// When the clock was last set, and `kept` before that.
    pub jumped: Option<(i64, i64)>,
    /// Whether the records were lost since the last process began.
    pub records_lost: bool,
    pub down_since: i64,
    created: u32,
    pub held_until: i64,
}

impl Oracle {
    pub fn new(default: Law, tells: bool, loses_events: bool) -> Self {
        Self { default, account: tells.then(Vec::new), loses_events, ..Self::default() }
    }

    pub fn tell(&mut self, what: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(account) = &mut self.account {
            account.push(format!("{:>4}.{:03}  {}", now / 1_000, now % 1_000, what()));
        }
    }

    pub fn violated(&mut self, kind: Kind, what: String) {
        self.tell(|| format!("!!! {kind:?}: {what}"));
        self.violations.push(Violation { kind, what });
    }

    pub fn of(&mut self, container: &ContainerId) -> Option<&mut Subject> {
        self.subjects.iter_mut().find(|s| s.container == *container)
    }

    pub fn subject(&mut self, id: &SandboxId) -> Option<&mut Subject> {
        self.subjects.iter_mut().find(|s| s.id == *id)
    }

    pub fn name(&self, container: &ContainerId) -> String {
        self.subjects.iter().find(|s| s.container == *container).map_or("?".into(), |s| s.name.clone())
    }

    /// The engine made a container.
    pub fn made(&mut self, sandbox: &Sandbox, container: &ContainerId) {
        // One that was there is made anew.
        if let Some(subject) = self.subject(&sandbox.id) {
            (subject.container, subject.exists) = (container.clone(), true);
            return;
        }
        let mut subject = Subject::new(sandbox, container, self.now);
        subject.takes_from(sandbox, self.default, self.kept);
        self.tell(|| format!("engine: {} is made, limit {:?}", subject.name, subject.law.limit));
        self.subjects.push(subject);
    }

    /// A container begins to run.
    pub fn runs(&mut self, container: &ContainerId) {
        let (now, name) = (self.now, self.name(container));
        self.tell(|| format!("engine: {name} runs"));
        let Some(s) = self.of(container) else { return };
        s.runs = true;
        s.started = now;
        s.checked_in = None;
        s.uses.clear();
        s.latest.0 = s.latest.0.max(now);
        s.calm_since = now;
        s.law.spared = None;
        (s.ended, s.late) = (None, false);
    }

    /// A container has ended.
    pub fn ended(&mut self, container: &ContainerId, by: Ended) {
        let name = self.name(container);
        self.tell(|| format!("engine: {name} has ended, by {by:?}"));
        if let Some(s) = self.of(container).filter(|s| s.runs) {
            s.runs = false;
            s.ended = Some(by);
        }
    }

    /// A container is gone. `row` is what the store says about it at that moment.
    pub fn gone(&mut self, container: &ContainerId, row: Option<&Sandbox>, by_us: bool) {
        let name = self.name(container);
        self.tell(|| format!("engine: {name} is gone"));
        let Some(s) = self.of(container).filter(|s| s.exists) else { return };
        (s.runs, s.exists) = (false, false);
        s.removed_by_others |= !by_us;
        let wanted = row.is_none_or(|r| matches!(r.life.state, State::Deleting | State::Creating));
        let is_reset = row.is_some_and(|r| matches!(r.life.state, State::Resetting { .. }));
        if by_us && !is_reset && !(wanted && (s.delete_asked || !s.answered)) {
            self.violated(Kind::Lost, format!("{name} was removed, and nobody asked for that"));
        }
    }

    /// A report above zero, made at `at`, was answered; `recorded`: it is on record.
    pub fn checked_in(&mut self, id: &SandboxId, at: i64, recorded: bool) {
        if let Some(s) = self.subject(id) {
            s.latest.0 = s.latest.0.max(at);
            if recorded {
                s.checked_in = s.checked_in.max(Some(at));
            }
        }
    }

    /// Bytes moved.
    pub fn used(&mut self, id: &SandboxId) {
        let now = self.now;
        if let Some(s) = self.subject(id).filter(|s| s.runs) {
            s.uses.push(now);
            s.latest.1 = s.latest.1.max(Some(now));
        }
    }

    /// The relay has ended, and uses that are not on record are lost.
    pub fn uses_are_lost(&mut self, rows: &[Sandbox]) {
        let kept = self.kept;
        for s in &mut self.subjects {
            let row = rows.iter().find(|r| r.id == s.id).and_then(|r| r.life.evidence.last_of(Source::Connection));
            s.uses.retain(|at| row.is_some_and(|r| r.as_millisecond() - kept >= *at));
        }
    }

    /// Somebody asks for a stop; `answered`: the answer has come.
    pub fn stop_asked(&mut self, id: &SandboxId, answered: bool) {
        let now = self.now;
        if let Some(s) = self.subject(id) {
            s.stops_asked = if answered { s.stops_asked.saturating_sub(1) } else { s.stops_asked + 1 };
            s.stop_asked = s.stop_asked.max(Some(now).filter(|_| answered));
        }
    }

    /// A start that was asked for at `since` is answered with `state`.
    pub fn start_answered(&mut self, id: &SandboxId, since: i64, state: &State) {
        let Some(s) = self.subject(id) else { return };
        s.start_answered = Some(since);
        if !matches!(state, State::Running { .. }) {
            let what = format!("{} was started, and the answer is {}", s.name, word(state));
            self.violated(Kind::StartLost, what);
        }
    }

    /// The trace is now `now` old, and the clock of the rows shows `kept`. If that clock was set, bytes that moved and
    /// are not on record yet count as of now.
    pub fn set_now(&mut self, now: i64, kept: i64) {
        if kept != self.kept {
            self.subjects.iter_mut().for_each(|s| s.set_back(now));
        }
        (self.now, self.kept) = (now, kept);
    }

    /// The number of the next sandbox.
    pub fn created(&mut self) -> u32 {
        self.created += 1;
        self.created - 1
    }

    /// Somebody wants it to run.
    pub fn wanted(&mut self, id: &SandboxId) {
        let now = self.now;
        if let Some(s) = self.subject(id) {
            s.wanted = now;
        }
    }

    /// Takes from the rows when sandboxes are to be stopped.
    pub fn takes_from(&mut self, rows: &[Sandbox]) {
        let (default, now, kept) = (self.default, self.now, self.kept);
        self.compare_rhythms(rows);
        // A change during a stop is about the next start.
        for row in rows.iter().filter(|r| !matches!(r.life.state, State::Stopping { .. })) {
            if let Some(s) = self.subject(&row.id) {
                s.takes_from(row, default, kept);
                // It begins anew when its record exists again.
                if std::mem::take(&mut s.is_unknown) {
                    s.excused = s.excused.max(now);
                }
            }
        }
    }

    /// Somebody wishes to keep it until then, or until the instant that they name.
    pub fn wished(&mut self, id: &SandboxId, until: Option<i64>, named: Option<i64>) {
        if let Some(s) = self.subject(id) {
            s.wished = (s.wished.0.max(until), s.wished.1.max(named));
        }
    }

    /// Its limits are being changed. Returns until when it is then spared: for a grace, but no longer than it had
    /// before.
    pub fn sparing(&mut self, id: &SandboxId, row: &Sandbox) -> Option<i64> {
        let (now, kept) = (self.now, self.kept);
        let had = self.subject(id)?.due_on_record(Some(row), now, kept).unwrap_or(i64::MAX);
        Some(had.min(now + GRACE))
    }

    /// Its limits have been changed.
    pub fn spares(&mut self, id: &SandboxId, until: Option<i64>) {
        if let Some(s) = self.subject(id) {
            s.law.spared = until;
        }
    }

    pub fn delete_asked(&mut self, id: &SandboxId) {
        if let Some(s) = self.subject(id) {
            s.delete_asked = true;
        }
    }

    pub fn deleted(&mut self, id: &SandboxId) {
        if let Some(s) = self.subject(id) {
            s.deleted = true;
        }
    }

    /// When a sandbox will be idle, by all that is known.
    pub fn due_of(&self, id: &SandboxId) -> Option<i64> {
        self.subjects.iter().find(|s| s.id == *id)?.due()
    }
}
