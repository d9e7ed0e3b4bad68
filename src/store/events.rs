//! Events: what happened, in rows that triggers write and readers follow. Only the newest are kept.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row};
use serde_json::{Map, Value};
use tokio::sync::watch;

use super::{
    Result, Store,
    columns::{Columns, corrupt, instant, required},
};
use crate::domain::{ContainerId, Event, EventOn, Fact, Happened, Label, Namespace, Ownership, SandboxId, UserName};

const EVENT: &str = "id, at, what, sandbox, name, container, image, namespace, owner, labels, detail";

impl Store {
    /// Tells that something happened that no row shows: to a sandbox, or to the server. It does not wait; `then` is
    /// called with whether it is told.
    pub fn tell(
        &self,
        what: Happened,
        on: Option<SandboxId>,
        detail: Vec<(&'static str, Fact)>,
        then: impl FnOnce(Result<()>) + Send + 'static,
    ) {
        let detail: Map<_, _> = detail.into_iter().map(|(key, fact)| (key.to_owned(), value(fact))).collect();
        let detail = (!detail.is_empty()).then(|| Value::Object(detail).to_string());
        let job = move |c: &Connection| {
            let done = match on {
                Some(id) => c
                    .prepare_cached("INSERT INTO happened (sandbox, what, detail) VALUES (?1, ?2, ?3)")?
                    .execute((id.as_str(), what.word(), detail)),
                None => c
                    .prepare_cached("INSERT INTO events (what, detail) VALUES (?1, ?2)")?
                    .execute((what.word(), detail)),
            };
            Ok(done.map(drop)?)
        };
        self.writer.post(job, then);
    }

    /// The oldest events after number `after`, at most `limit`, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Failed`](super::StoreError::Failed).
    pub async fn events(&self, after: u64, limit: usize) -> Result<Vec<Event>> {
        let job = move |c: &Connection| {
            let sql = format!("SELECT {EVENT} FROM events WHERE id > ?1 ORDER BY id LIMIT ?2");
            let mut statement = c.prepare_cached(&sql)?;
            let mut rows = statement.query((after as i64, limit as i64))?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.push(read(row)?);
            }
            Ok(found)
        };
        self.reader.run(job).await
    }

    /// The numbers of the oldest event that is kept, and of the newest that there was. Without events the oldest is the
    /// next.
    ///
    /// # Errors
    /// [`StoreError::Failed`](super::StoreError::Failed).
    pub async fn events_kept(&self) -> Result<(u64, u64)> {
        let job = |c: &Connection| {
            let newest = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0)";
            let newest: i64 = c.query_row(newest, (), |r| r.get(0))?;
            let oldest: Option<i64> = c.query_row("SELECT min(id) FROM events", (), |r| r.get(0))?;
            Ok((oldest.unwrap_or(newest + 1) as u64, newest as u64))
        };
        self.reader.run(job).await
    }

    /// Changes whenever more has happened.
    pub fn news(&self) -> watch::Receiver<()> {
        self.known.news.subscribe()
    }
}

fn value(fact: Fact) -> Value {
    match fact {
        Fact::Text(text) => text.into(),
        Fact::Number(number) => number.into(),
    }
}

fn fact(value: Value) -> Option<Fact> {
    match value {
        Value::String(text) => Some(Fact::Text(text)),
        Value::Number(number) => number.as_u64().map(Fact::Number),
        _ => None,
    }
}

/// The pairs of an object in JSON.
fn pairs<T>(text: Option<&str>, what: &str, read: impl Fn(String, Value) -> Option<T>) -> Result<Vec<T>> {
    let Some(text) = text else { return Ok(Vec::new()) };
    let object: Map<String, Value> = serde_json::from_str(text).map_err(|_| corrupt(what))?;
    object.into_iter().map(|(key, value)| required(read(key, value), what)).collect()
}

fn read(row: &Row<'_>) -> Result<Event> {
    let c = &mut Columns(row, 0);
    let (id, at) = (c.next::<i64>()? as u64, instant(c.next()?)?);
    let what = c.read("what", |word| Happened::parse(word).ok())?;
    let sandbox = c.maybe("sandbox", SandboxId::parse)?;
    let (name, container) = (c.next::<Option<String>>()?, c.maybe("container", ContainerId::parse)?);
    let image = c.next::<Option<String>>()?;
    let namespace = c.maybe("namespace", |text| Namespace::parse("namespace", text).ok())?;
    let owner = c.maybe("owner", |text| UserName::parse("owner", text).ok())?;
    let label = |key: String, value: Value| Label::parse(&key, value.as_str()?).ok();
    let labels = pairs(c.text()?, "labels", label)?;
    let detail: BTreeMap<_, _> =
        pairs(c.text()?, "detail", |key, value| Some((key, fact(value)?)))?.into_iter().collect();
    let on = sandbox.map(|id| EventOn {
        id,
        name: name.unwrap_or_default(),
        container,
        image: image.unwrap_or_default(),
        ownership: Ownership { namespace: namespace.unwrap_or_default(), owner },
        labels,
    });
    Ok(Event { id, at, what, on, detail })
}
