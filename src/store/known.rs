//! All sandboxes as they were last committed, so that a pass need not read what has not changed.
//!
//! It is never ahead of the disk and never behind an answer: a row is read anew by whoever asks next once its change is
//! committed, and a change is answered after that (`IDLENESS.md`, rule 14). SQLite itself tells which rows a statement
//! has touched; what lies in other tables (ports, labels) changes only together with its sandbox's row.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rusqlite::Connection;

use super::{Result, rows};
use crate::domain::{Sandbox, SandboxId};

/// The sandboxes, by the numbers of their rows, which are in the order of their age.
#[derive(Debug, Default)]
pub struct Known {
    rows: Mutex<BTreeMap<i64, Arc<Sandbox>>>,
    /// Rows that were changed and committed, and not read since.
    changed: Mutex<HashSet<i64>>,
    /// Rows that were changed and may be committed.
    touched: Mutex<HashSet<i64>>,
}

/// What is behind it is a set of numbers or a copy of the disk, and no panic leaves either half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Known {
    /// Hears of every row that `writer` changes. What is on the disk already is read at the first [`Known::read`].
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

    /// What was touched is committed, or rolled back, which is as good.
    pub fn committed(&self) {
        let touched = std::mem::take(&mut *lock(&self.touched));
        lock(&self.changed).extend(touched);
    }

    /// All sandboxes, oldest first, as they are committed.
    pub fn read(&self, c: &Connection) -> Result<Vec<Arc<Sandbox>>> {
        let mut rows = lock(&self.rows);
        let mut changed = Taken(std::mem::take(&mut *lock(&self.changed)), self);
        if !changed.0.is_empty() {
            let numbers = changed.0.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            let fresh = rows::load_numbered(c, "seq IN (SELECT value FROM json_each(?1))", &[format!("[{numbers}]")])?;
            rows.retain(|number, _| !changed.0.contains(number));
            rows.extend(fresh.into_iter().map(|(number, sandbox)| (number, Arc::new(sandbox))));
            changed.0.clear();
        }
        Ok(rows.values().cloned().collect())
    }
}

/// Numbers that are given back when dropped, by an error or a panic alike, unless they were read.
struct Taken<'k>(HashSet<i64>, &'k Known);

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        lock(&self.1.changed).extend(self.0.drain());
    }
}

/// Has a sandbox be read anew of which only another table was changed.
pub fn touch(c: &Connection, id: &SandboxId) -> Result<()> {
    c.execute("UPDATE sandboxes SET generation = generation WHERE id = ?1", [id.as_str()])?;
    Ok(())
}
