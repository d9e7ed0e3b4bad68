//! One thread that owns one connection. The writer's commits what has gathered as one group, so that
//! durable and fast go together: the answer to each write comes after the group's commit.

use std::{panic::AssertUnwindSafe, sync::mpsc, thread};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{Result, StoreError};

/// A step done on the connection; what it returns runs once the group is committed, or not.
type Job = Box<dyn FnOnce(&Connection) -> Answer + Send>;
type Answer = Box<dyn FnOnce(bool)>;

/// The most writes that share a commit.
const GROUP: usize = 256;

/// A handle on such a thread, which ends with the last handle.
#[derive(Debug, Clone)]
pub struct Worker(mpsc::Sender<Job>);

impl Worker {
    /// A thread that runs jobs in groups, each group a transaction and each job a savepoint in it.
    pub fn writer(connection: Connection) -> Self {
        Self::spawn("store-writer", move |jobs| {
            while let Ok(first) = jobs.recv() {
                let mut group = vec![first];
                group.extend(jobs.try_iter().take(GROUP - 1));
                commit(&connection, group);
            }
        })
    }

    /// A thread that runs jobs one by one, for reading.
    pub fn reader(connection: Connection) -> Self {
        Self::spawn("store-reader", move |jobs| {
            while let Ok(job) = jobs.recv() {
                job(&connection)(true);
            }
        })
    }

    fn spawn(name: &str, body: impl FnOnce(mpsc::Receiver<Job>) + Send + 'static) -> Self {
        let (sender, receiver) = mpsc::channel();
        thread::Builder::new().name(name.into()).spawn(move || body(receiver)).expect("the machine has threads");
        Self(sender)
    }

    /// Runs `f` on the thread. An error, or a panic, undoes what `f` wrote and nothing else.
    pub async fn run<T: Send + 'static>(&self, f: impl FnOnce(&Connection) -> Result<T> + Send + 'static) -> Result<T> {
        let (sender, receiver) = oneshot::channel();
        let job = move |connection: &Connection| -> Answer {
            let result = std::panic::catch_unwind(AssertUnwindSafe(|| in_savepoint(connection, f)))
                .unwrap_or_else(|_| Err(StoreError::Corrupt("a statement panicked".into())));
            Box::new(move |committed| {
                // A caller that has gone away needs no answer.
                let _ = sender.send(if committed { result } else { result.and(Err(StoreError::NotCommitted)) });
            })
        };
        self.0.send(Box::new(job)).map_err(|_| StoreError::NotCommitted)?;
        receiver.await.map_err(|_| StoreError::NotCommitted)?
    }
}

fn in_savepoint<T>(connection: &Connection, f: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
    /// Undoes the savepoint when dropped before `kept` is set, by an error or a panic alike.
    struct Savepoint<'c>(&'c Connection, bool);
    impl Drop for Savepoint<'_> {
        fn drop(&mut self) {
            let end = if self.1 { "RELEASE job" } else { "ROLLBACK TO job; RELEASE job" };
            let _ = self.0.execute_batch(end);
        }
    }
    connection.execute_batch("SAVEPOINT job")?;
    let mut savepoint = Savepoint(connection, false);
    let value = f(connection)?;
    savepoint.1 = true;
    Ok(value)
}

fn commit(connection: &Connection, group: Vec<Job>) {
    if connection.execute_batch("BEGIN IMMEDIATE").is_err() {
        // Dropping the jobs tells their callers that nothing was written.
        return;
    }
    let mut answers: Vec<Answer> = Vec::with_capacity(group.len());
    for job in group {
        answers.push(job(connection));
        // SQLite may roll the whole group back by itself, as when the disk is full; what came after would then
        // be written outside of it.
        if connection.is_autocommit() {
            break;
        }
    }
    let committed = !connection.is_autocommit() && connection.execute_batch("COMMIT").is_ok();
    if !committed && !connection.is_autocommit() {
        let _ = connection.execute_batch("ROLLBACK");
    }
    for answer in answers {
        answer(committed);
    }
}
