//! Tells the oracle about the ends and beginnings of processes, and about lost records.

use super::{oracle::Oracle, subject::Ended, world::GRACE};
use crate::domain::{Sandbox, Source};

impl Oracle {
    /// The process is gone, with all that it waited for. A check-in may be on record that was never answered.
    pub fn crashed(&mut self, rows: &[Sandbox]) {
        self.down = true;
        self.down_since = self.now;
        self.troubles = 0;
        self.changes_are_cut_off();
        self.calm_since = self.now;
        for s in &mut self.subjects {
            s.troubles = 0;
            s.calm_since = self.now;
            let row = rows.iter().find(|r| r.id == s.id);
            let reported = row.and_then(|r| r.life.evidence.last_of(Source::CheckIn));
            let reported = reported.map(|at| (at.as_millisecond() - self.kept).min(self.now));
            s.latest.0 = s.latest.0.max(reported.unwrap_or(i64::MIN));
            // Nobody knows whether the stop was recorded.
            if std::mem::take(&mut s.stops_asked) > 0 {
                s.stop_asked = Some(self.now);
            }
        }
    }

    /// Another process begins.
    pub fn begun(&mut self) {
        self.down = false;
        self.calm_since = self.now;
        self.held_until = self.now + GRACE;
        let (lost, began) = (std::mem::take(&mut self.records_lost), self.now);
        for s in &mut self.subjects {
            s.held_since = began;
            // A sandbox whose record was lost begins anew. A start meanwhile is seen only now.
            if lost {
                s.started = began;
                s.is_unknown = true;
            }
            if lost || s.started >= self.down_since {
                s.excused = s.excused.max(began + GRACE);
            }
        }
        self.could_not_report(i64::MAX, None);
    }

    /// The records are lost: these.
    pub fn records_lost(&mut self, rows: &[Sandbox]) {
        self.records_lost = true;
        self.changes_are_lost(rows);
        for s in &mut self.subjects {
            s.ended = s.ended.map(|_| Ended::Others);
            (s.checked_in, s.start_answered) = (None, None);
            s.uses.clear();
            s.excused = s.excused.max(self.now + GRACE);
        }
    }
}
