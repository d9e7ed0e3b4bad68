//! Stopping: from a recorded stop to a container that has ended.

use super::{Tried, Work};
use crate::{
    app::{Error, Result, chain},
    domain::{
        SandboxId, State,
        rules::{Rule, broken},
    },
    engine::EngineError,
    store::StoreError,
};

impl Work {
    /// Carries out a recorded stop, and logs what goes wrong. The caller holds the claim.
    ///
    /// # Errors
    /// Those of the store as they are; [`Error::StillStopping`] for all others.
    pub async fn finish_stop(&self, id: &SandboxId) -> Result<()> {
        let tried = self.try_finish_stop(id).await;
        if let Err(e) = &tried {
            let error = chain(e.as_ref());
            tracing::warn!(sandbox = %id, error, "a stop failed; it is tried again every pass");
        }
        self.next.wake();
        tried.map(drop).map_err(|e| match e.downcast::<StoreError>() {
            Ok(e) => (*e).into(),
            Err(e) => e.downcast().map_or(Error::StillStopping, |e| *e),
        })
    }

    /// As [`Work::finish_stop`], but returns the error itself, and whether anything was done.
    ///
    /// # Errors
    /// Those of the engine and the store.
    pub async fn try_finish_stop(&self, id: &SandboxId) -> Tried {
        let Some(sandbox) = self.records.store.get(id).await? else { return Ok(false) };
        let (State::Stopping { .. }, Some(container)) = (&sandbox.life.state, &sandbox.container) else {
            return Ok(false);
        };
        // From here on it may or may not end; if it does not, its reports meanwhile count.
        if sandbox.life.state.ends_by_deadline() {
            self.note_cut_off(&sandbox, None, self.ending());
        }
        match self.engine.stop(container, self.settings.stop_grace).await {
            Ok(()) if broken(Rule::StopNeverDeletes) => Ok(self.remove(id, Some(container)).await.map(|()| true)?),
            Ok(()) => self.record_stopped(&sandbox, false).await,
            Err(EngineError::NoContainer) => self.forget_gone(&sandbox).await,
            Err(e) => Err(e.into()),
        }
    }
}
