//! Starting: from a recorded start to a container that runs.

use super::{Tried, Work};
use crate::{
    app::{Error, Result},
    domain::{Actor, ContainerId, Phase, Sandbox, State},
    engine::EngineError,
};

impl Work {
    /// Carries out a recorded start. The caller holds the claim.
    pub async fn finish_start(&self, by: &Actor, sandbox: &Sandbox) -> Result<()> {
        let State::Starting { stopped_at, reason } = sandbox.life.state else { return Ok(()) };
        let Some(container) = &sandbox.container else { return Ok(()) };
        let started = async {
            let _turn = self.turn_to_start().await?;
            self.records.listen(&sandbox.id).await?;
            if let Some(check_in) = self.vitals.reporting() {
                let furnished = self.engine.furnish(sandbox, &check_in).await;
                furnished.map_err(|e| Error::engine("the container could not be started", e))?;
            }
            self.await_start(container);
            self.engine.start(container).await.map_err(|e| Error::engine("the container could not be started", e))?;
            self.running(container).await
        };
        match started.await {
            Ok(to) => {
                if self.records.mark_started(sandbox, to).await? {
                    tracing::info!(sandbox = %sandbox.id, name = %sandbox.name, %by, "started");
                }
                Ok(())
            }
            Err(e) => {
                // If it runs in spite of the error, the next pass sees and records it.
                self.records.mark(sandbox, State::Stopped { at: stopped_at, reason }).await?;
                self.next.wake();
                Err(e)
            }
        }
    }

    /// The state of a container that was just started. If it has ended already, it still ran (`CONTRACT.md` 20): it is
    /// recorded as running, and the pass records its end, like every other.
    ///
    /// # Errors
    /// [`Error::Engine`] if the engine does not show that it was started.
    pub async fn running(&self, container: &ContainerId) -> Result<State> {
        let failed = |e| Error::engine("the container could not be started", e);
        let shown = self.engine.inspect(container).await.map_err(failed)?;
        match shown.phase {
            Phase::Running => {}
            Phase::Exited => self.next.wake(),
            Phase::Created | Phase::Removing | Phase::Unclear => {
                return Err(failed(EngineError::Refused("it was started, and is shown as if it was not".into())));
            }
        }
        Ok(shown.running(self.clock.now(), self.clock.boot()))
    }

    /// Records a start that others made, or that we made before a crash.
    pub async fn record_running(&self, known: &Sandbox, container: &ContainerId) -> Tried {
        let shown = self.engine.inspect(container).await?;
        if shown.phase != Phase::Running {
            return Ok(false);
        }
        let done = self.records.mark_started(known, shown.running(self.clock.now(), self.clock.boot())).await?;
        if done {
            tracing::info!(sandbox = %known.id, name = %known.name, "found running");
        }
        Ok(done)
    }
}
