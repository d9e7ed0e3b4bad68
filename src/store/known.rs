//! Known: all sandboxes in memory as last committed, so that a pass reads only the rows that changed.
//!
//! It is never ahead of the disk and never behind an answer: a change is committed, then its row is due to be read
//! again, and only then is the change answered (`IDLENESS.md`, rule 14). SQLite itself tells which rows a statement has
//! touched; other tables (ports, labels) change only together with their sandbox's row.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use jiff::Timestamp;
use rusqlite::Connection;
use tokio::sync::watch;

use super::{Result, rows};
use crate::domain::{Sandbox, SandboxId};

/// A clock.
pub struct Now(pub Box<dyn Fn() -> Timestamp + Send + Sync>);

impl fmt::Debug for Now {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Now")
    }
}

/// The sandboxes by row number, oldest first.
#[derive(Debug, Default)]
pub struct Known {
    rows: Mutex<BTreeMap<i64, Arc<Sandbox>>>,
    /// Rows that were changed and committed, and not read since.
    changed: Mutex<HashSet<i64>>,
    /// Rows that were changed and may be committed.
    touched: Mutex<HashSet<i64>>,
    /// Something happened, and may be committed.
    is_news: AtomicBool,
    /// By which clock it is told when.
    clock: OnceLock<Now>,
    /// Changes when something that happened is committed.
    pub(super) news: watch::Sender<()>,
}

/// A poisoned lock is fine: behind it is a set of numbers or a copy of the disk, and no panic leaves them half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Known {
    /// Follows every row that `writer` changes. The rows on the disk are read at the first [`Known::read`].
    pub fn follow(writer: &mut Connection) -> Result<Arc<Self>> {
        let known = Arc::new(Self::default());
        let mut statement = writer.prepare("SELECT seq FROM sandboxes")?;
        let all = statement.query_map((), |r| r.get(0))?.collect::<rusqlite::Result<HashSet<i64>>>()?;
        drop(statement);
        *lock(&known.changed) = all;
        let hears = Arc::clone(&known);
        writer.update_hook(Some(move |_, _: &str, table: &str, row| match table {
            "sandboxes" => drop(lock(&hears.touched).insert(row)),
            "events" => hears.is_news.store(true, Ordering::Relaxed),
            _ => {}
        }))?;
        Ok(known)
    }

    /// Says by which clock it is told when something happened. The first one counts.
    pub fn tell_time_by(&self, clock: Now) {
        let _ = self.clock.set(clock);
    }

    /// When what has happened in this transaction happened; `None`: nothing has, or nobody knows.
    pub fn happened_at(&self) -> Option<Timestamp> {
        self.clock.get().filter(|_| self.is_news.load(Ordering::Relaxed)).map(|now| now.0())
    }

    /// The touched rows are committed. A rollback does no harm: they are only read again.
    pub fn committed(&self) {
        let touched = std::mem::take(&mut *lock(&self.touched));
        lock(&self.changed).extend(touched);
        if self.is_news.swap(false, Ordering::Relaxed) {
            self.news.send_replace(());
        }
    }

    /// All sandboxes, oldest first, as they are committed.
    pub fn read(&self, c: &Connection) -> Result<Vec<Arc<Sandbox>>> {
        Ok(self.fresh(c)?.values().cloned().collect())
    }

    /// As [`Known::read`], those after the row `number`, each with its number.
    pub fn read_after(&self, c: &Connection, number: i64) -> Result<Vec<(i64, Arc<Sandbox>)>> {
        let rows = self.fresh(c)?;
        Ok(rows.range(number.saturating_add(1)..).map(|(number, sandbox)| (*number, Arc::clone(sandbox))).collect())
    }

    /// The rows, after those that changed were read again.
    fn fresh(&self, c: &Connection) -> Result<MutexGuard<'_, BTreeMap<i64, Arc<Sandbox>>>> {
        let mut rows = lock(&self.rows);
        let mut changed = Taken(std::mem::take(&mut *lock(&self.changed)), self);
        if !changed.0.is_empty() {
            let numbers = changed.0.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            let fresh = rows::load_numbered(c, "seq IN (SELECT value FROM json_each(?1))", &[format!("[{numbers}]")])?;
            rows.retain(|number, _| !changed.0.contains(number));
            rows.extend(fresh.into_iter().map(|(number, sandbox)| (number, Arc::new(sandbox))));
            changed.0.clear();
        }
        Ok(rows)
    }
}

/// Row numbers that return to `changed` on an error or a panic, unless they were read.
struct Taken<'k>(HashSet<i64>, &'k Known);

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        lock(&self.1.changed).extend(self.0.drain());
    }
}

/// Makes a sandbox's row count as changed, where only another table changed.
pub fn touch(c: &Connection, id: &SandboxId) -> Result<()> {
    c.execute("UPDATE sandboxes SET generation = generation WHERE id = ?1", [id.as_str()])?;
    Ok(())
}
