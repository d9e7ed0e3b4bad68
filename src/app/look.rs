//! Look: sandboxes as they are. What we do ourselves is never evidence.

use std::sync::Arc;

use super::{App, Error, Result};
use crate::domain::{
    Evidence, Sandbox, SandboxRef, Source,
    rules::{Rule, broken},
};

impl App {
    /// Every sandbox that was started and not deleted, oldest first (`CONTRACT.md` 12).
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn list(&self) -> Result<Vec<Arc<Sandbox>>> {
        let known = self.store.all().await?;
        let visible: Vec<_> = known.into_iter().filter(|s| s.life.state.is_visible()).collect();
        if broken(Rule::OursIsNoEvidence) {
            let looked_at = Evidence { source: Source::CheckIn, at: self.clock.now() };
            let uses = visible.iter().map(|s| (s.id.clone(), s.life.generation, looked_at));
            self.store.record_use(uses.collect()).await?;
        }
        Ok(visible)
    }

    /// One sandbox (`CONTRACT.md` 13).
    ///
    /// # Errors
    /// [`Error::NoSandbox`] if nothing, or more than one, is meant by `reference`.
    pub async fn get(&self, reference: &str) -> Result<Sandbox> {
        let found = self.store.find(&SandboxRef::parse(reference)).await?;
        found.ok_or_else(|| Error::NoSandbox(reference.chars().take(128).collect()))
    }

    /// Looks at every container anew before an answer (`CONTRACT.md` 15). It is a pass like any other:
    /// it shortens no life.
    ///
    /// # Errors
    /// [`Error::EngineAway`] if the engine could not be looked at.
    pub async fn audit(self: &Arc<Self>) -> Result<()> {
        self.pulse().suspect_all = true;
        self.converge().await.has_looked("the containers could not be looked at")
    }
}
