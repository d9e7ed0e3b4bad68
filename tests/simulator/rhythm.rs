//! Sandboxes whose reports are rare: people who work in them, and the report periods that may have been seen.

use std::sync::Arc;

use super::{
    actions::Aim,
    clock::pass,
    oracle::Oracle,
    subject::Subject,
    violation::Kind,
    world::{LIMIT, World},
};
use crate::domain::{Sandbox, State};

/// The longest report period that counts.
const MOST: i64 = 600_000;

/// A report that was made.
#[derive(Debug, Clone, Copy)]
pub struct Report {
    at: i64,
    /// When it was answered. If two are under way together, nobody knows which is recorded first.
    answered: i64,
    /// In which start it was recorded, and when that start began; `None`: it may not have been recorded.
    recorded: Option<(u64, i64)>,
}

impl Report {
    /// A report at `at`. `row`: the store's row, if the sandbox ran all the while and was heard. `kept`: what the clock
    /// of the rows shows for the beginning of the trace.
    fn new(at: i64, answered: i64, row: Option<&Sandbox>, kept: i64) -> Self {
        let recorded = row.and_then(|row| match row.life.state {
            State::Running { since, .. } => Some((row.life.generation, since.as_millisecond() - kept)),
            _ => None,
        });
        Self { at, answered, recorded }
    }

    fn is_with(&self, other: &Self) -> bool {
        self.recorded.is_some() && self.recorded == other.recorded
    }

    fn is_before(&self, other: &Self) -> bool {
        self.answered <= other.at
    }
}

impl Subject {
    /// A report that is not answered yet, or never will be: it may be recorded.
    pub fn reports(&mut self, at: i64) {
        self.reports.push(Report { at, answered: i64::MAX, recorded: None });
    }

    /// The report is answered. `row` tells [`Report::recorded`].
    pub fn is_heard(&mut self, at: i64, now: i64, row: Option<&Sandbox>, kept: i64) {
        if let Some(report) = self.reports.iter_mut().find(|r| r.at == at && r.recorded.is_none()) {
            *report = Report::new(at, now, row, kept);
        }
    }

    /// The longest gap between reports. The period cannot be longer.
    fn longest_gap(&self) -> i64 {
        if let [first, .., last] = &self.reports[..]
            && self.reports.iter().any(|r| r.recorded.is_none())
        {
            return (last.at - first.at).min(MOST);
        }
        let heard: Vec<_> = self.reports.iter().filter(|r| r.recorded.is_some()).collect();
        let gaps = heard.windows(2).map(|two| two[1].at - two[0].at);
        gaps.max().unwrap_or(0).min(MOST)
    }

    /// The longest gap that certainly came twice in a row in one start.
    fn came_twice(&self, generation: u64) -> i64 {
        let is_plain = |three: &&[Report]| {
            let first = three[0];
            let of_it = first.recorded.is_some_and(|(start, since)| start == generation && first.at >= since);
            let in_order = three.windows(2).all(|two| two[0].is_before(&two[1]));
            of_it && in_order && three.iter().all(|r| r.is_with(&first))
        };
        let pairs = self.reports.windows(3).filter(is_plain);
        let twice = pairs.map(|three| (three[1].at - three[0].at).min(three[2].at - three[1].at));
        twice.max().unwrap_or(0).min(MOST)
    }
}

impl Oracle {
    /// The recorded report period must be what was seen (`CONTRACT.md` 31).
    pub fn compare_rhythms(&mut self, rows: &[Sandbox]) {
        let mut wrong = Vec::new();
        for row in rows.iter().filter(|r| matches!(r.life.state, State::Running { .. })) {
            let Some(s) = self.subject(&row.id) else { continue };
            let said = row.life.rhythm.period.map_or(0, |p| p.as_millis() as i64);
            let seen = s.came_twice(row.life.generation)..=s.longest_gap();
            if !seen.contains(&said) {
                wrong.push(format!("{} is said to report every {said} ms, and was seen to every {seen:?}", s.name));
            }
        }
        wrong.into_iter().for_each(|what| self.violated(Kind::Rhythm, what));
    }
}

impl World {
    /// Somebody works, and the reports come more rarely than a third of the limit. Sometimes a report is lost, never
    /// two in a row.
    pub async fn work(self: &Arc<Self>, aim: Aim) {
        let period = self.dice.of(LIMIT / 3 + 1_000..3 * LIMIT / 2);
        self.oracle().tell(|| format!("somebody works in {}, which reports every {period} ms", aim.name));
        if let Some(server) = self.server() {
            self.keep(&server, &aim).await;
        }
        let mut was_lost = true;
        for number in 0..self.dice.of(3..8) {
            pass(period).await;
            was_lost = number > 2 && !was_lost && self.dice.in_thousand(400);
            if let Some(server) = self.server().filter(|_| !was_lost) {
                self.report(&server, &aim, 1).await;
            }
        }
    }
}
