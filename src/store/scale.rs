//! Scale: which clock the rows are written by, and how the rows follow when it is set.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicI64, Ordering},
};

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension};

use super::{Result, Store};
use crate::domain::{Boot, Source};

/// The clock by which the rows are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scale {
    /// The machine's start.
    pub boot: Boot,
    /// How far the clock is ahead of the time since that start, in milliseconds.
    pub ahead: i64,
}

/// The scale of one database.
#[derive(Debug, Default)]
pub struct Kept {
    scale: Mutex<Option<Scale>>,
    /// By how many milliseconds the rows were moved since the database was opened.
    restated: AtomicI64,
}

impl Kept {
    /// The scale, as it was written last.
    pub fn read(c: &Connection) -> Result<Self> {
        let read = |r: &rusqlite::Row<'_>| {
            Ok(Scale { boot: Boot::from(r.get_ref(0)?.as_str().unwrap_or_default()), ahead: r.get(1)? })
        };
        let found = c.query_row("SELECT boot, ahead FROM clock", (), read).optional()?;
        Ok(Self { scale: Mutex::new(found), ..Self::default() })
    }
}

impl Store {
    /// By which clock the rows are written; `None` in a new database.
    pub fn scale(&self) -> Option<Scale> {
        self.kept.scale.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Adjusts an instant that was just read from the clock: if the clock is set before its write, it moves with the
    /// rows.
    pub(super) fn restating(&self) -> impl Fn(Timestamp) -> Timestamp + Send + 'static {
        let kept = Arc::clone(&self.kept);
        let read = kept.restated.load(Ordering::SeqCst);
        move |at| {
            let by = SignedDuration::from_millis(kept.restated.load(Ordering::SeqCst) - read);
            at.checked_add(by).unwrap_or(at)
        }
    }

    /// Writes rows by another clock from now on. In the rows of running sandboxes, all times that measure a length move
    /// by `by`: their start, their use, and wishes counted from then. An instant that somebody named stays. `take_up`
    /// is called with `true` before any later write, and with `false` if the change fails. Returns the number of
    /// sandboxes changed.
    pub async fn rescale(
        &self,
        to: Scale,
        by: SignedDuration,
        take_up: impl Fn(bool) + Clone + Send + 'static,
    ) -> Result<usize> {
        let by = by.as_millis() as i64;
        let (scale, kept, taken) = (to.clone(), Arc::clone(&self.kept), take_up.clone());
        let job = move |c: &Connection| {
            let changed = if by == 0 { 0 } else { restate(c, by)? };
            let sql = "INSERT INTO clock (one, boot, ahead) VALUES (1, ?1, ?2)
                       ON CONFLICT (one) DO UPDATE SET boot = ?1, ahead = ?2";
            c.execute(sql, (to.boot.as_str(), to.ahead))?;
            kept.restated.fetch_add(by, Ordering::SeqCst);
            taken(true);
            Ok(changed)
        };
        let (kept, before) = (Arc::clone(&self.kept), self.kept.restated.load(Ordering::SeqCst));
        let then = move |is_done| {
            if is_done {
                *kept.scale.lock().unwrap_or_else(PoisonError::into_inner) = Some(scale);
            } else {
                kept.restated.store(before, Ordering::SeqCst);
                take_up(false);
            }
        };
        self.writer.run_then(job, then).await
    }
}

/// A creation may be older than the present run, and by another clock: it must never move past that run's start.
fn restate(c: &Connection, by: i64) -> Result<usize> {
    let later = ["state_at", "last_report", "spared_until", "warned_for", "extended_at", "extended_until"];
    let later = later.into_iter().map(str::to_owned);
    let set: Vec<_> = later
        .chain(Source::ALL.map(|source| format!("{}_at", source.word())))
        .map(|column| format!("{column} = {column} + ?1"))
        .collect();
    let sql = format!(
        "UPDATE sandboxes SET {},
                created_at = min(created_at + iif(created_at <= coalesce(state_at, created_at), max(?1, 0), 0),
                                 coalesce(state_at, created_at) + ?1),
                keep_until = iif(keep_until = extended_until, keep_until + ?1, keep_until)
         WHERE state IN ('creating', 'running', 'stopping')",
        set.join(", ")
    );
    Ok(c.execute(&sql, [by])?)
}
