//! The oracle: it is told what really happened to each sandbox. It has the law from `IDLENESS.md` and not from the code
//! that it judges.

use super::{
    subject::{Ended, Law, Subject, UNSEEN},
    violation::{Kind, Violation, word},
    world::{GRACE, PERIOD},
};
use crate::domain::{ContainerId, Sandbox, SandboxId, Source, State};

/// Beyond one pass and one grace, how late a stop may be: the pass itself takes a while.
pub const SLACK: i64 = 9_000;

/// What is known of all.
#[derive(Debug, Default)]
pub struct Oracle {
    /// In the order in which they were made.
    pub subjects: Vec<Subject>,
    pub violations: Vec<Violation>,
    /// What happened, if somebody wants to read it.
    pub account: Option<Vec<String>>,
    pub idle_stops: u64,
    pub other_stops: u64,
    /// Check-ins that came when their idle sandbox was being stopped already.
    pub too_late: u64,
    pub now: i64,
    /// What the clock by which the rows are written shows when the trace begins, in milliseconds since the epoch.
    pub kept: i64,
    pub default: Law,
    pub calm_since: i64,
    pub troubles: u32,
    pub outages: u32,
    /// Whether events of the engine may be lost without a word.
    pub loses_events: bool,
    /// Whether no process runs.
    pub down: bool,
    /// When the clock was set last, and what it showed before when the trace began, as `kept`.
    jumped: Option<(i64, i64)>,
    /// Whether the records are gone since the last process began.
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

    /// A container is gone. `row`: what the store says of it at that moment.
    pub fn gone(&mut self, container: &ContainerId, row: Option<&Sandbox>, by_us: bool) {
        let name = self.name(container);
        self.tell(|| format!("engine: {name} is gone"));
        let Some(s) = self.of(container).filter(|s| s.exists) else { return };
        (s.runs, s.exists) = (false, false);
        s.removed_by_others |= !by_us;
        let wanted = row.is_none_or(|r| matches!(r.life.state, State::Deleting | State::Creating));
        if by_us && !(wanted && (s.delete_asked || !s.answered)) {
            self.violated(Kind::Lost, format!("{name} was removed, and nobody asked for that"));
        }
    }

    /// A report above zero that was made at `at` was answered; `recorded`: it is on record.
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

    /// Whoever knew of uses that are not on record is gone.
    pub fn uses_are_lost(&mut self, rows: &[Sandbox]) {
        let kept = self.kept;
        for s in &mut self.subjects {
            let row = rows.iter().find(|r| r.id == s.id).and_then(|r| r.life.evidence.last_of(Source::Connection));
            s.uses.retain(|at| row.is_some_and(|r| r.as_millisecond() - kept >= *at));
        }
    }

    /// Somebody wants it stopped; `None`: it is not answered yet.
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

    /// Something is in the way: of one sandbox, or of all.
    pub fn trouble(&mut self, about: Option<&ContainerId>, begins: bool) {
        let now = self.now;
        let (troubles, calm) = match about {
            Some(container) => match self.of(container) {
                Some(s) => (&mut s.troubles, &mut s.calm_since),
                None => return,
            },
            None => (&mut self.troubles, &mut self.calm_since),
        };
        *troubles = if begins { *troubles + 1 } else { troubles.saturating_sub(1) };
        *calm = now;
        // Who could not look does not stop, and takes back what it cannot finish.
        if about.is_none() {
            self.could_not_report(i64::MAX, None);
        }
    }

    /// Sandboxes may have been unable to report from `since` until now: those that were not idle before have a grace.
    pub fn could_not_report(&mut self, since: i64, held_since: Option<i64>) {
        let now = self.now;
        for s in &mut self.subjects {
            let Some(idle_for) = s.due().map(|due| now - due) else { continue };
            if now - idle_for > since {
                s.held_since = held_since.unwrap_or(i64::MIN / 2);
            }
            // What was being stopped may be taken back, once, at any time in the grace.
            if idle_for > -SLACK {
                s.excused = s.excused.max(now + GRACE);
            }
        }
    }

    /// Something is wrong with the disk from now on, or no longer.
    pub fn disk(&mut self, begins: bool) {
        self.calm_since = self.now;
        self.outages = if begins { self.outages + 1 } else { self.outages - 1 };
        self.could_not_report(i64::MAX, None);
    }

    /// Evidence that arrived at `since` could not be recorded: of all who run still nobody is stopped for being idle before
    /// everybody could report again.
    pub fn unrecorded(&mut self, since: i64, rows: &[Sandbox]) {
        self.calm_since = self.now;
        let runs = |id: &SandboxId| rows.iter().any(|r| r.id == *id && matches!(r.life.state, State::Running { .. }));
        for s in self.subjects.iter_mut().filter(|s| runs(&s.id)) {
            s.held_since = s.held_since.max(since);
        }
        self.could_not_report(i64::MAX, None);
    }

    /// The engine, the relay or the check-in door goes away, or comes back.
    pub fn outage(&mut self, since: Option<i64>) {
        self.calm_since = self.now;
        let Some(since) = since else {
            self.outages += 1;
            return;
        };
        self.outages -= 1;
        // Of a short one no pass need have known; in a long one the last pass was not long ago.
        let known = self.now - since > 2 * PERIOD + 3_000;
        self.could_not_report(since, known.then_some(self.now - PERIOD));
    }

    /// While it was being stopped nobody saw what else happened to it; if it was started, that is seen only now.
    pub fn is_seen_late(&mut self, container: &ContainerId) {
        let now = self.now;
        if let Some(s) = self.of(container) {
            s.excused = s.excused.max(now + GRACE);
        }
    }

    /// Whoever knows less than what is true here is told so: nothing of it is anybody's fault.
    pub fn excuse(&mut self, id: &SandboxId) {
        let now = self.now;
        if let Some(s) = self.subject(id) {
            s.excused = s.excused.max(now + 2 * PERIOD);
        }
    }

    /// So much time has passed, and the rows are kept by such a clock. What moved before it could be recorded that the clock
    /// was set is as of then.
    pub fn is_at(&mut self, now: i64, kept: i64) {
        if kept != self.kept {
            self.subjects.iter_mut().for_each(|s| s.is_set_back(now));
        }
        (self.now, self.kept) = (now, kept);
    }

    /// What the clock of the rows shows when the trace begins; what it showed before as well, if it was set a moment ago:
    /// what was decided by that is not wrong.
    pub fn kepts(&self) -> [i64; 2] {
        let before = self.jumped.filter(|(at, _)| self.now - at < PERIOD + UNSEEN).map(|(_, before)| before);
        [self.kept, before.unwrap_or(self.kept)]
    }

    /// Whether the last jump of the clock has been noticed by now.
    pub fn may_jump(&self) -> bool {
        self.jumped.is_none_or(|(at, _)| self.now - at > 30_000)
    }

    /// The clock was set: who was not idle before has a grace, unless that is only a correction.
    pub fn jumped(&mut self, by: i64) {
        let now = self.now;
        self.calm_since = now;
        self.jumped = Some((now, self.kept));
        if by < 0 {
            self.subjects.iter_mut().for_each(|s| s.is_set_back(now));
        }
        if by.abs() > 10_000 {
            for s in self.subjects.iter_mut().filter(|s| s.due().is_some_and(|due| now < due - SLACK)) {
                s.held_since = s.held_since.max(now);
            }
        }
        self.could_not_report(i64::MAX, None);
    }

    /// Whether something keeps us from seeing.
    pub fn is_blind(&self) -> bool {
        self.down || self.troubles + self.outages > 0
    }

    /// Whether nothing is in anybody's way.
    pub fn is_calm(&self) -> bool {
        !self.down && self.troubles + self.outages == 0 && self.subjects.iter().all(|s| s.troubles == 0)
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

    /// Takes up what the rows say of when sandboxes are to be stopped.
    pub fn takes_from(&mut self, rows: &[Sandbox]) {
        let (default, now, kept) = (self.default, self.now, self.kept);
        self.compare_rhythms(rows);
        // What is changed while it is being stopped is about its next start.
        for row in rows.iter().filter(|r| !matches!(r.life.state, State::Stopping { .. })) {
            if let Some(s) = self.subject(&row.id) {
                s.takes_from(row, default, kept);
                // It begins anew when its record is there again.
                if std::mem::take(&mut s.is_unknown) {
                    s.excused = s.excused.max(now);
                }
            }
        }
    }

    /// Somebody wishes that it be kept until then, or until the instant that they name.
    pub fn wished(&mut self, id: &SandboxId, until: Option<i64>, named: Option<i64>) {
        if let Some(s) = self.subject(id) {
            s.wished = (s.wished.0.max(until), s.wished.1.max(named));
        }
    }

    /// Its limits are being changed: until when it is then spared, since what would be over by then has a grace, or as
    /// long as it had.
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

    /// When a sandbox will be idle by all that is known.
    pub fn due_of(&self, id: &SandboxId) -> Option<i64> {
        self.subjects.iter().find(|s| s.id == *id)?.due()
    }
}
