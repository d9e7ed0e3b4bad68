//! Resetting: from a recorded reset to a new container in the place of the old one.

use super::{Tried, Work};
use crate::{
    app::{Error, Result},
    domain::{Actor, ImageLabels, Sandbox, SandboxId, State, policy::least_idle_limit},
    engine::{EngineError, SandboxSpec},
};

/// The words with which the errors of a reset begin.
const DOING: &str = "the container could not be made anew";

impl Work {
    /// Carries out a recorded reset: removes what the engine has of the sandbox, makes it anew, and starts it if it
    /// ran. Whatever is cut off is done again: nothing of the old container is worth keeping. The caller holds the
    /// claim.
    ///
    /// # Errors
    /// [`Error::EngineAway`], [`Error::Engine`], [`Error::NoImage`]; [`Error::NoSandbox`] if it was deleted meanwhile.
    pub async fn finish_reset(&self, by: &Actor, id: &SandboxId) -> Result<()> {
        let Some(sandbox) = self.records.store.get(id).await? else { return Ok(()) };
        let State::Resetting { back_to, .. } = sandbox.life.state else { return Ok(()) };
        let failed = |e| Error::engine(DOING, e);
        let spec = self.spec_of(&sandbox, back_to.is_none()).await?;
        let turn = self.turn_to_start().await?;
        // One that a cut-off reset has made is not in the row.
        let shown = self.engine.list().await.map_err(failed)?;
        let mine = shown.into_iter().filter(|o| o.sandbox.as_ref() == Some(id)).map(|o| o.container);
        let mine: Vec<_> = mine.collect();
        for container in mine.iter().chain(sandbox.container.as_ref().filter(|old| !mine.contains(old))) {
            self.remove(id, Some(container)).await.map_err(failed)?;
            self.forget_heard(container);
        }
        self.usage.forget(id);
        let made = self.engine.create(&spec).await.map_err(failed)?;
        if !self.records.store.mark_reset(&sandbox, &made, self.clock.now()).await? {
            // Somebody has deleted it, and does not know this container.
            self.remove(id, Some(&made)).await.map_err(failed)?;
            return Err(Error::NoSandbox(sandbox.name.to_string()));
        }
        drop(turn);
        self.write_down(id).await;
        self.records.show(id).await;
        tracing::info!(sandbox = %id, name = %sandbox.name, container = %made, %by, "reset");
        match self.records.store.get(id).await? {
            Some(now) => self.finish_start(by, &now).await,
            None => Ok(()),
        }
    }

    /// As [`Work::finish_reset`], for the pass.
    pub async fn resume_reset(&self, id: &SandboxId) -> Tried {
        self.finish_reset(&Actor::pass(), id).await?;
        Ok(true)
    }

    /// What the engine needs to make a sandbox again.
    async fn spec_of(&self, sandbox: &Sandbox, starts: bool) -> Result<SandboxSpec> {
        let image = self.image_of(sandbox).await?;
        let labels = ImageLabels::parse(&image, least_idle_limit(self.settings.report_period));
        let check_in = self.vitals.reporting().ok_or_else(|| Error::engine(DOING, EngineError::NoNetwork))?;
        // An image with spoiled labels made this sandbox before; the safe value is good enough.
        let no_new_privileges = labels.map_or(true, |labels| labels.no_new_privileges);
        Ok(SandboxSpec { sandbox: sandbox.clone(), check_in, no_new_privileges, starts })
    }

    /// The labels of a sandbox's image.
    ///
    /// # Errors
    /// [`Error::NoImage`] if it is not here any more.
    pub async fn image_of(&self, sandbox: &Sandbox) -> Result<std::collections::BTreeMap<String, String>> {
        match self.engine.image(&sandbox.recipe.image).await {
            Ok(image) => Ok(image.labels),
            Err(EngineError::NoImage) => Err(Error::NoImage(sandbox.recipe.image.clone())),
            Err(e) => Err(Error::engine(DOING, e)),
        }
    }
}
