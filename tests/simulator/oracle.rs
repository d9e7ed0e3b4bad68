//! The oracle: it is told what really happened to each sandbox. It has the law from `idleness.md` and not from the code
//! that it judges.

use super::{
    actions::word,
    subject::{Ended, Law, Subject, UNSEEN},
    violation::{Kind, Violation},
    world::{GRACE, PERIOD},
};
use crate::domain::{ContainerId, Sandbox, SandboxId, Source, State};

/// Beyond one pass and one grace, how late a stop may be: the pass itself takes a while.
pub const SLACK: i64 = 9_000;

/// That the clock was set.
#[derive(Debug, Clone, Copy)]
pub struct Jump {
    /// When, since the trace began.
    pub at: i64,
    /// What it showed then.
    to: i64,
    /// By how much it was set back, if it was.
    back: i64,
}

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
    pub wall: i64,
    pub default: Law,
    pub calm_since: i64,
    pub troubles: u32,
    pub outages: u32,
    /// Whether no process runs.
    pub down: bool,
    /// How the clock was set last.
    pub jumped: Option<Jump>,
    /// Whether the records are gone since the last process began.
    pub records_lost: bool,
    pub down_since: i64,
    created: u32,
    pub held_until: i64,
}

impl Oracle {
    pub fn new(default: Law, tells: bool) -> Self {
        Self { default, account: tells.then(Vec::new), ..Self::default() }
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
        let mut subject = Subject::new(sandbox, container, self.wall, self.now);
        subject.takes_from(sandbox, self.default);
        self.tell(|| format!("engine: {} is made, limit {:?}", subject.name, subject.law.limit));
        self.subjects.push(subject);
    }

    /// A container begins to run.
    pub fn runs(&mut self, container: &ContainerId) {
        let (wall, now, name) = (self.wall, self.now, self.name(container));
        self.tell(|| format!("engine: {name} runs"));
        let Some(s) = self.of(container) else { return };
        s.runs = true;
        s.started = (wall, now);
        s.checked_in_wall = None;
        s.uses.clear();
        s.latest_wall.0 = s.latest_wall.0.max(wall);
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
        let wanted = row.is_none_or(|r| matches!(r.state, State::Deleting | State::Creating));
        if by_us && !(wanted && (s.delete_asked || !s.answered)) {
            self.violated(Kind::Lost, format!("{name} was removed, and nobody asked for that"));
        }
    }

    /// A report above zero was answered; `recorded`: it is on record.
    pub fn checked_in(&mut self, id: &SandboxId, wall: i64, recorded: bool) {
        // It began before the clock was set back.
        let wall = self.jumped.filter(|_| wall > self.wall).map_or(wall, |jump| wall.min(jump.to));
        if let Some(s) = self.subject(id) {
            s.latest_wall.0 = s.latest_wall.0.max(wall);
            if recorded {
                s.checked_in_wall = s.checked_in_wall.max(Some(wall));
            }
        }
    }

    /// Bytes moved.
    pub fn used(&mut self, id: &SandboxId) {
        let (wall, now) = (self.wall, self.now);
        if let Some(s) = self.subject(id).filter(|s| s.runs) {
            s.uses.push((wall, now));
            s.latest_wall.1 = s.latest_wall.1.max(Some(wall));
        }
    }

    /// Whoever knew of uses that are not on record is gone.
    pub fn uses_are_lost(&mut self, rows: &[Sandbox]) {
        for s in &mut self.subjects {
            let row = rows.iter().find(|r| r.id == s.id).and_then(|r| r.evidence.last_of(Source::Connection));
            s.uses.retain(|(wall, _)| row.is_some_and(|r| r.as_millisecond() >= *wall));
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
            self.could_not_report(i64::MAX, 0);
        }
    }

    /// Sandboxes may have been unable to report from `since` until now: those that were not idle before have a grace.
    pub fn could_not_report(&mut self, since: i64, held_until: i64) {
        let (now, wall) = (self.now, self.wall);
        for s in &mut self.subjects {
            let Some(idle_for) = s.due().map(|due| wall - due) else { continue };
            if now - idle_for > since {
                s.held_until = held_until;
            }
            // What was being stopped may be taken back, once, at any time in the grace.
            if idle_for > -SLACK {
                s.excused_wall = s.excused_wall.max(wall + GRACE);
            }
        }
    }

    /// Something is wrong with the disk from now on, or no longer.
    pub fn disk(&mut self, begins: bool) {
        self.calm_since = self.now;
        self.outages = if begins { self.outages + 1 } else { self.outages - 1 };
        self.could_not_report(i64::MAX, 0);
    }

    /// Evidence that arrived at `since` could not be recorded: of all who run still nobody is stopped for being idle before
    /// everybody could report again.
    pub fn unrecorded(&mut self, since: i64, rows: &[Sandbox]) {
        self.calm_since = self.now;
        let runs = |id: &SandboxId| rows.iter().any(|r| r.id == *id && matches!(r.state, State::Running { .. }));
        for s in self.subjects.iter_mut().filter(|s| runs(&s.id)) {
            s.held_until = s.held_until.max(since + GRACE);
        }
        self.could_not_report(i64::MAX, 0);
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
        let held_until = if known { self.now + GRACE - PERIOD } else { 0 };
        self.could_not_report(since, held_until);
    }

    /// While it was being stopped nobody saw what else happened to it; if it was started, that is seen only now.
    pub fn is_seen_late(&mut self, container: &ContainerId) {
        let wall = self.wall;
        if let Some(s) = self.of(container) {
            s.excused_wall = s.excused_wall.max(wall + GRACE);
        }
    }

    /// Whoever knows less than what is true here is told so: nothing of it is anybody's fault.
    pub fn excuse(&mut self, id: &SandboxId) {
        let wall = self.wall;
        if let Some(s) = self.subject(id) {
            s.excused_wall = s.excused_wall.max(wall + 2 * PERIOD);
        }
    }

    /// What the clock showed, or would show, had it not just been set back: what was decided before is not wrong for that.
    pub fn wall_before(&self) -> i64 {
        self.wall + self.jumped.filter(|jump| self.now - jump.at < UNSEEN).map_or(0, |jump| jump.back)
    }

    /// Whether what was decided at that moment by the clock was decided before the clock was set.
    pub fn was_before_the_jump(&self, since_wall: i64) -> bool {
        self.jumped.is_some_and(|j| self.now - j.at < UNSEEN && !(j.to..=self.wall).contains(&since_wall))
    }

    /// Whether the last jump of the clock has been noticed by now.
    pub fn may_jump(&self) -> bool {
        self.jumped.is_none_or(|jump| self.now - jump.at > 30_000)
    }

    /// The clock was set: who was not idle before has a grace.
    pub fn jumped(&mut self, wall_before: i64, by: i64) {
        let now = self.now;
        self.calm_since = now;
        let wall = self.wall;
        self.jumped = Some(Jump { at: now, to: wall, back: -by.min(0) });
        for s in &mut self.subjects {
            // A start that was not recorded before is recorded by the new time, by which it is late.
            let seen = if now - s.started.1 < UNSEEN { wall } else { s.started.0 };
            s.excused_wall = s.excused_wall.max(seen);
            // A grace by the clock from before is a long one now; it need not be granted twice.
            if let Some(until) = s.law.spared.filter(|until| *until > wall + GRACE) {
                s.excused_wall = s.excused_wall.max(until);
                s.law.spared = None;
            }
            s.started.0 = s.started.0.min(wall);
        }
        // A correction is none, yet it makes a grace shorter.
        if by.abs() <= 10_000 {
            self.held_until -= by.max(0);
            self.subjects.iter_mut().for_each(|s| s.held_until -= by.max(0));
            return;
        }
        self.subjects.iter_mut().for_each(|s| s.is_set_back(wall));
        for s in &mut self.subjects {
            if s.due().is_some_and(|due| wall_before < due - SLACK) {
                s.held_until = now + GRACE;
            }
        }
        self.could_not_report(i64::MAX, 0);
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
        let (default, wall) = (self.default, self.wall);
        self.compare_rhythms(rows);
        // What is changed while it is being stopped is about its next start.
        for row in rows.iter().filter(|r| !matches!(r.state, State::Stopping { .. })) {
            if let Some(s) = self.subject(&row.id) {
                s.takes_from(row, default);
                // It begins anew when its record is there again.
                if std::mem::take(&mut s.is_unknown) {
                    s.excused_wall = s.excused_wall.max(wall);
                }
            }
        }
    }

    /// Somebody wishes that it be kept until then.
    pub fn wished(&mut self, id: &SandboxId, until_wall: i64) {
        if let Some(s) = self.subject(id) {
            s.wished = s.wished.max(Some(until_wall));
        }
    }

    /// Its limits are being changed: until when it is then spared, since what would be over by then has a grace, or as
    /// long as it had. What was started by a clock that has been set back since has its end far ahead by this one.
    pub fn sparing(&mut self, id: &SandboxId, row: &Sandbox) -> Option<i64> {
        let (wall, now) = (self.wall, self.now);
        if matches!(row.state, State::Running { since, .. } if since.as_millisecond() > wall) {
            return None;
        }
        let had = self.subject(id)?.due_on_record(Some(row), now).unwrap_or(i64::MAX);
        Some(had.min(wall + GRACE))
    }

    /// Its limits have been changed.
    pub fn spares(&mut self, id: &SandboxId, until_wall: Option<i64>) {
        // More than a grace is by a clock that has been set back meanwhile.
        let until_wall = until_wall.filter(|until| *until <= self.wall + GRACE);
        if let Some(s) = self.subject(id) {
            s.law.spared = until_wall;
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

    /// When a sandbox will be idle by all that is known, by the clock.
    pub fn due_of(&self, id: &SandboxId) -> Option<i64> {
        self.subjects.iter().find(|s| s.id == *id)?.due()
    }
}
