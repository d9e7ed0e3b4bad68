//! Execs: programs that we run inside, recorded before they start and ended as a whole.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
};

use super::Work;
use crate::{
    app::{Error, Result, chain},
    domain::{Begun, Program, Sandbox, names::hex},
    engine::{Attached, EngineError},
};

/// Which programs inside are ours.
#[derive(Debug)]
pub struct Execs {
    /// Those that somebody looks after now.
    live: Mutex<HashSet<String>>,
    /// There may be records of others: an earlier server's, or those that could not be ended.
    may_be_left: AtomicBool,
}

impl Default for Execs {
    fn default() -> Self {
        Self { live: Mutex::default(), may_be_left: AtomicBool::new(true) }
    }
}

impl Execs {
    fn live(&self) -> MutexGuard<'_, HashSet<String>> {
        self.live.lock().expect("no holder panics")
    }
}

/// A program inside that somebody looks after. If it is dropped before its end, the next pass ends it.
pub struct Running {
    work: Arc<Work>,
    /// Its record.
    pub begun: Begun,
}

impl Running {
    /// Ends the program, if it still runs, and whatever it has left, and forgets it. If that fails, a later pass
    /// does it.
    pub async fn end(self) {
        if let Err(e) = self.work.end_exec(&self.begun).await {
            let sandbox = &self.begun.sandbox;
            tracing::warn!(%sandbox, error = chain(&e), "a program inside could not be ended; the next pass tries again");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.work.execs.may_be_left.store(true, Ordering::SeqCst);
        self.work.execs.live().remove(&self.begun.id);
    }
}

impl Work {
    /// Runs a program in a sandbox. It is recorded before it starts.
    ///
    /// # Errors
    /// [`Error::NotRunning`], [`Error::EngineAway`], [`Error::Engine`], those of the store.
    pub async fn begin_exec(self: &Arc<Self>, sandbox: &Sandbox, program: &Program) -> Result<(Running, Attached)> {
        let container = sandbox.container.as_ref().ok_or(Error::NotRunning)?;
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).map_err(|e| Error::NoRandom(e.to_string()))?;
        let id = hex(&bytes);
        let could_not = |e| match e {
            EngineError::NoContainer => Error::NotRunning,
            e => Error::engine("the program could not be run", e),
        };
        let exec = self.engine.prepare_exec(container, program, &id).await.map_err(could_not)?;
        let (sandbox, container) = (sandbox.id.clone(), container.clone());
        let begun = Begun { id: id.clone(), sandbox, container, exec, user: program.user.clone() };
        self.execs.live().insert(id);
        let running = Running { work: Arc::clone(self), begun };
        self.records.store.begin_exec(running.begun.clone()).await?;
        match self.engine.begin_exec(&running.begun.exec, program.terminal.is_some()).await {
            Ok(attached) => Ok((running, attached)),
            // It may have been started all the same.
            Err(e) => {
                running.end().await;
                Err(could_not(e))
            }
        }
    }

    /// Ends a program, with all that it left, and forgets it.
    async fn end_exec(&self, begun: &Begun) -> Result<()> {
        let ended = self.engine.end_exec(begun).await;
        ended.map_err(|e| Error::engine("a program inside could not be ended", e))?;
        Ok(self.records.store.forget_exec(&begun.id).await?)
    }

    /// The programs that nobody looks after: the caller shall end them.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn left_execs(self: &Arc<Self>) -> Result<Vec<Running>> {
        if !self.execs.may_be_left.swap(false, Ordering::SeqCst) {
            return Ok(Vec::new());
        }
        let recorded = self.records.store.execs().await.inspect_err(|_| {
            self.execs.may_be_left.store(true, Ordering::SeqCst);
        })?;
        let mut live = self.execs.live();
        let left = recorded.into_iter().filter(|begun| live.insert(begun.id.clone()));
        Ok(left.map(|begun| Running { work: Arc::clone(self), begun }).collect())
    }
}
