//! What is true about one sandbox, and when the law makes it idle. Independent of the code that decides.

use super::{
    lost::Written,
    rhythm::Report,
    world::{GRACE, PERIOD},
};
use crate::domain::{ContainerId, Limit, Sandbox, SandboxId, Source, StopReason};

/// How long an event may stay unseen through no fault of ours: a late answer of the engine, one of the relay, and the
/// writes in between.
pub const UNSEEN: i64 = 18_000;

/// Who ended a container last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Us(StopReason),
    /// It ended by itself, or nobody knows any more.
    Others,
    /// Somebody else ended it, by a signal that the engine told.
    Killed,
}

/// What is true about one sandbox. Times are milliseconds since the trace began, even if the clock was set.
/// Its fields are what a judge must know about one sandbox. Each rule reads some.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is true or not by itself")]
pub struct Subject {
    pub id: SandboxId,
    pub name: String,
    pub container: ContainerId,
    pub token: String,
    pub law: Law,
    /// Until when somebody may have kept it, if the wish was recorded: for a length, and by the clock for a named
    /// instant.
    pub wished: (Option<i64>, Option<i64>),
    pub runs: bool,
    pub exists: bool,
    /// The last start.
    pub started: i64,
    /// The newest check-in of this run that was recorded.
    pub checked_in: Option<i64>,
    /// All its reports, of any value.
    pub reports: Vec<Report>,
    /// When bytes moved in this run.
    pub uses: Vec<i64>,
    /// The newest interactive evidence that anybody could know, and the newest of connections.
    pub latest: (i64, Option<i64>),
    /// The latest time of evidence that the server may have assumed, to be safe.
    pub excused: i64,
    /// Whether its record is lost, and not rebuilt yet.
    pub is_unknown: bool,
    /// When somebody last wanted it to run.
    pub wanted: i64,
    pub calm_since: i64,
    pub troubles: u32,
    /// When it may last have been unable to report.
    pub held_since: i64,
    /// How long it is not stopped after a trouble: two of its report periods, if that is longer than the usual grace.
    pub grace: i64,
    pub ended: Option<Ended>,
    pub answered: bool,
    pub delete_asked: bool,
    pub deleted: bool,
    pub removed_by_others: bool,
    pub start_answered: Option<i64>,
    /// When a stop was last answered, and how many are not answered yet.
    pub stop_asked: Option<i64>,
    pub stops_asked: u32,
    pub late: bool,
    /// Whether it is written down as its row says.
    pub written: Written,
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
            written: Written::default(),
        }
    }

    /// The clock was set back at `now`: counts of the relay that lay ahead become `now`, and seem to be new.
    pub fn set_back(&mut self, now: i64) {
        if !self.uses.is_empty() {
            self.excused = self.excused.max(now + PERIOD + UNSEEN);
        }
    }

    /// Whether it was ever started by request.
    pub fn was_start_answered(&self) -> bool {
        self.start_answered.is_some()
    }

    /// Takes from its row when it is to be stopped. Only the row tells whether a wish that was never answered was
    /// recorded. `kept`: what the clock of the rows shows for the beginning of the trace.
    pub fn takes_from(&mut self, row: &Sandbox, default: Law, kept: i64) {
        let own = |own: Option<Limit>, other| own.map_or(other, |l| l.span().map(|l| l.as_millis() as i64));
        // Whether it really reports so rarely is judged elsewhere.
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

    /// The same sandbox, under the law that its row says.
    pub fn under(&self, row: Option<&Sandbox>, default: Law, kept: i64) -> Self {
        let mut changed = self.clone();
        row.into_iter().for_each(|row| changed.takes_from(row, default, kept));
        changed
    }

    /// When it is due, by all that anybody could know; `None`: never, or it does not run.
    pub fn due(&self) -> Option<i64> {
        let (person, used) = self.latest;
        self.law.due(person, used, self.started).filter(|_| self.runs)
    }

    /// When it is due at the latest, with all evidence that may have been assumed.
    pub fn due_at_last(&self, kept: i64) -> Option<i64> {
        let (person, used) = self.latest;
        let wished = self.wished.0.max(self.wished.1.map(|until| until - kept));
        let law = Law { keep: self.law.keep.max(wished), ..self.law };
        law.due(person.max(self.excused), used, self.started.max(self.excused)).filter(|_| self.runs)
    }

    /// When it is due, by what was recorded, or should have been, before `now`.
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

/// The law of stopping, in milliseconds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Law {
    /// How long after the last evidence it is stopped.
    pub limit: Option<i64>,
    /// How long connections count after the last interactive evidence.
    pub cap: Option<i64>,
    /// How long after its start it is stopped, used or not.
    pub age: Option<i64>,
    /// It is not stopped for want of evidence before this.
    pub keep: Option<i64>,
    /// It is not stopped before this, because its limits were changed.
    pub spared: Option<i64>,
}

impl Law {
    /// The last interactive evidence plus the limit. Connections prolong that up to a cap, and somebody may keep it.
    /// The age ends it all. A change of limits never stops it before `spared`.
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
