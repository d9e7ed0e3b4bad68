//! What is true of one sandbox, and when it is idle by the law. Independent of the code that decides it.

use crate::domain::{ContainerId, Sandbox, SandboxId, Source, StopReason};

/// For how long what we could not help may take to be seen: an answer of the engine that comes late, one of the
/// relay, and what is written in between.
pub const UNSEEN: i64 = 18_000;

/// Who ended a container last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Us(StopReason),
    Others,
}

/// What is true of one sandbox. Times are milliseconds: `_wall` by the clock, others since the trace began.
#[derive(Debug)]
pub struct Subject {
    pub id: SandboxId,
    pub name: String,
    pub container: ContainerId,
    pub token: String,
    pub limit: Option<i64>,
    pub runs: bool,
    pub exists: bool,
    /// The last start, by the clock and since the trace began.
    pub started: (i64, i64),
    /// The newest check-in of this run that was recorded.
    pub checked_in_wall: Option<i64>,
    /// When bytes moved in this run, by the clock and since the trace began.
    pub uses: Vec<(i64, i64)>,
    /// The newest interactive evidence that anybody could know of, and the newest of connections.
    pub latest_wall: (i64, Option<i64>),
    /// Evidence that may have been made up for it on the safe side, at the latest.
    pub excused_wall: i64,
    /// When somebody last wanted it to run.
    pub wanted: i64,
    pub calm_since: i64,
    pub troubles: u32,
    /// Nothing stops it before then.
    pub held_until: i64,
    pub ended: Option<Ended>,
    pub answered: bool,
    pub delete_asked: bool,
    pub deleted: bool,
    pub removed_by_others: bool,
    pub start_answered: Option<i64>,
    pub stop_asked: Option<i64>,
    pub late: bool,
}

impl Subject {
    /// A container that was just made.
    pub fn new(sandbox: &Sandbox, container: &ContainerId, limit: Option<i64>, wall: i64, now: i64) -> Self {
        Self {
            id: sandbox.id.clone(),
            name: sandbox.name.as_str().to_owned(),
            container: container.clone(),
            token: sandbox.token.reveal().to_owned(),
            limit,
            runs: false,
            exists: true,
            started: (wall, now),
            checked_in_wall: None,
            uses: Vec::new(),
            latest_wall: (wall, None),
            excused_wall: wall,
            wanted: i64::MIN / 2,
            calm_since: now,
            troubles: 0,
            held_until: 0,
            ended: None,
            answered: false,
            delete_asked: false,
            deleted: false,
            removed_by_others: false,
            start_answered: None,
            stop_asked: None,
            late: false,
        }
    }

    /// Whether it was ever started by request.
    pub fn was_start_answered(&self) -> bool {
        self.start_answered.is_some()
    }

    /// As [`Subject::idle_for`], and what may have been made up for it counted.
    pub fn idle_at_least_for(&self, wall: i64, cap: Option<i64>) -> Option<i64> {
        let limit = self.limit.filter(|_| self.runs)?;
        Some(wall - due(self.latest_wall.0.max(self.excused_wall), self.latest_wall.1, limit, cap))
    }

    /// For how long it has been idle by all that anybody could know; negative: for how long it is not yet.
    pub fn idle_for(&self, wall: i64, cap: Option<i64>) -> Option<i64> {
        let limit = self.limit.filter(|_| self.runs)?;
        Some(wall - due(self.latest_wall.0, self.latest_wall.1, limit, cap))
    }

    /// When it is idle by what was recorded, or should have been, before `now`.
    pub fn due_wall(&self, limit: i64, cap: Option<i64>, row: Option<&Sandbox>, now: i64) -> i64 {
        let recorded = |source| row.and_then(|r| r.evidence.last_of(source)).map_or(i64::MIN, |t| t.as_millisecond());
        let known = |wall, at, source| now - at > UNSEEN || recorded(source) >= wall;
        let (wall, at) = self.started;
        let start = Some(wall).filter(|_| known(wall, at, Source::Start));
        let person = start.max(self.checked_in_wall).unwrap_or(i64::MIN / 2);
        let used = self.uses.iter().filter(|(wall, at)| known(*wall, *at, Source::Connection)).map(|u| u.0).max();
        due(person, used, limit, cap)
    }
}

/// The law: the last interactive evidence and the limit; connections count up to a cap after the former.
pub fn due(person: i64, used: Option<i64>, limit: i64, cap: Option<i64>) -> i64 {
    let by_use = used.map_or(i64::MIN, |at| at + limit);
    let end = cap.map_or(i64::MAX, |cap| person.saturating_add(cap));
    (person + limit).max(by_use.min(end))
}
