//! The store: SQLite in WAL mode, all SQL, and the translation between rows and the domain.
//!
//! Every write is durable before it is answered. Evidence is read only from here, so no decision rests on a copy that
//! is not on the disk (`IDLENESS.md`, rule 14).

mod actions;
mod changes;
mod check_in;
mod columns;
mod credentials;
mod decisions;
mod events;
mod evidence;
mod execs;
mod failures;
#[cfg(test)]
mod faults;
mod heartbeat;
mod known;
mod launch;
mod migrations;
mod once;
mod people;
mod policies;
mod ports;
mod resets;
mod rows;
mod sandboxes;
mod scale;
mod seen;
mod worker;

use std::{
    fs::{File, OpenOptions, TryLockError},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rusqlite::{Connection, OptionalExtension};

use crate::domain::{Namespace, UserName};

pub use actions::ActionEnd;
pub use check_in::CheckedIn;
pub use credentials::Whose;
use failures::Failures;
#[cfg(test)]
pub use faults::Fault;
use heartbeat::Place;
use known::Known;
pub use once::{Claimed, Key};
pub use ports::PortPool;
pub use sandboxes::{Counts, Room};
use scale::Kept;
pub use scale::Scale;
#[cfg(test)]
pub use worker::Hook;
use worker::Worker;

/// Why the store refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be used at all; the message is for the person who starts Spindle.
    #[error("the database {} cannot be used: {reason}", path.display())]
    Open {
        /// Where it is.
        path: PathBuf,
        /// What is wrong, in words.
        reason: String,
    },
    /// SQLite refused a statement.
    #[error("the database refused a statement")]
    Sqlite(#[from] rusqlite::Error),
    /// A row holds something that we did not write.
    #[error("the database holds a value that Spindle did not write: {0}")]
    Corrupt(String),
    /// The name is in use by another sandbox.
    #[error("the name is taken")]
    NameTaken,
    /// The range has fewer free ports than the image exposes.
    #[error("no port is free")]
    NoPort,
    /// The limit of running sandboxes is reached.
    #[error("{0} sandboxes are running, which is the limit")]
    Full(u32),
    /// There is no such namespace.
    #[error("there is no namespace {0}")]
    NoNamespace(Namespace),
    /// There is no user of that name any more.
    #[error("the user is gone")]
    NoUser,
    /// The namespace does not list the owner.
    #[error("the namespace {0} does not list {1}")]
    NoMember(Namespace, UserName),
    /// There are so many tokens, or invitations, already.
    #[error("there are {0} already")]
    TooMany(u32),
    /// A quota is used up; which, and how much of it.
    #[error("{0}")]
    Quota(String),
    /// The rows belong to another deployment.
    #[error(
        "the database holds sandboxes of the deployment {0:?}; set SPINDLE_DEPLOYMENT to that, or SPINDLE_DATABASE to another file"
    )]
    OtherDeployment(String),
    /// The store itself failed: its disk is full, or another program has it locked. Nothing was written.
    #[error("the database failed: {0}")]
    Failed(String),
}

/// The store's result.
pub type Result<T> = std::result::Result<T, StoreError>;

/// A handle on the database; cheap to share behind an `Arc`.
#[derive(Debug)]
pub struct Store {
    writer: Worker,
    reader: Worker,
    known: Arc<Known>,
    failures: Arc<Failures>,
    kept: Arc<Kept>,
    /// Keeps a second server off the same file for as long as this handle lives.
    _lock: Option<File>,
}

impl Store {
    /// Opens the database at `path`; makes it and its directory if they are absent.
    ///
    /// # Errors
    /// [`StoreError::Open`] if the file cannot be written, is no SQLite database, was written by a newer
    /// Spindle, or is in use by another server.
    pub fn open(path: &Path) -> Result<Self> {
        let failed = |reason: String| StoreError::Open { path: path.to_owned(), reason };
        if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            std::fs::create_dir_all(parent).map_err(|e| failed(format!("its directory cannot be made: {e}")))?;
        }
        // The file holds check-in secrets: no other user may read it.
        let private = |p: &Path| OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(p);
        private(path).map_err(|e| failed(e.to_string()))?;
        let mut lock_path = path.as_os_str().to_owned();
        lock_path.push(".lock");
        let lock = private(Path::new(&lock_path)).map_err(|e| failed(e.to_string()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(failed("another Spindle server is using it".into())),
            Err(TryLockError::Error(e)) => return Err(failed(format!("it cannot be locked: {e}"))),
        }
        let connect = || -> rusqlite::Result<Connection> {
            let connection = Connection::open(path)?;
            connection.busy_timeout(Duration::from_secs(5))?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "FULL")?;
            connection.pragma_update(None, "foreign_keys", true)?;
            connection.set_prepared_statement_cache_capacity(64);
            Ok(connection)
        };
        let mut writer = connect().map_err(|e| failed(e.to_string()))?;
        let unreadable = |e| match e {
            StoreError::Sqlite(e) => failed(e.to_string()),
            other => failed(other.to_string()),
        };
        migrations::run(&mut writer).map_err(unreadable)?;
        let reader = connect().map_err(|e| failed(e.to_string()))?;
        let known = Known::follow(&mut writer).map_err(unreadable)?;
        let place = Place::of(path).map_err(|e| failed(e.to_string()))?;
        let kept = Arc::new(Kept::read(&writer).map_err(unreadable)?);
        let failures = Arc::<Failures>::default();
        let writer = Worker::writer(writer, place, Arc::clone(&known), Arc::clone(&failures));
        let reader = Worker::reader(reader, Arc::clone(&failures));
        Ok(Self { writer, reader, known, failures, kept, _lock: Some(lock) })
    }

    /// Opens the database beside a server that may be using it, for a command that changes people.
    ///
    /// # Errors
    /// [`StoreError::Open`] if it is not there, or another version wrote it.
    pub fn open_beside(path: &Path) -> Result<Self> {
        let failed = |reason: String| StoreError::Open { path: path.to_owned(), reason };
        if !path.is_file() {
            return Err(failed("it is not there; start the server once".into()));
        }
        let connection = Connection::open(path).map_err(|e| failed(e.to_string()))?;
        let opened = connection.busy_timeout(Duration::from_secs(5)).and_then(|()| {
            connection.pragma_update(None, "synchronous", "FULL")?;
            connection.pragma_update(None, "foreign_keys", true)
        });
        opened.map_err(|e| failed(e.to_string()))?;
        if !migrations::is_current(&connection)? {
            return Err(failed("another version of Spindle wrote it; start this version's server once".into()));
        }
        Self::inline(connection)
    }

    /// Ties the database to `deployment`, because its rows are about that deployment's containers.
    ///
    /// # Errors
    /// [`StoreError::OtherDeployment`] if it holds another deployment's sandboxes.
    pub async fn belong_to(&self, deployment: &str) -> Result<()> {
        let deployment = deployment.to_owned();
        let job = move |c: &Connection| {
            let sql = "SELECT name FROM deployment WHERE name <> ?1 AND EXISTS (SELECT 1 FROM sandboxes)";
            if let Some(other) = c.query_row(sql, [&deployment], |r| r.get(0)).optional()? {
                return Err(StoreError::OtherDeployment(other));
            }
            let sql = "INSERT INTO deployment (one, name) VALUES (1, ?1) ON CONFLICT (one) DO UPDATE SET name = ?1";
            Ok(c.execute(sql, [&deployment]).map(drop)?)
        };
        self.writer.run(job).await
    }

    /// A store that lives as long as its handle and needs no thread: for tests.
    pub fn in_memory() -> Result<Self> {
        let mut connection = Connection::open_in_memory()?;
        connection.pragma_update(None, "foreign_keys", true)?;
        migrations::run(&mut connection)?;
        Self::inline(connection)
    }

    fn inline(mut connection: Connection) -> Result<Self> {
        let known = Known::follow(&mut connection)?;
        let failures = Arc::<Failures>::default();
        let writer = Worker::inline(connection, Arc::clone(&known), Arc::clone(&failures));
        Ok(Self { reader: writer.clone(), writer, known, failures, kept: Arc::default(), _lock: None })
    }

    /// For tests: another handle on the same rows. It waits for `reads` before and after each read, and for `writes`
    /// before and after each write.
    #[cfg(test)]
    #[must_use]
    pub fn hooked(&self, reads: Hook, writes: Hook) -> Self {
        let (known, failures, kept) = (Arc::clone(&self.known), Arc::clone(&self.failures), Arc::clone(&self.kept));
        let (reader, writer) = (self.reader.hooked(reads), self.writer.hooked(writes));
        Self { reader, writer, known, failures, kept, _lock: None }
    }
}

#[cfg(test)]
mod tests;
