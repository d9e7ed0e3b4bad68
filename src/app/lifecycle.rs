//! Stop, start, delete: what a person decides about a sandbox.

use std::{sync::Arc, time::Duration};

use futures_util::{
    FutureExt,
    future::{WeakShared, select_ok},
};

use super::{App, Error, Result, chain, steps::Tried};
use crate::{
    domain::{
        ContainerId, Decided, Phase, Sandbox, SandboxId, State, StopReason, explain,
        rules::{Rule, broken},
    },
    engine::{self, EngineError},
    store::StoreError,
};

/// Beyond the grace, for how long a start waits for a stop to end.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// For how long a removal is waited for by who needs what it frees.
const REMOVAL_PATIENCE: Duration = Duration::from_secs(60);

/// How long it waits before a stop that failed is tried again.
const STOP_RETRY: Duration = Duration::from_secs(1);

impl App {
    /// Stops a sandbox and answers at once, while it is stopping (`CONTRACT.md` 21 and 23).
    ///
    /// # Errors
    /// [`Error::NoSandbox`], [`Error::EngineAway`].
    pub async fn stop(self: &Arc<Self>, reference: &str) -> Result<Sandbox> {
        loop {
            let sandbox = self.get(reference).await?;
            match sandbox.life.state {
                State::Running { .. } => {
                    self.engine_answers().await?;
                    let to = State::Stopping { since: self.clock.now(), reason: StopReason::Requested };
                    if self.mark(&sandbox, to.clone()).await? {
                        tracing::info!(sandbox = %sandbox.id, name = %sandbox.name, reason = "requested", "stopping");
                        let stopping = sandbox.in_state(to);
                        let app = Arc::clone(self);
                        self.tasks.spawn(async move { app.carry_out_stop(&sandbox).await });
                        // As it was recorded: read again it may have stopped already.
                        return Ok(stopping);
                    }
                }
                // Let the start end; one that was left half done ends here.
                State::Starting { .. } => {
                    let _claim = self.claims.claim(&sandbox.id).await;
                    let sandbox = self.get(reference).await?;
                    if matches!(sandbox.life.state, State::Starting { .. }) {
                        let to = State::Stopping { since: self.clock.now(), reason: StopReason::Requested };
                        self.mark(&sandbox, to).await?;
                        self.wake();
                    }
                }
                // From now on it is stopped because somebody wants it so, and not for what a connection would undo.
                State::Stopping { since, reason: StopReason::Idle } => {
                    self.mark(&sandbox, State::Stopping { since, reason: StopReason::Requested }).await?;
                }
                State::Stopped { at, .. } if sandbox.is_undone_by_use() => {
                    self.mark(&sandbox, State::Stopped { at, reason: StopReason::Requested }).await?;
                }
                _ => return Ok(sandbox),
            }
        }
    }

    /// Stops a sandbox whose stop was requested and is recorded; `sandbox` as it was before.
    async fn carry_out_stop(&self, sandbox: &Sandbox) {
        let why = explain::ended(&self.settings.policy, sandbox, StopReason::Requested, self.clock.now());
        self.decided(sandbox, Decided::Stopped, why).await;
        let _claim = self.claims.claim(&sandbox.id).await;
        let _ = self.finish_stop(&sandbox.id).await;
    }

    /// Starts a sandbox and answers when it runs; one that is stopping is started afterwards
    /// (`CONTRACT.md` 22 and 23).
    ///
    /// # Errors
    /// [`Error::NoSandbox`], [`Error::EngineAway`], [`Error::PortHeld`], [`Error::Engine`], [`Error::Full`],
    /// [`Error::StillStopping`].
    pub async fn start(self: &Arc<Self>, reference: &str) -> Result<Sandbox> {
        self.start_if(reference, |_| true, true).await
    }

    /// As [`App::start`], unless it is not to be started any more when its turn comes: then it is answered as it is.
    /// `by_request`: a person asks for it, and not a connection.
    pub(super) async fn start_if(
        self: &Arc<Self>,
        reference: &str,
        may: impl Fn(&Sandbox) -> bool,
        by_request: bool,
    ) -> Result<Sandbox> {
        let patience = tokio::time::sleep(self.settings.stop_grace + STOP_PATIENCE);
        tokio::pin!(patience);
        loop {
            let sandbox = self.get(reference).await?;
            if matches!(sandbox.life.state, State::Running { .. }) {
                return Ok(sandbox);
            }
            let _claim = tokio::select! {
                claim = self.claims.claim(&sandbox.id) => claim,
                () = &mut patience => return Err(Error::StillStopping),
            };
            let sandbox = self.get(reference).await?;
            match sandbox.life.state {
                State::Stopping { .. } if broken(Rule::StartWins) => return Ok(sandbox),
                State::Stopping { .. } | State::Stopped { .. } if !may(&sandbox) => return Ok(sandbox),
                State::Stopped { at, reason } => {
                    let to = State::Starting { stopped_at: at, reason };
                    match self.store.mark_starting(&sandbox, to, self.settings.max_running, by_request).await {
                        Err(StoreError::Full(_)) if self.make_way(|_| true).await? => {}
                        Err(StoreError::Full(limit)) => return Err(Error::Full(limit)),
                        Err(e) => return Err(e.into()),
                        Ok(false) => {}
                        Ok(true) => {
                            if let Some(intent) = self.store.get(&sandbox.id).await? {
                                self.finish_start(&intent).await?;
                            }
                        }
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

    /// Deletes a sandbox, running or not (`CONTRACT.md` 25). Once the intent is recorded it is as good as gone: its
    /// connections are cut, its name is free, and its ports are nobody's until the engine has removed it, which is done
    /// after the answer, or by the pass.
    ///
    /// # Errors
    /// [`Error::NoSandbox`], [`Error::EngineAway`].
    pub async fn delete(self: &Arc<Self>, reference: &str) -> Result<()> {
        self.get(reference).await?;
        self.engine_answers().await?;
        let sandbox = loop {
            let sandbox = self.get(reference).await?;
            if self.mark(&sandbox, State::Deleting).await? {
                break sandbox;
            }
        };
        // Without waiting for whoever works on it: removal ends their work.
        let claim = self.claims.try_claim(&sandbox.id);
        let app = Arc::clone(self);
        self.tasks.spawn(async move {
            let deleted = sandbox.in_state(State::Deleting);
            if let Err(e) = app.finish_delete(&deleted).await {
                tracing::warn!(sandbox = %deleted.id, error = chain(e.as_ref()), "removal failed; it is tried again every pass");
            }
            drop(claim);
        });
        Ok(())
    }

    /// Waits until one of those that were deleted, and of which something is `in_the_way`, is gone from the engine too:
    /// whoever was told that they are deleted relies on it. Whether one is.
    pub(super) async fn make_way(&self, in_the_way: impl Fn(&Sandbox) -> bool) -> Result<bool> {
        let known = self.store.all().await?;
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
        match self.store.get(&gone.id).await? {
            Some(_) => self.finish_delete(gone).await,
            None => Ok(true),
        }
    }

    /// Carries out a recorded start. The caller holds the claim.
    pub(super) async fn finish_start(&self, sandbox: &Sandbox) -> Result<()> {
        let State::Starting { stopped_at, reason } = sandbox.life.state else { return Ok(()) };
        let Some(container) = &sandbox.container else { return Ok(()) };
        let started = async {
            let _slot = self.starts.acquire().await.map_err(|_| Error::ShuttingDown)?;
            self.listen(&sandbox.id).await?;
            if let Some(check_in) = self.reporting() {
                let furnished = self.engine.furnish(sandbox, &check_in).await;
                furnished.map_err(|e| Error::engine("the container could not be started", e))?;
            }
            // What was heard of the run before says nothing of this one, whose own events may come late.
            self.pulse().heard.remove(container);
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

    /// The state of a container that was just started. One that has ended by itself already has been running all the
    /// same (`CONTRACT.md` 20): it is recorded as what it was, and its end by the pass, like every other.
    ///
    /// # Errors
    /// [`Error::Engine`] if the engine does not show that it was started.
    pub(super) async fn running(&self, container: &ContainerId) -> Result<State> {
        let failed = |e| Error::engine("the container could not be started", e);
        let shown = self.engine.inspect(container).await.map_err(failed)?;
        match shown.phase {
            Phase::Running => {}
            Phase::Exited => self.wake(),
            Phase::Created | Phase::Removing | Phase::Unclear => {
                return Err(failed(EngineError::Refused("it was started, and is shown as if it was not".into())));
            }
        }
        Ok(shown.running(self.clock.now(), self.clock.boot()))
    }

    /// Carries out a recorded deletion; the row goes when the engine has let go.
    pub(super) async fn finish_delete(&self, sandbox: &Sandbox) -> Tried {
        self.remove(&sandbox.id, sandbox.container.as_ref()).await?;
        let done = self.forget(sandbox).await?;
        if done {
            tracing::info!(sandbox = %sandbox.id, name = %sandbox.name, "deleted");
        }
        Ok(done)
    }

    /// Makes the engine remove what there is of a sandbox, when its turn comes.
    pub(super) async fn remove(&self, id: &SandboxId, container: Option<&ContainerId>) -> engine::Result<()> {
        let _turn = self.removals.acquire().await;
        self.engine.remove(id, container).await
    }

    /// Makes sure that the engine is there before an intent is recorded that needs it. Who asks while it is being asked
    /// shares the answer: a whole class that is stopped at once asks once.
    async fn engine_answers(&self) -> Result<()> {
        let asking = {
            let mut asked = self.asked.lock().expect("no holder panics");
            let under_way = asked.as_ref().and_then(WeakShared::upgrade).filter(|asking| asking.peek().is_none());
            under_way.unwrap_or_else(|| {
                let engine = Arc::clone(&self.engine);
                let asking = async move { engine.answers().await }.boxed().shared();
                *asked = asking.downgrade();
                asking
            })
        };
        asking.await.map_err(|e| Error::engine("the container could not be changed", e))
    }
}
