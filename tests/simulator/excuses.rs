//! What the oracle excuses: trouble, outages, clocks that are set, records that are lost.

use super::{
    oracle::Oracle,
    subject::UNSEEN,
    world::{GRACE, PERIOD},
};
use crate::domain::{ContainerId, Sandbox, SandboxId, State};

/// Beyond one pass and one grace, how late a stop may be: the pass itself takes a while.
pub const SLACK: i64 = 9_000;

impl Oracle {
    /// A trouble begins or ends, for one sandbox or for all.
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
        // A server that cannot look stops nothing, and takes back the stops that it cannot finish.
        if about.is_none() {
            self.could_not_report(i64::MAX, None);
        }
    }

    /// Sandboxes may have been unable to report from `since` until now. Those that were not idle before get a grace.
    pub fn could_not_report(&mut self, since: i64, held_since: Option<i64>) {
        let now = self.now;
        for s in &mut self.subjects {
            let Some(idle_for) = s.due().map(|due| now - due) else { continue };
            if now - idle_for > since {
                s.held_since = held_since.unwrap_or(i64::MIN / 2);
            }
            // A stop that was under way may be taken back, once, at any time in the grace.
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

    /// Evidence that arrived at `since` could not be recorded. No running sandbox is stopped for being idle before all
    /// could report again.
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
        // Maybe no pass noticed a short outage. In a long one the last pass was not long ago.
        let known = self.now - since > 2 * PERIOD + 3_000;
        self.could_not_report(since, known.then_some(self.now - PERIOD));
    }

    /// While the container was stopped, nobody saw what else happened to it: a start in that time is seen only now.
    pub fn see_late(&mut self, container: &ContainerId) {
        let now = self.now;
        if let Some(s) = self.of(container) {
            s.excused = s.excused.max(now + GRACE);
        }
    }

    /// Excuses stops and delays caused by lost records.
    pub fn excuse(&mut self, id: &SandboxId) {
        let now = self.now;
        if let Some(s) = self.subject(id) {
            s.excused = s.excused.max(now + 2 * PERIOD);
        }
    }

    /// `kept`, and the value before if the clock was set a moment ago: a decision by the old clock is not wrong.
    pub fn kepts(&self) -> [i64; 2] {
        let before = self.jumped.filter(|(at, _)| self.now - at < PERIOD + UNSEEN).map(|(_, before)| before);
        [self.kept, before.unwrap_or(self.kept)]
    }

    /// Whether the server has had time to notice the clock's last jump.
    pub fn may_jump(&self) -> bool {
        self.jumped.is_none_or(|(at, _)| self.now - at > 30_000)
    }

    /// The clock was set. Unless the change is small, sandboxes that were not idle before get a grace.
    pub fn jumped(&mut self, by: i64) {
        let now = self.now;
        self.calm_since = now;
        self.jumped = Some((now, self.kept));
        if by < 0 {
            self.subjects.iter_mut().for_each(|s| s.set_back(now));
        }
        if by.abs() > 10_000 {
            for s in self.subjects.iter_mut().filter(|s| s.due().is_some_and(|due| now < due - SLACK)) {
                s.held_since = s.held_since.max(now);
            }
        }
        self.could_not_report(i64::MAX, None);
    }

    /// Whether something keeps the server from seeing.
    pub fn is_blind(&self) -> bool {
        self.down || self.troubles + self.outages > 0
    }

    /// Whether nothing is in any sandbox's way.
    pub fn is_calm(&self) -> bool {
        !self.down && self.troubles + self.outages == 0 && self.subjects.iter().all(|s| s.troubles == 0)
    }
}
