//! Judges a trace: which stops are wrong, which are late, and what else must not happen.

use std::collections::HashSet;

use super::{
    excuses::SLACK,
    oracle::Oracle,
    subject::Ended,
    violation::{Kind, word},
    world::PERIOD,
};
use crate::domain::{ContainerId, Observed, Phase, Sandbox, State, StopReason};

/// How long a start waits for a stop.
const WANTED: i64 = 60_000;

impl Oracle {
    /// The engine is told to stop a container.
    pub fn signalled(&mut self, container: &ContainerId, row: Option<&Sandbox>) -> StopReason {
        let (now, held, default, kepts) = (self.now, self.held_until, self.default, self.kepts());
        let name = self.name(container);
        let reason = match row.map(|r| &r.life.state) {
            Some(State::Stopping { reason, .. }) => *reason,
            // Somebody deletes the sandbox just as it is being stopped.
            Some(State::Deleting) => return StopReason::Requested,
            other => {
                let what = format!("{name} is told to stop, and its row says {:?}", other.map(word));
                self.violated(Kind::NoIntent, what);
                return StopReason::Exited;
            }
        };
        self.tell(|| format!("engine: {name} is told to stop: {}", reason.word()));
        let Some(s) = self.of(container).filter(|s| s.runs) else { return reason };
        if reason == StopReason::Restart {
            return reason;
        }
        s.calm_since = now;
        if !matches!(reason, StopReason::Idle | StopReason::MaxAge) {
            let asked = |since| s.stops_asked > 0 || s.stop_asked.is_some_and(|stop| stop >= since);
            let lost = s.start_answered.is_some_and(|start| !asked(start));
            self.other_stops += 1;
            if lost {
                self.violated(Kind::StartLost, format!("{name} was started, and a stop from before took it away"));
            }
            return reason;
        }
        // A change of limits during a stop applies only if the stop was taken back in between. Allow both.
        let under = |kept: i64| s.under(row, default, kept).due_on_record(row, now, kept);
        let dues = [s.due_on_record(row, now, kepts[0]), under(kepts[0]), under(kepts[1])];
        let due = dues.into_iter().flatten().min();
        let early = due.is_none_or(|due| now < due);
        // A user who wants it to run may stop it first, in order to start it.
        let wanted = now - s.wanted < WANTED;
        let held_by_it = s.held_since + s.under(row, default, kepts[0]).grace;
        let held = if reason == StopReason::MaxAge { 0 } else { held_by_it.max(held) };
        self.idle_stops += 1;
        if early && !wanted {
            let until = due.map_or("for ever".into(), |due| format!("{} ms more", due - now));
            self.violated(Kind::WrongStop, format!("{name} is stopped, and has {until}"));
        } else if !wanted && now < held {
            self.violated(Kind::NoGrace, format!("{name} is stopped {} ms too soon after a trouble", held - now));
        }
        reason
    }

    /// Looks for sandboxes that should have been stopped long ago.
    pub fn look_for_late(&mut self) {
        let (now, kept, calm_since) = (self.now, self.kept, self.calm_since);
        if self.down || self.troubles + self.outages > 0 {
            return;
        }
        let mut late = Vec::new();
        for s in self.subjects.iter_mut().filter(|s| s.runs && s.answered && !s.delete_asked && !s.late) {
            let allowed = PERIOD + s.grace + SLACK;
            let calm = s.troubles == 0 && now - s.calm_since.max(calm_since) > allowed;
            let Some(idle_for) = s.due_at_last(kept).map(|due| now - due).filter(|_| calm) else { continue };
            if idle_for > allowed {
                s.late = true;
                late.push(format!("{} has been idle for {idle_for} ms", s.name));
            }
        }
        late.into_iter().for_each(|what| self.violated(Kind::LateStop, what));
    }

    /// Compares the reasons in the rows with the true causes of the ends.
    pub fn compare_reasons(&mut self, rows: &[Sandbox]) {
        self.takes_from(rows);
        let mut wrong = Vec::new();
        for row in rows {
            let (State::Stopped { reason, .. }, Some(s)) =
                (&row.life.state, self.subjects.iter().find(|s| s.id == row.id))
            else {
                continue;
            };
            let explained = match s.ended {
                Some(Ended::Us(StopReason::Idle)) => matches!(reason, StopReason::Idle | StopReason::Requested),
                Some(Ended::Us(StopReason::MaxAge)) => matches!(reason, StopReason::MaxAge | StopReason::Requested),
                Some(Ended::Us(StopReason::Requested)) => *reason == StopReason::Requested,
                // The engine tells events in order. If an event is lost, nobody can know the cause.
                Some(Ended::Killed) => self.loses_events || *reason != StopReason::Exited || !row.is_undone_by_use(),
                _ => true,
            };
            if !explained && !s.runs {
                wrong.push(format!("{} ended by {:?}, and its row says {}", s.name, s.ended, reason.word()));
            }
        }
        wrong.into_iter().for_each(|what| self.violated(Kind::Unexplained, what));
    }

    /// What must hold when nothing is under way: no sandbox is lost or half done, and no port is shared.
    pub fn settled(&mut self, rows: &[Sandbox], observed: &[Observed]) {
        let mut wrong = Vec::new();
        for s in &self.subjects {
            let row = rows.iter().find(|r| r.id == s.id);
            let shown = observed.iter().find(|o| o.container == s.container).map(|o| o.phase);
            let row = row.map(|r| word(&r.life.state));
            if s.answered && !s.delete_asked && !s.removed_by_others && (row.is_none() || shown.is_none()) {
                wrong.push((Kind::Lost, format!("{} is lost: row {row:?}, container {shown:?}", s.name)));
            }
            if s.deleted && (row.is_some() || shown.is_some()) {
                wrong.push((Kind::Undead, format!("{} was deleted: row {row:?}, container {shown:?}", s.name)));
            }
        }
        let mut ports = HashSet::new();
        for row in rows {
            let shown = observed.iter().find(|o| Some(&o.container) == row.container.as_ref()).map(|o| o.phase);
            let agree = match row.life.state {
                State::Running { .. } => shown == Some(Phase::Running),
                State::Stopped { .. } => shown == Some(Phase::Exited),
                _ => false,
            };
            // An engine that shows no container at all is not believed.
            let all_gone = observed.is_empty() && rows.len() > 1;
            if !agree && !all_gone {
                wrong.push((
                    Kind::HalfDone,
                    format!("{}: row {}, container {shown:?}", row.name, word(&row.life.state)),
                ));
            }
            if row.ports.iter().any(|p| !ports.insert(p.outside.port)) {
                wrong.push((Kind::HalfDone, format!("{} shares a port", row.name)));
            }
        }
        for o in observed.iter().filter(|o| !rows.iter().any(|r| r.container.as_ref() == Some(&o.container))) {
            wrong.push((Kind::HalfDone, format!("nobody knows of the container {}", self.name(&o.container))));
        }
        wrong.into_iter().for_each(|(kind, what)| self.violated(kind, what));
    }
}
