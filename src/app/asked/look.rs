//! Look: list sandboxes, or read one. Our own looking is never evidence.

use std::{sync::Arc, time::Duration};

use super::{Asked, rights::on_server};
use crate::{
    app::Result,
    domain::{
        Actor, Evidence, Sandbox, Source, Verb,
        rules::{Rule, broken},
    },
};

impl Asked {
    /// Every sandbox that `by` may see, started and not deleted, oldest first (`CONTRACT.md` 12).
    ///
    /// # Errors
    /// [`Error::Store`](crate::app::Error::Store).
    pub async fn list(&self, by: &Actor) -> Result<Vec<Arc<Sandbox>>> {
        let known = self.records.store.all().await?;
        let visible: Vec<_> = known.into_iter().filter(|s| s.life.state.is_visible()).collect();
        if broken(Rule::OursIsNoEvidence) {
            let looked_at = Evidence { source: Source::CheckIn, at: self.clock.now() };
            let uses = visible.iter().map(|s| (s.id.clone(), s.life.generation, looked_at));
            self.records.store.record_use(uses.collect()).await?;
        }
        Ok(Self::seen_by(by, visible))
    }

    /// One sandbox (`CONTRACT.md` 13).
    ///
    /// # Errors
    /// [`Error::NoSandbox`](crate::app::Error::NoSandbox) if `reference` means nothing to `by`, or more than one.
    pub async fn get(&self, by: &Actor, reference: &str) -> Result<Sandbox> {
        self.allowed(by, Verb::See, reference).await
    }

    /// # Errors
    /// [`Error::Forbidden`](crate::app::Error::Forbidden) if `by` may not have the engine look at every container.
    pub fn may_audit(&self, by: &Actor) -> Result<()> {
        on_server(by, Verb::Audit)
    }

    /// How often images should report; the least idle limit is three of these periods.
    pub fn report_period(&self) -> Duration {
        self.settings.report_period
    }
}
