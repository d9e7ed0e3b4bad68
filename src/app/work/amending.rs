//! Amending: what may change of a sandbox is in its row, and, in case all rows are lost, written down by the engine.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard},
};

use super::{Claims, Work};
use crate::{
    app::{Error, Result, chain},
    domain::{Sandbox, SandboxId},
    engine::EngineError,
};

/// Which sandboxes may be written down otherwise than their rows say.
#[derive(Debug)]
struct Behind {
    /// Perhaps all: nothing is known before the first look, or all rows were changed.
    all: bool,
    some: HashSet<SandboxId>,
    /// The log says that they cannot be written down.
    is_told: bool,
}

/// Who amends which sandbox, and what is left to do.
#[derive(Debug)]
pub struct Amending {
    /// Held while a sandbox is written down, so that no older row overwrites a newer one. These claims are apart from
    /// those for the engine: somebody who keeps a sandbox must not wait for its stop.
    turns: Arc<Claims>,
    behind: Mutex<Behind>,
}

impl Default for Amending {
    fn default() -> Self {
        let behind = Behind { all: true, some: HashSet::new(), is_told: false };
        Self { turns: Arc::default(), behind: Mutex::new(behind) }
    }
}

impl Amending {
    fn behind(&self) -> MutexGuard<'_, Behind> {
        self.behind.lock().expect("no holder panics")
    }

    /// A row may be changed from now on: unless [`Work::write_down`] follows, the next [`Work::catch_up`] looks at it.
    pub fn doubt(&self, id: &SandboxId) {
        self.behind().some.insert(id.clone());
    }

    /// All rows were changed at once: the next [`Work::catch_up`] looks at all of them.
    pub fn doubt_all(&self) {
        self.behind().all = true;
    }

    /// Those that may be behind.
    fn doubted(&self, known: &[Arc<Sandbox>]) -> Vec<SandboxId> {
        let mut behind = self.behind();
        if std::mem::take(&mut behind.all) {
            behind.some.extend(known.iter().map(|s| s.id.clone()));
        }
        known.iter().map(|s| &s.id).filter(|id| behind.some.contains(id)).cloned().collect()
    }

    /// It is written down as its row says, or gone.
    pub(super) fn forget(&self, id: &SandboxId) {
        self.behind().some.remove(id);
    }
}

impl Work {
    /// Changes a sandbox: `amended` makes it as it will be, `record` changes its row. It is written down first, so that
    /// a change that would not survive is refused.
    ///
    /// # Errors
    /// [`Error::NotWritten`], and nothing was changed; those of `record`.
    pub async fn amend<T>(
        &self,
        id: &SandboxId,
        amended: impl FnOnce(&Sandbox) -> Sandbox,
        record: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let _turn = self.amending.turns.claim(id).await;
        if let Some(now) = self.visible(id).await? {
            // Until the row is changed too they differ, whatever becomes of this call.
            self.amending.doubt(id);
            self.engine.amend(&amended(&now)).await.map_err(Error::NotWritten)?;
        }
        let done = record.await?;
        self.amending.forget(id);
        Ok(done)
    }

    /// Writes a sandbox down as its row says, after a change that nothing may refuse. If that fails, a later pass does
    /// it.
    pub async fn write_down(&self, id: &SandboxId) {
        self.amending.doubt(id);
        let _turn = self.amending.turns.claim(id).await;
        if let Err(e) = self.try_write_down(id).await {
            tracing::debug!(sandbox = %id, error = chain(&e), "it is written down later");
        }
    }

    /// As [`Work::write_down`]; the caller has the turn.
    async fn try_write_down(&self, id: &SandboxId) -> Result<()> {
        if let Some(now) = self.visible(id).await? {
            self.engine.amend(&now).await.map_err(Error::NotWritten)?;
        }
        self.amending.forget(id);
        Ok(())
    }

    /// Writes down all that may be behind: after a start of ours, and where it failed.
    pub async fn catch_up(&self, known: &[Arc<Sandbox>]) {
        let mut failed = None;
        for id in self.amending.doubted(known) {
            let _turn = self.amending.turns.claim(&id).await;
            failed = self.try_write_down(&id).await.err().or(failed);
            // A disk that does not answer holds up the pass only once.
            if matches!(failed, Some(Error::NotWritten(EngineError::Timeout { .. }))) {
                break;
            }
        }
        let was_told = std::mem::replace(&mut self.amending.behind().is_told, failed.is_some());
        match failed {
            Some(e) if !was_told => tracing::warn!(
                error = chain(&e),
                "what was changed is not written down: if the database is lost now, sandboxes are as they were before"
            ),
            None if was_told => tracing::info!("what was changed is written down again"),
            _ => {}
        }
    }

    /// Waits until nobody writes a sandbox down. If its row says that it is deleted, nobody will any more.
    pub(super) async fn end_amending(&self, id: &SandboxId) {
        drop(self.amending.turns.claim(id).await);
    }

    /// The row of a sandbox, if callers may see it. What nobody has seen need not be rebuilt.
    async fn visible(&self, id: &SandboxId) -> Result<Option<Sandbox>> {
        Ok(self.records.store.get(id).await?.filter(|s| s.life.state.is_visible()))
    }
}
