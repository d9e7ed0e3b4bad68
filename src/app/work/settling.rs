//! Settling: a change that is recorded, until the engine has done its part.

use super::{Tried, Work};
use crate::{
    app::{Error, Result, chain},
    domain::{Invalid, Sandbox, SandboxId},
    engine::EngineError,
};

impl Work {
    /// Makes the engine's part of a sandbox as in `to`; `from`: as it is, if that is known. The caller holds the claim.
    ///
    /// # Errors
    /// [`Error::EngineAway`]; [`Error::NameTaken`], [`Error::Invalid`] and [`Error::Engine`] with what it refused.
    pub async fn fit(&self, from: Option<&Sandbox>, to: &Sandbox) -> Result<()> {
        let Some(container) = &to.container else { return Ok(()) };
        let limits = |s: &Sandbox| (s.recipe.memory, s.recipe.cpus);
        // What is refused most often comes first.
        if from.is_none_or(|from| limits(from) != limits(to)) {
            let (memory, cpus) = limits(to);
            self.engine.limit(container, memory, cpus).await.map_err(|e| match e {
                EngineError::TooManyCpus(allowed) => Invalid::new("cpus", &cpus.to_string(), allowed).into(),
                e => Error::engine("the limits of the container could not be changed", e),
            })?;
        }
        if from.is_none_or(|from| from.name != to.name) {
            // The engine may still hold a deleted container that has this name.
            self.make_way(|deleted| deleted.name == to.name).await?;
            self.engine.rename(container, &to.name).await.map_err(|e| match e {
                EngineError::NameTaken(holder) => {
                    let short: String = holder.chars().take(12).collect();
                    let whose = format!("container {short} of Docker's, which is not this server's");
                    Error::NameTaken(to.name.clone(), whose)
                }
                e => Error::engine("the container could not be renamed", e),
            })?;
        }
        match &to.recipe.ssh_key {
            Some(keys) if from.is_none_or(|from| from.recipe.ssh_key != to.recipe.ssh_key) => {
                let admitted = self.engine.admit(&to.id, keys).await;
                admitted.map_err(|e| Error::engine("the keys of the container could not be changed", e))
            }
            _ => Ok(()),
        }
    }

    /// Has the engine make its part of a change whose intent is recorded: from `before` to `after`. What it refuses is
    /// taken back, here and there. The caller holds the claim.
    ///
    /// # Errors
    /// As [`Work::fit`]. If the engine is away, the intent stays, and the pass makes it do its part.
    pub async fn carry_out(&self, before: &Sandbox, after: &Sandbox) -> Result<()> {
        let Err(refused) = self.fit(Some(before), after).await else { return Ok(()) };
        if matches!(refused, Error::EngineAway(_)) {
            self.next.wake();
            return Err(refused);
        }
        self.records.store.take_back(before).await?;
        match self.fit(None, before).await {
            Ok(()) => self.records.store.settle(&before.id).await?,
            Err(e) => {
                tracing::debug!(sandbox = %before.id, error = chain(&e), "what was refused is taken back later");
                self.next.wake();
            }
        }
        Err(refused)
    }

    /// Makes the engine's part as the row says, after a crash or an outage. What it refuses is recorded as the engine
    /// has it.
    pub async fn settle(&self, id: &SandboxId) -> Tried {
        let Some(sandbox) = self.records.store.get(id).await?.filter(|s| s.life.seen.unsettled) else {
            return Ok(false);
        };
        match self.fit(None, &sandbox).await {
            Ok(()) => self.records.store.settle(id).await?,
            Err(e @ (Error::NameTaken(..) | Error::Invalid(_) | Error::Engine { .. })) => {
                let Some(container) = &sandbox.container else { return Ok(false) };
                let shown = self.engine.inspect(container).await?;
                tracing::warn!(sandbox = %id, name = %sandbox.name, error = chain(&e), "a change is taken back: the engine refuses it");
                self.records.store.record_shown(&sandbox, &shown).await?;
            }
            Err(e) => return Err(e.into()),
        }
        self.write_down(id).await;
        self.records.show(id).await;
        Ok(true)
    }
}
