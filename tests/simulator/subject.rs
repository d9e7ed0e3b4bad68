//! What is true of one sandbox, and when it is idle by the law. Independent of the code that decides it.

use super::{
    rhythm::Report,
    world::{GRACE, PERIOD},
};
use crate::domain::{ContainerId, Limit, Sandbox, SandboxId, Source, StopReason};

/// For how long what we could not help may take to be seen: an answer of the engine that comes late, one of the
/// relay, and what is written in between.
pub const UNSEEN: i64 = 18_000;

/// Who ended a container last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Us(StopReason),
    /// Itself, or nobody knows who any more.
    Others,
    /// Somebody else, by a signal of which the engine told.
    Killed,
}

/// What is true of one sandbox. Times are milliseconds since the trace began, whatever was done to the clock.
/// Its fields are what a judge must know of one sandbox, and each rule reads some.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is true or not by itself")]
pub struct Subject {
    pub id: SandboxId,
    pub name: String,
    pub container: ContainerId,
    pub token: String,
    pub law: Law,
    /// Until when somebody may have kept it, if that was taken up; and the same, where an instant was named, by the clock.
    pub wished: (Option<i64>, Option<i64>),
    pub runs: bool,
    pub exists: bool,
    /// The last start.
    pub started: i64,
    /// The newest check-in of this run that was recorded.
    pub checked_in: Option<i64>,
    /// All that it reported, of whatever value.
    pub reports: Vec<Report>,
    /// When bytes moved in this run.
    pub uses: Vec<i64>,
    /// The newest interactive evidence that anybody could know of, and the newest of connections.
    pub latest: (i64, Option<i64>),
    /// Evidence that may have been made up for it on the safe side, at the latest.
    pub excused: i64,
    /// Its record is lost, and not rebuilt yet.
    pub is_unknown: bool,
    /// When somebody last wanted it to run.
    pub wanted: i64,
    pub calm_since: i64,
    pub troubles: u32,
    /// When it may last have been unable to report.
    pub held_since: i64,
    /// For how long after a trouble it is not stopped: two of its report periods, if that is longer than everybody's.
    pub grace: i64,
    pub ended: Option<Ended>,
    pub answered: bool,
    pub delete_asked: bool,
    pub deleted: bool,
    pub removed_by_others: bool,
    pub start_answered: Option<i64>,
    /// When a stop was answered last, and how many are not answered yet.
    pub stop_asked: Option<i64>,
    pub stops_asked: u32,
    pub late: bool,
}

impl Subject {
    /// A container that was just made.
    pub fn new(sandbox: &Sandbox, container: &ContainerId, now: i64) -> Self {
        Self {
            id: sandbox.id.clone(),
            name: sandbox.name.as_str().to_owned(),
            container: container.clone(),
            token: sandbox.token.reveal().to_owned(),
            law: Law::default(),
            wished: (None, None),
            runs: false,
            exists: true,
            started: now,
            checked_in: None,
            reports: Vec::new(),
            uses: Vec::new(),
            latest: (now, None),
            excused: now,
            is_unknown: false,
            wanted: i64::MIN / 2,
            calm_since: now,
            troubles: 0,
            held_since: i64::MIN / 2,
            grace: GRACE,
            ended: None,
            answered: false,
            delete_asked: false,
            deleted: false,
            removed_by_others: false,
            start_answered: None,
            stop_asked: None,
            stops_asked: 0,
            late: false,
        }
    }

    /// The clock was set back at `now`: a relay's counts that lay ahead are as of then, and seem to be new.
    pub fn set_back(&mut self, now: i64) {
        if !self.uses.is_empty() {
            self.excused = self.excused.max(now + PERIOD + UNSEEN);
        }
    }

    /// Whether it was ever started by request.
    pub fn was_start_answered(&self) -> bool {
        self.start_answered.is_some()
    }

    /// Takes up what its row says of when it is to be stopped: whether a wish that was never answered has come true only
    /// that tells. `kept`: what the clock of the rows shows when the trace begins.
    pub fn takes_from(&mut self, row: &Sandbox, default: Law, kept: i64) {
        let own = |own: Option<Limit>, other| own.map_or(other, |l| l.span().map(|l| l.as_millis() as i64));
        // Whether it was seen to report so rarely is judged apart.
        let rare = 3_000 * row.life.rhythm.period.map_or(0, |p| p.as_secs() as i64);
        self.grace = GRACE.max(2 * row.life.rhythm.period.map_or(0, |p| p.as_millis() as i64));
        self.law = Law {
            limit: own(row.recipe.own.idle_limit, default.limit).map(|limit| limit.max(rare)),
            cap: own(row.recipe.own.connection_cap, default.cap),
            age: own(row.recipe.own.max_age, default.age),
            keep: row.life.keep_until.map(|t| t.as_millisecond() - kept),
            spared: self.law.spared,
        };
    }

    /// The same under what its row says.
    pub fn under(&self, row: Option<&Sandbox>, default: Law, kept: i64) -> Self {
        let mut changed = self.clone();
        row.into_iter().for_each(|row| changed.takes_from(row, default, kept));
        changed
    }

    /// When it is due by all that anybody could know; `None`: never, or it does not run.
    pub fn due(&self) -> Option<i64> {
        let (person, used) = self.latest;
        self.law.due(person, used, self.started).filter(|_| self.runs)
    }

    /// When it is due at the latest, whatever may have been made up for it.
    pub fn due_at_last(&self, kept: i64) -> Option<i64> {
        let (person, used) = self.latest;
        let wished = self.wished.0.max(self.wished.1.map(|until| until - kept));
        let law = Law { keep: self.law.keep.max(wished), ..self.law };
        law.due(person.max(self.excused), used, self.started.max(self.excused)).filter(|_| self.runs)
    }

    /// When it is due by what was recorded, or should have been, before `now`.
    pub fn due_on_record(&self, row: Option<&Sandbox>, now: i64, kept: i64) -> Option<i64> {
        let recorded =
            |source| row.and_then(|r| r.life.evidence.last_of(source)).map_or(i64::MIN, |t| t.as_millisecond() - kept);
        let known = |at, source| now - at > UNSEEN || recorded(source) >= at;
        let start = Some(self.started).filter(|at| known(*at, Source::Start));
        let person = start.max(self.checked_in).unwrap_or(i64::MIN / 2);
        let used = self.uses.iter().copied().filter(|at| known(*at, Source::Connection)).max();
        self.law.due(person, used, start.unwrap_or(i64::MIN / 2))
    }
}

/// The law, in milliseconds: how long after what a sandbox is stopped.
#[derive(Debug, Clone, Copy, Default)]
pub struct Law {
    /// After the last evidence.
    pub limit: Option<i64>,
    /// For how long after the last interactive evidence connections count.
    pub cap: Option<i64>,
    /// After the start, used or not.
    pub age: Option<i64>,
    /// Not for want of evidence before this.
    pub keep: Option<i64>,
    /// Not before this, since its limits were changed.
    pub spared: Option<i64>,
}

impl Law {
    /// The last interactive evidence and the limit; connections count up to a cap after the former; somebody may keep it;
    /// its age cuts all that; and a change of limits reaches no further back than a grace.
    fn due(&self, person: i64, used: Option<i64>, started: i64) -> Option<i64> {
        let idle = self.limit.map(|limit| {
            let by_use = used.map_or(i64::MIN, |at| at + limit);
            let end = self.cap.map_or(i64::MAX, |cap| person.saturating_add(cap));
            (person + limit).max(by_use.min(end)).max(self.keep.unwrap_or(i64::MIN))
        });
        let aged = self.age.map(|age| started + age);
        let first = idle.into_iter().chain(aged).min();
        first.map(|first| first.max(self.spared.unwrap_or(i64::MIN)))
    }
}
