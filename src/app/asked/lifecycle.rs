//! Stop, start, delete: what a person decides about a sandbox.

use std::{sync::Arc, time::Duration};

use super::Asked;
use crate::{
    app::{Error, Result, chain},
    domain::{
        Actor, Decided, Sandbox, State, StopReason, Verb, explain,
        rules::{Rule, broken},
    },
    store::StoreError,
};

/// How long, beyond the grace, a start waits for a stop to end.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// How long a start waits before it tries a failed stop again.
const STOP_RETRY: Duration = Duration::from_secs(1);

impl Asked {
    /// Stops a sandbox and answers at once, while it is stopping (`CONTRACT.md` 21 and 23).
    ///
    /// # Errors
    /// [`Error::NoSandbox`], [`Error::EngineAway`].
    pub async fn stop(self: &Arc<Self>, by: &Actor, reference: &str) -> Result<Sandbox> {
        let found = self.allowed(by, Verb::Stop, reference).await?;
        self.actions.of(by, Verb::Stop, &found).around(self.stop_found(by, &found)).await
    }

    async fn stop_found(self: &Arc<Self>, by: &Actor, found: &Sandbox) -> Result<Sandbox> {
        loop {
            let sandbox = self.records.again(found).await?;
            match sandbox.life.state {
                State::Running { .. } => {
                    self.work.engine_answers().await?;
                    let to = State::Stopping { since: self.clock.now(), reason: StopReason::Requested };
                    if self.records.mark(&sandbox, to.clone()).await? {
                        tracing::info!(sandbox = %sandbox.id, name = %sandbox.name, reason = "requested", %by, "stopping");
                        let stopping = sandbox.in_state(to);
                        let asked = Arc::clone(self);
                        self.tasks.spawn(async move { asked.carry_out_stop(&sandbox).await });
                        // The answer is the recorded state: a second read could already show it stopped.
                        return Ok(stopping);
                    }
                }
                // Wait until the start ends; a half-done start ends here.
                State::Starting { .. } => {
                    let _claim = self.work.claims.claim(&sandbox.id).await;
                    let sandbox = self.records.again(found).await?;
                    if matches!(sandbox.life.state, State::Starting { .. }) {
                        let to = State::Stopping { since: self.clock.now(), reason: StopReason::Requested };
                        self.records.mark(&sandbox, to).await?;
                        self.next.wake();
                    }
                }
                // Wait until it is made anew; what is left of a reset that failed ends in a stop.
                State::Resetting { at, back_to } if back_to != Some(StopReason::Requested) => {
                    let _claim = self.work.claims.claim(&sandbox.id).await;
                    let to = State::Resetting { at, back_to: Some(StopReason::Requested) };
                    self.records.mark(&sandbox, to).await?;
                    self.next.wake();
                }
                // A requested stop outranks an idle one and a restart: relabel it, so that no connection wakes it.
                State::Stopping { since, reason: StopReason::Idle | StopReason::Restart } => {
                    self.relabel(by, &sandbox, State::Stopping { since, reason: StopReason::Requested }).await?;
                }
                State::Stopped { at, .. } if sandbox.is_undone_by_use() => {
                    self.relabel(by, &sandbox, State::Stopped { at, reason: StopReason::Requested }).await?;
                }
                _ => return Ok(sandbox),
            }
        }
    }

    async fn relabel(&self, by: &Actor, sandbox: &Sandbox, to: State) -> Result<()> {
        if self.records.mark(sandbox, to).await? {
            tracing::info!(sandbox = %sandbox.id, name = %sandbox.name, %by, "its stop is a requested one now");
        }
        Ok(())
    }

    /// Stops a sandbox whose stop was requested and is recorded; `sandbox` as it was before.
    async fn carry_out_stop(&self, sandbox: &Sandbox) {
        let why = explain::ended(&self.settings.policy, sandbox, StopReason::Requested, self.clock.now());
        self.records.decided(sandbox, Decided::Stopped, why).await;
        let _claim = self.work.claims.claim(&sandbox.id).await;
        let _ = self.work.finish_stop(&sandbox.id).await;
    }

    /// Starts a sandbox and answers when it runs; one that is stopping is started afterwards
    /// (`CONTRACT.md` 22 and 23).
    ///
    /// # Errors
    /// [`Error::NoSandbox`], [`Error::EngineAway`], [`Error::PortHeld`], [`Error::Engine`], [`Error::Full`],
    /// [`Error::StillStopping`].
    pub async fn start(self: &Arc<Self>, by: &Actor, reference: &str) -> Result<Sandbox> {
        let found = self.allowed(by, Verb::Start, reference).await?;
        self.actions.of(by, Verb::Start, &found).around(self.start_if(by, &found, |_| true)).await
    }

    /// Starts `found` as [`Asked::start`] does, if `may` still allows it when its turn comes; else it answers the sandbox as it is.
    pub(super) async fn start_if(
        self: &Arc<Self>,
        by: &Actor,
        found: &Sandbox,
        may: impl Fn(&Sandbox) -> bool,
    ) -> Result<Sandbox> {
        let patience = tokio::time::sleep(self.settings.stop_grace + STOP_PATIENCE);
        tokio::pin!(patience);
        loop {
            let sandbox = self.records.again(found).await?;
            if matches!(sandbox.life.state, State::Running { .. }) {
                return Ok(sandbox);
            }
            let _claim = tokio::select! {
                claim = self.work.claims.claim(&sandbox.id) => claim,
                () = &mut patience => return Err(Error::StillStopping),
            };
            let sandbox = self.records.again(found).await?;
            match sandbox.life.state {
                State::Stopping { .. } if broken(Rule::StartWins) => return Ok(sandbox),
                State::Stopping { .. } | State::Stopped { .. } if !may(&sandbox) => return Ok(sandbox),
                State::Stopped { at, reason } => {
                    let to = State::Starting { stopped_at: at, reason };
                    match self.records.store.mark_starting(&sandbox, to, self.settings.max_running, by.is_user()).await
                    {
                        Err(StoreError::Full(_)) if self.work.make_way(|_| true).await? => {}
                        Err(StoreError::Full(limit)) => return Err(Error::Full(limit)),
                        Err(e) => return Err(e.into()),
                        Ok(false) => {}
                        Ok(true) => {
                            if let Some(intent) = self.records.store.get(&sandbox.id).await? {
                                self.work.finish_start(by, &intent).await?;
                            }
                        }
                    }
                }
                State::Starting { .. } => self.work.finish_start(by, &sandbox).await?,
                // A reset failed: try it now.
                State::Resetting { .. } => self.work.finish_reset(by, &sandbox.id).await?,
                // Its stop failed or is half done: try it now, then again later. Do not wait for a failing store.
                State::Stopping { .. } => match self.work.finish_stop(&sandbox.id).await {
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

    /// Deletes a sandbox, running or not (`CONTRACT.md` 25). Once the intent is recorded it counts as gone: its
    /// connections are cut and its name is free. The engine removes it after the answer, or in a pass; only then are
    /// its ports free.
    ///
    /// # Errors
    /// [`Error::NoSandbox`], [`Error::EngineAway`].
    pub async fn delete(self: &Arc<Self>, by: &Actor, reference: &str) -> Result<()> {
        let found = self.allowed(by, Verb::Delete, reference).await?;
        self.actions.of(by, Verb::Delete, &found).around(self.delete_found(by, &found)).await
    }

    async fn delete_found(self: &Arc<Self>, by: &Actor, found: &Sandbox) -> Result<()> {
        self.work.engine_answers().await?;
        let sandbox = loop {
            let sandbox = self.records.again(found).await?;
            if self.records.mark(&sandbox, State::Deleting).await? {
                break sandbox;
            }
        };
        tracing::info!(sandbox = %sandbox.id, name = %sandbox.name, %by, "deleting");
        // Do not wait for others who work on it: the removal ends their work.
        let claim = self.work.claims.try_claim(&sandbox.id);
        let work = Arc::clone(&self.work);
        self.tasks.spawn(async move {
            let deleted = sandbox.in_state(State::Deleting);
            if let Err(e) = work.finish_delete(&deleted).await {
                tracing::warn!(sandbox = %deleted.id, error = chain(e.as_ref()), "removal failed; it is tried again every pass");
            }
            drop(claim);
        });
        Ok(())
    }
}
