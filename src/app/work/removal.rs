//! Removal: a deleted or lost sandbox leaves nothing behind.

use std::time::Duration;

use futures_util::{FutureExt, future::select_ok};

use super::{Tried, Work};
use crate::{
    app::Result,
    domain::{ContainerId, Sandbox, SandboxId, State},
    engine::{self, EngineError},
};

/// How long a caller waits for a removal that frees what it needs.
const REMOVAL_PATIENCE: Duration = Duration::from_mins(1);

impl Work {
    /// Waits until the engine has removed one of the deleted sandboxes that are `in_the_way`: callers were told that
    /// these are deleted, and rely on it. Returns whether one is gone.
    pub async fn make_way(&self, in_the_way: impl Fn(&Sandbox) -> bool) -> Result<bool> {
        let known = self.records.store.all().await?;
        let leaving = known.iter().filter(|s| s.life.state == State::Deleting && in_the_way(s));
        let leaving: Vec<_> = leaving.map(|gone| self.see_off(gone).boxed()).collect();
        if leaving.is_empty() {
            return Ok(false);
        }
        Ok(matches!(tokio::time::timeout(REMOVAL_PATIENCE, select_ok(leaving)).await, Ok(Ok(_))))
    }

    /// Waits until a deleted sandbox is gone, whoever removes it.
    async fn see_off(&self, gone: &Sandbox) -> Tried {
        let _claim = self.claims.claim(&gone.id).await;
        match self.records.store.get(&gone.id).await? {
            Some(_) => self.finish_delete(gone).await,
            None => Ok(true),
        }
    }

    /// Carries out a recorded deletion; the row goes after the engine has removed the container.
    pub async fn finish_delete(&self, sandbox: &Sandbox) -> Tried {
        self.remove(&sandbox.id, sandbox.container.as_ref()).await?;
        let done = self.forget(sandbox).await?;
        if done {
            tracing::info!(sandbox = %sandbox.id, name = %sandbox.name, "deleted");
        }
        Ok(done)
    }

    /// Makes the engine remove all that it has of a sandbox, when its turn comes.
    pub async fn remove(&self, id: &SandboxId, container: Option<&ContainerId>) -> engine::Result<()> {
        let _turn = self.removals.acquire().await;
        self.end_amending(id).await;
        self.engine.remove(id, container).await
    }

    /// Forgets a sandbox whose container is gone, once a second look has confirmed it.
    pub async fn forget_gone(&self, known: &Sandbox) -> Tried {
        // A reset may have given it another container since the look.
        let now = self.records.store.get(&known.id).await?;
        if now.is_none_or(|now| now.container != known.container) {
            return Ok(false);
        }
        if let Some(container) = &known.container {
            match self.engine.inspect(container).await {
                Err(EngineError::NoContainer) => {}
                Err(e) => return Err(e.into()),
                Ok(_) => return Err("the engine holds its container, and does not list it among this server's".into()),
            }
        }
        // Its volumes, for example, may be left.
        self.remove(&known.id, known.container.as_ref()).await?;
        let done = self.forget(known).await?;
        if done {
            tracing::warn!(sandbox = %known.id, name = %known.name, "forgotten: its container was removed by others");
        }
        Ok(done)
    }

    /// Forgets a sandbox, if `seen` is still true: in the rows, at the relay, and in our memory.
    ///
    /// # Errors
    /// [`Error::RelayAway`](crate::app::Error::RelayAway), those of the store.
    pub async fn forget(&self, seen: &Sandbox) -> Result<bool> {
        let done = self.records.forget_row(seen).await?;
        self.usage.forget(&seen.id);
        self.amending.forget(&seen.id);
        self.cut_off().remove(&seen.id);
        self.set_failing(seen.id.clone(), false);
        if let Some(container) = &seen.container {
            self.forget_heard(container);
        }
        Ok(done)
    }
}
