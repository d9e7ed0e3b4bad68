//! Failures: count what the store could not do because it failed itself. Idle decisions must know this: a record that
//! was lost then is no silence (`IDLENESS.md`, rule 8).

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use rusqlite::ErrorCode;

use super::StoreError;

/// The failures of one database since it was opened. A refusal, for example of a taken name, is no failure.
#[derive(Debug, Default)]
pub struct Failures {
    count: AtomicU64,
    /// Why it fails at present.
    why: Mutex<Option<String>>,
}

impl Failures {
    fn lock(&self) -> MutexGuard<'_, Option<String>> {
        self.why.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    /// Why it fails, until it writes again.
    pub fn why(&self) -> Option<String> {
        self.lock().clone()
    }

    /// It writes again.
    pub fn are_over(&self) {
        *self.lock() = None;
    }

    /// Counts a failure, and returns it in words.
    pub fn note(&self, error: &rusqlite::Error) -> String {
        self.add(words(error))
    }

    /// Counts an error of a job if it is a failure, and then returns it in words.
    pub fn noted(&self, error: StoreError) -> StoreError {
        match error {
            StoreError::Sqlite(e) if e.sqlite_error_code() != Some(ErrorCode::ConstraintViolation) => {
                StoreError::Failed(self.note(&e))
            }
            StoreError::Corrupt(_) => {
                self.add(error.to_string());
                error
            }
            other => other,
        }
    }

    /// The error of a job that nobody took: the thread has ended.
    pub fn ended(&self) -> StoreError {
        StoreError::Failed(self.add("its thread has ended".into()))
    }

    /// Counts a failure, and returns its reason.
    pub fn add(&self, why: String) -> String {
        *self.lock() = Some(why.clone());
        self.count.fetch_add(1, Ordering::SeqCst);
        why
    }
}

/// The cause of a failure, as a person would say it.
fn words(error: &rusqlite::Error) -> String {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "the disk is full".into(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => "another program has it locked".into(),
        Some(ErrorCode::ReadOnly) => "it is read-only".into(),
        Some(ErrorCode::SystemIoFailure) => format!("its disk fails, or is full ({error})"),
        _ => error.to_string(),
    }
}
