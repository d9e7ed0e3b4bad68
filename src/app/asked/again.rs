//! Again: a sandbox is restarted with its files, or made anew without them.

use std::sync::Arc;

use super::Asked;
use crate::{
    app::{Error, Result},
    domain::{Actor, Sandbox, State, StopReason, Verb},
};

impl Asked {
    /// Stops a sandbox and starts it, in one; one that does not run is started. Answers when it runs.
    ///
    /// # Errors
    /// Those of [`Asked::start`]; [`Error::StillStopping`] if the engine cannot stop it.
    pub async fn restart(self: &Arc<Self>, by: &Actor, reference: &str) -> Result<Sandbox> {
        let found = self.allowed(by, Verb::Restart, reference).await?;
        self.actions.of(by, Verb::Restart, &found).around(self.restart_found(by, &found)).await
    }

    async fn restart_found(self: &Arc<Self>, by: &Actor, found: &Sandbox) -> Result<Sandbox> {
        self.work.engine_answers().await?;
        let claim = self.work.claims.claim(&found.id).await;
        let sandbox = self.records.again(found).await?;
        let to = State::Stopping { since: self.clock.now(), reason: StopReason::Restart };
        // The intent is that it runs again. Connections wait for that, and whatever is cut off, the pass finishes it.
        if matches!(sandbox.life.state, State::Running { .. }) && self.records.mark(&sandbox, to).await? {
            self.work.finish_stop(&sandbox.id).await?;
            let sandbox = self.records.again(found).await?;
            match sandbox.life.state {
                State::Starting { .. } => self.work.finish_start(by, &sandbox).await?,
                // Somebody has stopped it meanwhile.
                _ => return Ok(sandbox),
            }
        }
        drop(claim);
        // It runs now, or it did not run before.
        self.start_if(by, found, |_| true).await
    }

    /// Makes a sandbox anew from its recipe: the same name, ports, keys, token, limits, labels and owner; its files are
    /// gone. It runs afterwards if it ran before. Its container's earlier ids go on meaning it.
    ///
    /// # Errors
    /// [`Error::NoSandbox`], [`Error::NoImage`] and nothing is changed; [`Error::EngineAway`], [`Error::Engine`]: then
    /// the pass finishes it.
    pub async fn reset(self: &Arc<Self>, by: &Actor, reference: &str) -> Result<Sandbox> {
        let found = self.allowed(by, Verb::Reset, reference).await?;
        self.actions.of(by, Verb::Reset, &found).around(self.reset_found(by, &found)).await
    }

    /// # Errors
    /// [`Error::NoSandbox`], [`Error::Forbidden`]: why `by` may not reset that sandbox.
    pub async fn may_reset(&self, by: &Actor, reference: &str) -> Result<()> {
        self.allowed(by, Verb::Reset, reference).await.map(drop)
    }

    async fn reset_found(self: &Arc<Self>, by: &Actor, found: &Sandbox) -> Result<Sandbox> {
        // The first pass may still adopt what a reset would replace.
        self.vitals.begun("the container could not be made anew").await?;
        self.work.image_of(found).await?;
        let _claim = self.work.claims.claim(&found.id).await;
        loop {
            let sandbox = self.records.again(found).await?;
            let at = self.clock.now();
            let to = match sandbox.life.state {
                State::Stopped { at, reason } => State::Resetting { at, back_to: Some(reason) },
                // It was to run again.
                State::Stopping { reason: StopReason::Restart, .. } => State::Resetting { at, back_to: None },
                // A stop that is under way is overtaken, and then it is stopped.
                State::Stopping { reason, .. } => State::Resetting { at, back_to: Some(reason) },
                State::Resetting { .. } => break,
                _ => State::Resetting { at, back_to: None },
            };
            if let (None, Some(container)) = (&sandbox.recipe.launch, &sandbox.container) {
                let told = self.engine.recover(container).await;
                let told = told.map_err(|e| Error::engine("the container could not be made anew", e))?;
                self.records.store.set_launch(&sandbox.id, told.recipe).await?;
            }
            if self.records.mark(&sandbox, to).await? {
                break;
            }
        }
        self.work.finish_reset(by, &found.id).await?;
        self.records.again(found).await
    }
}
