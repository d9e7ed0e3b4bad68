//! Worker: one thread that owns one connection. The writer commits all waiting writes as one group, to be durable and
//! fast: each write is answered after the group's commit. A database in memory needs no thread: the callers do the
//! work.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, mpsc},
    thread,
    time::Duration,
};

use rusqlite::Connection;
use tokio::sync::oneshot;

#[cfg(test)]
use super::faults::{Failing, Fault};
use super::{Result, StoreError, events::stamp, failures::Failures, heartbeat::Place, known::Known};

/// Work on the connection, or `None` if it cannot be done. The returned answer is called after the group's commit, with
/// the reason if that failed.
type Job = Box<dyn FnOnce(Option<&Connection>) -> Answer + Send>;
type Answer = Box<dyn FnOnce(Option<&str>)>;

/// A job, and whether somebody waits for its answer.
struct Sent {
    job: Job,
    is_awaited: bool,
}

/// The most writes that share a commit.
const GROUP: usize = 256;

/// How long writes for which nobody waits stay for one to share a commit with.
const LINGER: Duration = Duration::from_millis(5);

/// A handle on such a thread, which ends with the last handle, or on a connection that its callers work on.
#[derive(Debug, Clone)]
pub struct Worker {
    hands: Hands,
    failures: Arc<Failures>,
    /// Waited for before and after each job.
    #[cfg(test)]
    hook: Option<Hook>,
}

#[derive(Debug, Clone)]
enum Hands {
    Thread(mpsc::Sender<Sent>),
    Callers(Arc<Mutex<Connection>>, Arc<Known>),
}

impl Worker {
    /// A thread that runs jobs in groups, each group a transaction and each job a savepoint in it.
    pub fn writer(connection: Connection, place: Place, known: Arc<Known>, failures: Arc<Failures>) -> Self {
        let fails = Arc::clone(&failures);
        Self::spawn("store-writer", failures, move |jobs| {
            while let Ok(first) = jobs.recv() {
                let mut group = vec![first];
                group.extend(jobs.try_iter().take(GROUP - 1));
                // A commit of their own would delay whoever comes a moment later.
                while group.len() < GROUP && !group.iter().any(|sent| sent.is_awaited) {
                    let Ok(next) = jobs.recv_timeout(LINGER) else { break };
                    group.push(next);
                }
                let group = group.into_iter().map(|sent| sent.job).collect();
                commit(&connection, Some(&place), &known, &fails, group);
            }
        })
    }

    /// A thread that runs jobs one by one, for reading.
    pub fn reader(connection: Connection, failures: Arc<Failures>) -> Self {
        Self::spawn("store-reader", failures, move |jobs| {
            while let Ok(sent) = jobs.recv() {
                (sent.job)(Some(&connection))(None);
            }
        })
    }

    fn spawn(name: &str, failures: Arc<Failures>, body: impl FnOnce(mpsc::Receiver<Sent>) + Send + 'static) -> Self {
        let (sender, receiver) = mpsc::channel();
        thread::Builder::new().name(name.into()).spawn(move || body(receiver)).expect("the machine has threads");
        Self::with(Hands::Thread(sender), failures)
    }

    /// No thread: each caller does its own work, one at a time, and each job is a group of its own.
    pub fn inline(connection: Connection, known: Arc<Known>, failures: Arc<Failures>) -> Self {
        Self::with(Hands::Callers(Arc::new(Mutex::new(connection)), known), failures)
    }

    fn with(hands: Hands, failures: Arc<Failures>) -> Self {
        Self {
            hands,
            failures,
            #[cfg(test)]
            hook: None,
        }
    }

    /// For tests: another handle that calls `hook` before and after each job.
    #[cfg(test)]
    pub fn hooked(&self, hook: Hook) -> Self {
        Self { hook: Some(hook), ..self.clone() }
    }

    /// Runs `f`. An error, or a panic, undoes what `f` wrote and nothing else. A failure of the store is noted before
    /// any later job runs, even if the caller no longer waits.
    pub async fn run<T: Send + 'static>(&self, f: impl FnOnce(&Connection) -> Result<T> + Send + 'static) -> Result<T> {
        self.run_then(f, |_| ()).await
    }

    /// As [`Worker::run`]; `then` is called with whether `f` is committed, before any later job runs, even if the
    /// caller no longer waits.
    pub async fn run_then<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
        then: impl FnOnce(bool) + Send + 'static,
    ) -> Result<T> {
        let (sender, receiver) = oneshot::channel();
        let job = self.job(f, move |answer| {
            then(answer.is_ok());
            // A caller that has gone away needs no answer.
            let _ = sender.send(answer);
        });
        #[cfg(test)]
        let fault = Hook::call(self.hook.as_ref()).await;
        match &self.hands {
            Hands::Thread(jobs) => {
                jobs.send(Sent { job, is_awaited: true }).map_err(|_| self.failures.ended())?;
            }
            Hands::Callers(connection, known) => {
                let connection = connection.lock().expect("jobs' panics are caught");
                #[cfg(test)]
                let connection = Failing::of(connection, fault);
                commit(&connection, None, known, &self.failures, vec![job]);
            }
        }
        let answer = receiver.await.map_err(|_| self.failures.ended())?;
        #[cfg(test)]
        Hook::call(self.hook.as_ref()).await;
        answer
    }

    /// Sends `f`, and does not wait. It is done before whatever is sent later, on the disk no later than that, and
    /// delays no commit.
    /// `then` is called after the commit, with the reason if that failed.
    pub fn post(
        &self,
        f: impl FnOnce(&Connection) -> Result<()> + Send + 'static,
        then: impl FnOnce(Result<()>) + Send + 'static,
    ) {
        let job = self.job(f, then);
        match &self.hands {
            // If the thread has ended, nobody can be told.
            Hands::Thread(jobs) => drop(jobs.send(Sent { job, is_awaited: false })),
            Hands::Callers(connection, known) => {
                let connection = connection.lock().expect("jobs' panics are caught");
                commit(&connection, None, known, &self.failures, vec![job]);
            }
        }
    }

    /// `f` as a job; `then` is called with its answer.
    fn job<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
        then: impl FnOnce(Result<T>) + Send + 'static,
    ) -> Job {
        let failures = Arc::clone(&self.failures);
        Box::new(move |connection: Option<&Connection>| -> Answer {
            let result = connection.map(|connection| {
                std::panic::catch_unwind(AssertUnwindSafe(|| in_savepoint(connection, f)))
                    .unwrap_or_else(|_| Err(StoreError::Corrupt("a statement panicked".into())))
                    .map_err(|e| failures.noted(e))
            });
            Box::new(move |failed| {
                then(match (result, failed) {
                    (Some(Err(e)), _) => Err(e),
                    (Some(Ok(value)), None) => Ok(value),
                    (_, failed) => Err(StoreError::Failed(failed.unwrap_or_default().to_owned())),
                });
            })
        })
    }
}

/// What a test does before and after each job of a handle. It returns how the job shall fail, if at all.
#[cfg(test)]
#[derive(Clone)]
pub struct Hook(pub Arc<dyn Fn() -> Hooked + Send + Sync>);

#[cfg(test)]
type Hooked = std::pin::Pin<Box<dyn Future<Output = Option<Fault>> + Send>>;

#[cfg(test)]
impl Hook {
    async fn call(hook: Option<&Self>) -> Option<Fault> {
        hook?.0().await
    }
}

#[cfg(test)]
impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hook")
    }
}

fn in_savepoint<T>(connection: &Connection, f: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
    /// Undoes the savepoint on an error or a panic: when dropped before it is marked as kept.
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

fn commit(connection: &Connection, place: Option<&Place>, known: &Known, failures: &Failures, group: Vec<Job>) {
    let before = failures.count();
    // A transaction that stays open would lock out all others.
    if !connection.is_autocommit() {
        let _ = connection.execute_batch("ROLLBACK");
    }
    let begun = match place.and_then(Place::lost) {
        Some(why) => Err(failures.add(why)),
        None => connection.execute_batch("BEGIN IMMEDIATE").map_err(|e| failures.note(&e)),
    };
    // SQLite may roll the whole group back by itself, for example when the disk is full. Later jobs would then write
    // outside of the group, so they are not done.
    let answers: Vec<Answer> =
        group.into_iter().map(|job| job(Some(connection).filter(|c| !c.is_autocommit()))).collect();
    let ended = match begun {
        Ok(()) if connection.is_autocommit() => Err(failures.why().unwrap_or_default()),
        Ok(()) => {
            let stamped = known.happened_at().map_or(Ok(()), |at| stamp(connection, at));
            stamped.and_then(|()| connection.execute_batch("COMMIT")).map_err(|e| failures.note(&e))
        }
        failed => failed,
    };
    if !connection.is_autocommit() {
        let _ = connection.execute_batch("ROLLBACK");
    }
    if failures.count() == before {
        failures.are_over();
    }
    // Before the answers, so that a caller with an answer reads its change.
    known.committed();
    for answer in answers {
        answer(ended.as_ref().err().map(String::as_str));
    }
}
