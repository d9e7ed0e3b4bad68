//! Actions: rows that are only added. The first row of an action says who does what, each later one how far it is.

use std::net::IpAddr;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, named_params};

use super::{
    Result, Store,
    columns::{Columns, instant, millis, required},
};
use crate::domain::{Act, ActedOn, Action, ActionFilter, ActionState, ContainerId, Failure, Namespace, ObjectKind};

/// How many rows one look goes through at most, so that a search for what is rare holds up no other reader.
const WINDOW: i64 = 20_000;

/// How many rows are forgotten at a time, so that no other writer waits long.
const FORGOTTEN: i64 = 10_000;

/// The columns of an action, from its first row `f` and its last row `l`.
const SELECT: &str = "SELECT f.action, f.verb, f.actor, f.credential, f.source, f.request, f.kind, f.object, f.name,
           coalesce(l.container, f.container), f.namespace, f.changed, f.at, l.state, l.at, l.code, l.error
    FROM actions f JOIN actions l ON l.seq = (SELECT max(seq) FROM actions WHERE action = f.action)
    WHERE f.verb IS NOT NULL";

/// What a filter asks, of the rows from `:from` up to `:before`, newest first.
const WANTED: &str = "AND f.seq >= :from AND f.seq < :before
    AND (:kind IS NULL OR f.kind = :kind)
    AND (:object IS NULL OR f.object = :object OR f.name = :object OR (length(:object) >= 12
         AND substr(coalesce(l.container, f.container), 1, length(:object)) = :object))
    AND (:actor IS NULL OR f.actor = :actor)
    AND (:verb IS NULL OR f.verb = :verb)
    AND (:state IS NULL OR l.state = :state)
    AND (:since IS NULL OR f.at >= :since)
    AND (:reader IS NULL OR iif(f.namespace IS NULL, f.actor = :reader,
         f.namespace IN (SELECT value FROM json_each(:namespaces))))
    ORDER BY f.seq DESC LIMIT :limit";

/// How an action ended.
#[derive(Debug, Clone)]
pub struct ActionEnd {
    /// When.
    pub at: Timestamp,
    /// How: [`ActionState::is_end`].
    pub state: ActionState,
    /// The container that the action has made.
    pub container: Option<ContainerId>,
    /// Why it failed or was cancelled.
    pub failure: Option<Failure>,
}

impl Store {
    /// Adds the first row of `action`, and does not wait. Whatever is written later is on the disk no earlier. `then`
    /// is called with whether it is there.
    pub fn begin_action(&self, action: Action, then: impl FnOnce(Result<()>) + Send + 'static) {
        self.writer.post(move |c| begin(c, &action), then);
    }

    /// Adds the last row of the action `id`, and does not wait. An action without a first row gets none.
    pub fn end_action(&self, id: String, end: ActionEnd, then: impl FnOnce(Result<()>) + Send + 'static) {
        let job = move |c: &Connection| {
            let sql = "INSERT INTO actions (action, at, state, container, code, error)
                       SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE EXISTS (SELECT 1 FROM actions WHERE action = ?1)";
            let container = end.container.as_ref().map(ContainerId::as_str);
            let (code, text) = end.failure.map(|f| (f.code, f.text)).unzip();
            c.prepare_cached(sql)?.execute((id, millis(end.at), end.state.word(), container, code, text))?;
            Ok(())
        };
        self.writer.post(job, then);
    }

    /// Ends all actions that are under way with `failure`. Returns how many there were.
    ///
    /// # Errors
    /// [`StoreError::Failed`](super::StoreError::Failed).
    pub async fn end_left_actions(&self, at: Timestamp, failure: Failure) -> Result<usize> {
        let job = move |c: &Connection| {
            let sql = "INSERT INTO actions (action, at, state, code, error)
                       SELECT action, ?1, ?2, ?3, ?4 FROM actions WHERE seq > (SELECT ended FROM actions_kept)
                       GROUP BY action HAVING max(state IN ('success', 'failed', 'cancelled')) = 0";
            let ended = c.execute(sql, (millis(at), ActionState::Failed.word(), failure.code, failure.text))?;
            c.execute("UPDATE actions_kept SET ended = (SELECT coalesce(max(seq), 0) FROM actions)", ())?;
            Ok(ended)
        };
        self.writer.run(job).await
    }

    /// The newest actions that `filter` wants, newest first: at most `limit`, older than the action `after` if one is
    /// named. `None` if there is no such action. What was sent to be written before is in them.
    ///
    /// # Errors
    /// [`StoreError::Failed`](super::StoreError::Failed).
    pub async fn actions(
        &self,
        filter: &ActionFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Option<Vec<Action>>> {
        self.written().await;
        let after = after.map(str::to_owned);
        let bounds = self.reader.run(move |c| bounds(c, after.as_deref())).await?;
        let Some((first, mut before)) = bounds else { return Ok(None) };
        let mut found = Vec::new();
        while found.len() < limit && before > first {
            let from = first.max(before - WINDOW);
            let (filter, left) = (filter.clone(), limit - found.len());
            found.extend(self.reader.run(move |c| wanted(c, &filter, from..before, left)).await?);
            before = from;
        }
        Ok(Some(found))
    }

    /// One action, if there is one with that id. What was sent to be written before is in it.
    ///
    /// # Errors
    /// [`StoreError::Failed`](super::StoreError::Failed).
    pub async fn action(&self, id: &str) -> Result<Option<Action>> {
        self.written().await;
        let id = id.to_owned();
        let job = move |c: &Connection| {
            let mut statement = c.prepare_cached(&format!("{SELECT} AND f.action = ?1"))?;
            let mut rows = statement.query([&id])?;
            rows.next()?.map(read).transpose()
        };
        self.reader.run(job).await
    }

    /// Forgets actions of before `since`, the oldest first and at most `FORGOTTEN` rows, and does not wait.
    pub fn forget_actions(&self, since: Timestamp, then: impl FnOnce(Result<()>) + Send + 'static) {
        let job = move |c: &Connection| {
            let old = "SELECT seq FROM actions WHERE at < ?1 ORDER BY at LIMIT ?2";
            if !c.prepare_cached(old)?.exists((millis(since), FORGOTTEN))? {
                return Ok(());
            }
            c.execute("UPDATE actions_kept SET since = ?1", [millis(since)])?;
            let forget = format!("DELETE FROM actions WHERE seq IN ({old})");
            c.prepare_cached(&forget)?.execute((millis(since), FORGOTTEN))?;
            Ok(())
        };
        self.writer.post(job, then);
    }

    /// Remembers the configuration of this start. Returns the names of the settings that differ from the last start's,
    /// or `None` if this is the first.
    ///
    /// # Errors
    /// [`StoreError::Failed`](super::StoreError::Failed).
    pub async fn configure(&self, settings: Vec<(String, String)>) -> Result<Option<Vec<String>>> {
        let job = move |c: &Connection| {
            let mut statement = c.prepare("SELECT setting, value FROM configuration ORDER BY setting")?;
            let read = statement.query_map((), |r| Ok((r.get(0)?, r.get(1)?)))?;
            let before = read.collect::<rusqlite::Result<Vec<(String, String)>>>()?;
            c.execute("DELETE FROM configuration", ())?;
            let mut insert = c.prepare("INSERT INTO configuration (setting, value) VALUES (?1, ?2)")?;
            for (setting, value) in &settings {
                insert.execute((setting, value))?;
            }
            let changed = settings.iter().filter(|one| !before.contains(one));
            let gone = before.iter().filter(|(name, _)| !settings.iter().any(|(other, _)| other == name));
            let names = changed.chain(gone).map(|(name, _)| name.clone()).collect();
            Ok((!before.is_empty()).then_some(names))
        };
        self.writer.run(job).await
    }

    /// Waits until all that was sent to be written is written, or is known to have failed.
    pub async fn written(&self) {
        // If the store fails, whoever sent something hears of it.
        let _ = self.writer.run(|_| Ok(())).await;
    }
}

fn begin(c: &Connection, action: &Action) -> Result<()> {
    let sql = "INSERT INTO actions (action, at, state, verb, actor, credential, source, request, kind, object, name,
                   container, namespace, changed, code, error)
               VALUES (:action, :at, :state, :verb, :actor, :credential, :source, :request, :kind, :object, :name,
                   :container, :namespace, :changed, :code, :error)";
    let (on, failure) = (&action.on, action.failure.as_ref());
    c.prepare_cached(sql)?.execute(named_params! {
        ":action": action.id,
        ":at": millis(action.started_at),
        ":state": action.state.word(),
        ":verb": action.verb,
        ":actor": action.actor,
        ":credential": action.credential,
        ":source": action.from.map(|from| from.to_string()),
        ":request": action.request,
        ":kind": on.kind.word(),
        ":object": on.id,
        ":name": on.name,
        ":container": on.container.as_ref().map(ContainerId::as_str),
        ":namespace": on.namespace.as_ref().map(Namespace::as_str),
        ":changed": action.changed.join(","),
        ":code": failure.map(|f| &f.code),
        ":error": failure.map(|f| &f.text),
    })?;
    Ok(())
}

/// The first row's number, and the number up to which there may be rows older than the action `after`.
fn bounds(c: &Connection, after: Option<&str>) -> Result<Option<(i64, i64)>> {
    let before = match after {
        None => c.query_row("SELECT coalesce(max(seq), 0) + 1 FROM actions", (), |r| r.get(0)).optional()?,
        Some(id) => {
            let sql = "SELECT seq FROM actions WHERE action = ?1 AND verb IS NOT NULL";
            c.query_row(sql, [id], |r| r.get(0)).optional()?
        }
    };
    let first: i64 = c.query_row("SELECT coalesce(min(seq), 0) FROM actions", (), |r| r.get(0))?;
    Ok(before.map(|before| (first, before)))
}

fn wanted(c: &Connection, filter: &ActionFilter, rows: std::ops::Range<i64>, limit: usize) -> Result<Vec<Action>> {
    let reader = filter.reader.as_ref();
    // A namespace's name has nothing that JSON escapes.
    let namespaces = reader.map(|reader| reader.namespaces.iter().map(|n| format!("\"{n}\"")).collect::<Vec<_>>());
    let mut statement = c.prepare_cached(&format!("{SELECT} {WANTED}"))?;
    let mut rows = statement.query(named_params! {
        ":from": rows.start,
        ":before": rows.end,
        ":kind": filter.kind.map(ObjectKind::word),
        ":object": filter.object,
        ":actor": filter.actor,
        ":verb": filter.act.map(Act::word),
        ":state": filter.state.map(ActionState::word),
        ":since": filter.since.map(millis),
        ":reader": reader.map(|reader| &reader.actor),
        ":namespaces": format!("[{}]", namespaces.unwrap_or_default().join(",")),
        ":limit": limit as i64,
    })?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    Ok(found)
}

fn read(row: &rusqlite::Row<'_>) -> Result<Action> {
    let c = &mut Columns(row, 0);
    let (id, verb, actor, credential) = (c.next()?, c.next()?, c.next()?, c.next()?);
    let from = c.maybe("source", |text| text.parse::<IpAddr>().ok())?;
    let request = c.next()?;
    let on = ActedOn {
        kind: c.read("kind", |text| ObjectKind::parse(text).ok())?,
        id: c.next()?,
        name: c.next()?,
        container: c.maybe("container", ContainerId::parse)?,
        namespace: c.maybe("namespace", |text| Namespace::parse("namespace", text).ok())?,
    };
    let changed = required(c.text()?, "changed")?.split(',').filter(|name| !name.is_empty()).map(str::to_owned);
    let changed = changed.collect();
    let started_at = instant(c.next()?)?;
    let state = c.read("state", |text| ActionState::parse(text).ok())?;
    let last_at = instant(c.next()?)?;
    let failure = match (c.next()?, c.next()?) {
        (Some(code), Some(text)) => Some(Failure { code, text }),
        _ => None,
    };
    Ok(Action {
        id,
        verb,
        actor,
        credential,
        from,
        request,
        on,
        changed,
        started_at,
        state,
        ended_at: state.is_end().then_some(last_at),
        failure,
    })
}

/// For a test: how SQLite looks for a page.
#[cfg(test)]
pub(super) fn plan(c: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = c.prepare(&format!("EXPLAIN QUERY PLAN {SELECT} {WANTED}"))?;
    // Without parameters the plan is the same.
    let mut rows = statement.raw_query();
    let mut plan = Vec::new();
    while let Some(row) = rows.next()? {
        plan.push(row.get(3)?);
    }
    Ok(plan)
}
