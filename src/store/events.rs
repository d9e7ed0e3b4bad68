//! Events: what happened, in rows that triggers write and readers follow. Only the newest are kept.

use jiff::Timestamp;
use rusqlite::{Connection, Row};
use tokio::sync::watch;

use super::{
    Result, Store,
    columns::{Columns, millis, required},
    known::Now,
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
        detail: &[(&str, Fact)],
        then: impl FnOnce(Result<()>) + Send + 'static,
    ) {
        let lines: Vec<String> = detail.iter().map(|(key, fact)| written(key, fact)).collect();
        let detail = (!lines.is_empty()).then(|| lines.join("\n"));
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

    /// How often each sort of event has happened since the database was made; stops by their reason.
    ///
    /// # Errors
    /// [`StoreError::Failed`](super::StoreError::Failed).
    pub async fn tallies(&self) -> Result<Vec<(Happened, String, u64)>> {
        let job = |c: &Connection| {
            let mut statement = c.prepare_cached("SELECT what, reason, count FROM tallies")?;
            let mut rows = statement.query(())?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                let c = &mut Columns(row, 0);
                let what = c.read("what", |word| Happened::parse(word).ok())?;
                found.push((what, c.next()?, c.next::<i64>()? as u64));
            }
            Ok(found)
        };
        self.reader.run(job).await
    }

    /// Says by which clock it is told when something happened. Without one nobody is told when.
    pub fn tell_time_by(&self, clock: impl Fn() -> Timestamp + Send + Sync + 'static) {
        self.known.tell_time_by(Now(Box::new(clock)));
    }

    /// Changes whenever more has happened.
    pub fn news(&self) -> watch::Receiver<()> {
        self.known.news.subscribe()
    }
}

/// A fact as a line: `key=text` or `key#number`.
fn written(key: &str, fact: &Fact) -> String {
    match fact {
        Fact::Text(text) => format!("{key}={}", text.replace('\n', " ")),
        Fact::Number(number) => format!("{key}#{number}"),
    }
}

/// Reads [`written`].
fn fact(line: &str) -> Option<(String, Fact)> {
    let at = line.find(['=', '#'])?;
    let (key, text) = (line[..at].to_owned(), &line[at + 1..]);
    let is_number = line.as_bytes()[at] == b'#';
    Some((key, if is_number { Fact::Number(text.parse().ok()?) } else { text.into() }))
}

/// Adds the time to what has happened in a transaction.
pub(super) fn stamp(c: &Connection, at: Timestamp) -> rusqlite::Result<()> {
    c.prepare_cached("UPDATE events SET at = ?1 WHERE at IS NULL")?.execute([millis(at)]).map(drop)
}

fn label(line: &str) -> Option<Label> {
    let (key, value) = line.split_once('=')?;
    Label::parse(key, value).ok()
}

/// All lines of a text, each read by `read`.
fn lines<T, C: FromIterator<T>>(text: Option<&str>, what: &str, read: impl Fn(&str) -> Option<T>) -> Result<C> {
    text.unwrap_or_default().lines().map(|line| required(read(line), what)).collect()
}

fn read(row: &Row<'_>) -> Result<Event> {
    let c = &mut Columns(row, 0);
    let (id, at) = (c.next::<i64>()? as u64, c.instant()?.unwrap_or_default());
    let what = c.read("what", |word| Happened::parse(word).ok())?;
    let sandbox = c.maybe("sandbox", SandboxId::parse)?;
    let (name, container) = (c.next::<Option<String>>()?, c.maybe("container", ContainerId::parse)?);
    let image = c.next::<Option<String>>()?;
    let namespace = c.maybe("namespace", |text| Namespace::parse("namespace", text).ok())?;
    let owner = c.maybe("owner", |text| UserName::parse("owner", text).ok())?;
    let labels = lines(c.text()?, "labels", label)?;
    let detail = lines(c.text()?, "detail", fact)?;
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
