//! Stop, start, delete: what a person decides about a sandbox.

use std::{sync::Arc, time::Duration};

use super::{App, Error, Result, chain};
use crate::{
    domain::{ContainerId, Decided, Phase, Sandbox, SandboxId, State, StopReason, explain, rules::broken},
    engine::{self, EngineError},
    store::StoreError,
};

/// Beyond the grace, for how long a start waits for a stop to end.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// How long it waits before a stop that failed is tried again.
const STOP_RETRY: Duration = Duration::from_secs(1);

impl App {
    /// Stops a sandbox and answers at once, while it is stopping (`contract.md` 21 and 23).
    ///
    /// # Errors
    /// [`Error::NoSandbox`], [`Error::EngineAway`].
    pub async fn stop(self: &Arc<Self>, reference: &str) -> Result<Sandbox> {
        loop {
            let sandbox = self.get(reference).await?;
            match sandbox.state {
                State::Running { .. } => {
                    self.engine_answers().await?;
                    let to = State::Stopping { since: self.clock.now(), reason: StopReason::Requested };
                    if self.mark(&sandbox, to).await? {
                        tracing::info!(sandbox = %sandbox.id, name = %sandbox.name, reason = "requested", "stopping");
                        let why =
                            explain::ended(&self.settings.policy, &sandbox, StopReason::Requested, self.clock.now());
                        self.decided(&sandbox, Decided::Stopped, why).await;
                        let app = Arc::clone(self);
                        let id = sandbox.id.clone();
                        self.tasks.spawn(async move {
                            let _claim = app.claims.claim(&id).await;
                            let _ = app.finish_stop(&id).await;
                        });
                    }
                }
                // Let the start end; one that was left half done ends here.
                State::Starting { .. } => {
                    let _claim = self.claims.claim(&sandbox.id).await;
                    let sandbox = self.get(reference).await?;
                    if matches!(sandbox.state, State::Starting { .. }) {
                        let to = State::Stopping { since: self.clock.now(), reason: StopReason::Requested };
                        self.mark(&sandbox, to).await?;
                        self.wake();
                    }
                }
                // From now on it is stopped because somebody wants it so, and not for what a connection would undo.
                State::Stopping { since, reason: StopReason::Idle } => {
                    self.mark(&sandbox, State::Stopping { since, reason: StopReason::Requested }).await?;
                }
                State::Stopped { at, reason } if reason.is_undone_by_use() => {
                    self.mark(&sandbox, State::Stopped { at, reason: StopReason::Requested }).await?;
                }
                _ => return Ok(sandbox),
            }
        }
    }

    /// Starts a sandbox and answers when it runs; one that is stopping is started afterwards
    /// (`contract.md` 22 and 23).
    ///
    /// # Errors
    /// [`Error::NoSandbox`], [`Error::EngineAway`], [`Error::PortHeld`], [`Error::Engine`], [`Error::Full`],
    /// [`Error::StillStopping`].
    pub async fn start(self: &Arc<Self>, reference: &str) -> Result<Sandbox> {
        self.start_if(reference, |_| true).await
    }

    /// As [`App::start`], unless it is not to be started any more when its turn comes: then it is answered as it is.
    pub(super) async fn start_if(self: &Arc<Self>, reference: &str, may: impl Fn(&Sandbox) -> bool) -> Result<Sandbox> {
        let patience = tokio::time::sleep(self.settings.stop_grace + STOP_PATIENCE);
        tokio::pin!(patience);
        loop {
            let sandbox = self.get(reference).await?;
            if matches!(sandbox.state, State::Running { .. }) {
                return Ok(sandbox);
            }
            let _claim = tokio::select! {
                claim = self.claims.claim(&sandbox.id) => claim,
                () = &mut patience => return Err(Error::StillStopping),
            };
            let sandbox = self.get(reference).await?;
            match sandbox.state {
                State::Stopping { .. } if broken(4) => return Ok(sandbox),
                State::Stopping { .. } | State::Stopped { .. } if !may(&sandbox) => return Ok(sandbox),
                State::Stopped { at, reason } => {
                    let to = State::Starting { stopped_at: at, reason };
                    let marked = self.store.mark_starting(&sandbox, to, self.settings.max_running).await;
                    let marked = marked.map_err(|e| match e {
                        StoreError::Full(limit) => Error::Full(limit),
                        other => other.into(),
                    })?;
                    if marked && let Some(intent) = self.store.get(&sandbox.id).await? {
                        self.finish_start(&intent).await?;
                    }
                }
                State::Starting { .. } => self.finish_start(&sandbox).await?,
                // Its stop has failed, or was left half done: try once more, then again after a while. What cannot be
                // recorded is not waited for.
                State::Stopping { .. } => match self.finish_stop(&sandbox.id).await {
                    Err(e @ (Error::DatabaseAway(_) | Error::Store(_))) => return Err(e),
                    Err(_) => tokio::select! {
                        () = tokio::time::sleep(STOP_RETRY) => {}
                        () = &mut patience => return Err(Error::StillStopping),
                    },
                    Ok(()) => {}
                },
                _ => {}
            }
        }
    }

    /// Deletes a sandbox, running or not (`contract.md` 25). Once the intent is recorded it is as good as
    /// gone: what the engine does not remove now is removed by the pass.
    ///
    /// # Errors
    /// [`Error::NoSandbox`], [`Error::EngineAway`].
    pub async fn delete(&self, reference: &str) -> Result<()> {
        self.get(reference).await?;
        self.engine_answers().await?;
        let sandbox = loop {
            let sandbox = self.get(reference).await?;
            if self.mark(&sandbox, State::Deleting).await? {
                break sandbox;
            }
        };
        // Without waiting for whoever works on it: removal ends their work.
        let _claim = self.claims.try_claim(&sandbox.id);
        let deleted = Sandbox { state: State::Deleting, ..sandbox };
        self.finish_delete(&deleted).await;
        Ok(())
    }

    /// Carries out a recorded start. The caller holds the claim.
    pub(super) async fn finish_start(&self, sandbox: &Sandbox) -> Result<()> {
        let State::Starting { stopped_at, reason } = sandbox.state else { return Ok(()) };
        let Some(container) = &sandbox.container else { return Ok(()) };
        let started = async {
            let _slot = self.starts.acquire().await.map_err(|_| Error::ShuttingDown)?;
            self.listen(&sandbox.id).await?;
            if let Some(check_in) = self.reporting() {
                let furnished = self.engine.furnish(sandbox, &check_in).await;
                furnished.map_err(|e| Error::engine("the container could not be started", e))?;
            }
            self.engine.start(container).await.map_err(|e| Error::engine("the container could not be started", e))?;
            self.running(container).await
        };
        match started.await {
            Ok(to) => {
                if self.mark_started(sandbox, to).await? {
                    tracing::info!(sandbox = %sandbox.id, name = %sandbox.name, "started");
                }
                Ok(())
            }
            Err(e) => {
                // If it runs all the same, the next pass sees it and records it.
                self.mark(sandbox, State::Stopped { at: stopped_at, reason }).await?;
                self.wake();
                Err(e)
            }
        }
    }

    /// The state of a container that was just started, as the engine shows it.
    ///
    /// # Errors
    /// [`Error::Engine`] with its last words if it has ended by itself already.
    pub(super) async fn running(&self, container: &ContainerId) -> Result<State> {
        let failed = |e| Error::engine("the container could not be started", e);
        let shown = self.engine.inspect(container).await.map_err(failed)?;
        if shown.phase != Phase::Running {
            let words = self.engine.last_words(container).await.map_err(failed)?;
            return Err(failed(EngineError::Refused(format!("its main process ended at once, {words}"))));
        }
        Ok(shown.running(self.clock.now(), self.clock.boot()))
    }

    /// Carries out a recorded deletion; the row goes when the engine has let go.
    pub(super) async fn finish_delete(&self, sandbox: &Sandbox) {
        match self.remove(&sandbox.id, sandbox.container.as_ref()).await {
            Ok(()) => match self.forget(sandbox).await {
                Ok(_) => tracing::info!(sandbox = %sandbox.id, name = %sandbox.name, "deleted"),
                Err(e) => tracing::error!(sandbox = %sandbox.id, error = chain(&e), "a deletion stays recorded"),
            },
            Err(e) => {
                tracing::warn!(sandbox = %sandbox.id, error = %e, "removal failed; it is tried again every pass");
            }
        }
    }

    /// Makes the engine remove what there is of a sandbox, when its turn comes.
    pub(super) async fn remove(&self, id: &SandboxId, container: Option<&ContainerId>) -> engine::Result<()> {
        let _turn = self.removals.acquire().await;
        self.engine.remove(id, container).await
    }

    /// Makes sure that the engine is there before an intent is recorded that needs it.
    async fn engine_answers(&self) -> Result<()> {
        self.engine.info().await.map(drop).map_err(|e| Error::engine("the container could not be changed", e))
    }
}
