//! Known: all sandboxes in memory as last committed, so that a pass reads only the rows that changed.
//!
//! It is never ahead of the disk and never behind an answer: a change is committed, then its row is due to be read
//! again, and only then is the change answered (`IDLENESS.md`, rule 14). SQLite itself tells which rows a statement has
//! touched; other tables (ports, labels) change only together with their sandbox's row.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rusqlite::Connection;

use super::{Result, rows};
use crate::domain::{Sandbox, SandboxId};

/// The sandboxes by row number, oldest first.
#[derive(Debug, Default)]
pub struct Known {
    rows: Mutex<BTreeMap<i64, Arc<Sandbox>>>,
    /// Rows that were changed and committed, and not read since.
    changed: Mutex<HashSet<i64>>,
    /// Rows that were changed and may be committed.
    touched: Mutex<HashSet<i64>>,
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
        writer.update_hook(Some(move |_, _: &str, table: &str, row| {
            if table == "sandboxes" {
                lock(&hears.touched).insert(row);
            }
        }))?;
        Ok(known)
    }

    /// The touched rows are committed. A rollback does no harm: they are only read again.
    pub fn committed(&self) {
        let touched = std::mem::take(&mut *lock(&self.touched));
        lock(&self.changed).extend(touched);
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
