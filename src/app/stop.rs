//! Stop: an idle stop from the decision to the engine, and what becomes of one that is cut off on its way.

use std::time::Duration;

use jiff::Timestamp;

use super::{App, Error, Result, chain, steps::Tried};
use crate::{
    domain::{
        Deadline, Decided, Evidence, Phase, Sandbox, SandboxId, Source, State, StopReason, explain,
        rules::{Rule, broken},
    },
    engine::EngineError,
    store::StoreError,
};

/// Beyond its grace, how long the engine may take to end a container.
const ENDING: Duration = Duration::from_secs(2);

/// An idle stop of which nobody knows whether it was carried out.
#[derive(Debug, Clone)]
pub(super) struct CutOff {
    /// Of which start.
    pub(super) generation: u64,
    /// When it last reported that it is used; it counts if the stop was not carried out.
    pub(super) heard: Option<Timestamp>,
    /// Until when, by the time that passes whatever the clock does, the container may still end by it.
    ends_until: Duration,
    /// The state that it had before.
    before: Option<State>,
}

/// Whether it is being stopped because its deadline passed, and nobody asked for it.
fn ends_by_deadline(sandbox: &Sandbox) -> bool {
    matches!(sandbox.life.state, State::Stopping { reason, .. } if reason.is_by_deadline())
}

impl App {
    /// Stops a sandbox whose deadline has passed, unless that has moved since the decision.
    pub(super) async fn stop_idle(&self, known: &Sandbox, seen: Deadline) -> Tried {
        // Its age needs no look.
        let is_idle = seen.reason() == StopReason::Idle;
        if is_idle && let Err(e) = self.look_at_cpu(known).await {
            tracing::debug!(sandbox = %known.id, error = chain(&e), "its cpu use is not known");
        }
        if is_idle && self.is_blind(known).is_some() {
            return Ok(false);
        }
        // A restart behind our back, whose event is still on its way, is evidence too.
        let State::Running { mark, .. } = &known.life.state else { return Ok(false) };
        if let Some(container) = &known.container
            && self.engine.inspect(container).await?.mark.as_ref() != Some(mark)
        {
            // Its event may also have been lost: then only a close look records the start, and its clock runs again.
            self.look_closely_soon(container.clone());
            self.wake();
            return Ok(false);
        }
        let still = self.still();
        // What moved since the pass looked is evidence too; if that cannot be seen, this is no time to stop anything.
        let counted = if broken(Rule::NewestEvidence) { Ok(()) } else { self.collect().await };
        if !broken(Rule::CouldNotLook) {
            counted?;
        }
        // It may have waited long for its turn.
        if self.is_held(known) {
            return Ok(false);
        }
        if let Some(container) = known.container.as_ref().filter(|_| broken(Rule::IntentFirst)) {
            self.engine.stop(container, self.settings.stop_grace).await?;
        }
        if !self.record_stop(known, seen, still).await? {
            return Ok(false);
        }
        let stopped = self.try_finish_stop(&known.id).await;
        if stopped.is_err() {
            // It is not tried again on what was decided now: by then it may have been used, or started anew.
            self.note_cut_off(known, Some(known.life.state.clone()), self.ending());
        }
        stopped
    }

    /// Records an idle stop, unless what it was decided on has changed meanwhile. Whether the engine is to be told now.
    async fn record_stop(
        &self,
        known: &Sandbox,
        seen: Deadline,
        still: impl Fn() -> bool + Clone + Send + 'static,
    ) -> Tried {
        let now = self.clock.now();
        let to = State::Stopping { since: now, reason: seen.reason() };
        let why = explain::ended(&self.settings.policy, known, seen.reason(), now);
        let decision = self.decision(known, Decided::Stopped, why.clone());
        let stopping = known.in_state(to.clone());
        // From now on until the engine is told it may be heard of.
        self.note_cut_off(known, Some(known.life.state.clone()), Duration::ZERO);
        let (is_sure, policy) = (still.clone(), self.settings.policy);
        let marked = self.store.mark_idle(known, policy, to, decision, still).await;
        if !matches!(marked, Ok(true)) {
            self.pulse().cut_off.remove(&known.id);
        }
        if !marked? {
            tracing::info!(sandbox = %known.id, "a stop was dropped: its deadline has moved");
            self.decided_anew(known, Decided::Dropped).await;
            return Ok(false);
        }
        if !is_sure() {
            // It took long to record, and what moved meanwhile nobody counted.
            self.pulse().impaired = true;
            self.take_back(&stopping).await?;
            return Ok(false);
        }
        self.note_cut_off(known, Some(known.life.state.clone()), self.ending());
        self.shown(known, true).await;
        tracing::info!(
            sandbox = %known.id, name = %known.name, reason = seen.reason().word(), why,
            limit = %self.policy_of(known).idle_limit, "stopping"
        );
        Ok(true)
    }

    /// Carries out a recorded stop, and logs what goes wrong. The caller holds the claim.
    ///
    /// # Errors
    /// Those of the store as they are; [`Error::StillStopping`] for whatever else.
    pub(super) async fn finish_stop(&self, id: &SandboxId) -> Result<()> {
        let tried = self.try_finish_stop(id).await;
        if let Err(e) = &tried {
            let error = chain(e.as_ref());
            tracing::warn!(sandbox = %id, error, "a stop failed; it is tried again every pass");
        }
        self.wake();
        tried.map(drop).map_err(|e| {
            match e.downcast::<StoreError>().map(|e| Box::new((*e).into())).or_else(|e| e.downcast()) {
                Ok(e) => *e,
                Err(_) => Error::StillStopping,
            }
        })
    }

    pub(super) async fn try_finish_stop(&self, id: &SandboxId) -> Tried {
        let Some(sandbox) = self.store.get(id).await? else { return Ok(false) };
        let (State::Stopping { .. }, Some(container)) = (&sandbox.life.state, &sandbox.container) else {
            return Ok(false);
        };
        // Nobody knows from here on whether it ends; what it reports meanwhile counts if it does not.
        if ends_by_deadline(&sandbox) {
            self.note_cut_off(&sandbox, None, self.ending());
        }
        match self.engine.stop(container, self.settings.stop_grace).await {
            Ok(()) if broken(Rule::StopNeverDeletes) => Ok(self.remove(id, Some(container)).await.map(|()| true)?),
            Ok(()) => self.record_stopped(&sandbox, false).await,
            Err(EngineError::NoContainer) => self.forget_gone(&sandbox).await,
            Err(e) => Err(e.into()),
        }
    }

    pub(super) fn is_cut_off(&self, known: &Sandbox) -> bool {
        ends_by_deadline(known)
            && self.pulse().cut_off.get(&known.id).is_some_and(|cut| cut.generation == known.life.generation)
    }

    /// How long it may take from the signal until a container has ended by it.
    fn ending(&self) -> Duration {
        self.settings.stop_grace + ENDING
    }

    /// Remembers an idle stop that may be cut off, what was stopped, if this process saw that, and how long from now on it
    /// may still end by it.
    fn note_cut_off(&self, known: &Sandbox, before: Option<State>, ending: Duration) -> CutOff {
        let ends_until = self.clock.steady() + ending;
        let fresh = CutOff { generation: known.life.generation, ends_until, before, heard: None };
        let mut pulse = self.pulse();
        let noted = pulse.cut_off.entry(known.id.clone()).or_insert_with(|| fresh.clone());
        if noted.generation != known.life.generation || fresh.before.is_some() {
            let heard = noted.heard.filter(|_| noted.generation == known.life.generation);
            *noted = CutOff { heard, ..fresh };
        }
        noted.clone()
    }

    /// Takes back an idle stop that was cut off. Whether its signal was sent nobody knows: if it was, the container ends
    /// by it within its grace, whatever became of whoever sent it, and then it has stopped for that reason. If not, it
    /// is as it was before, and what was heard of it since is decided on anew.
    pub(super) async fn take_back(&self, known: &Sandbox) -> Tried {
        let Some(container) = &known.container else { return Ok(false) };
        let cut = self.note_cut_off(known, None, self.ending());
        if self.clock.steady() < cut.ends_until {
            return Ok(false);
        }
        let shown = self.engine.inspect(container).await?;
        let is_same = |mark: &String| shown.phase == Phase::Running && shown.mark.as_ref() == Some(mark);
        let done = match &cut.before {
            Some(before @ State::Running { mark, .. }) if is_same(mark) => self.mark(known, before.clone()).await?,
            _ => self.record_running(known, container).await?,
        };
        let heard = {
            let mut pulse = self.pulse();
            // What moved meanwhile was not recorded, and is taken up anew.
            pulse.traffic.retain(|(id, _), _| *id != known.id);
            pulse.cut_off.remove(&known.id).and_then(|cut| cut.heard)
        };
        let Some(now) = self.store.get(&known.id).await?.filter(|_| done) else { return Ok(done) };
        if let Some(at) = heard.filter(|_| now.life.generation == known.life.generation) {
            let evidence = Evidence { source: Source::CheckIn, at };
            self.store.record_use(vec![(now.id.clone(), now.life.generation, evidence)]).await?;
        }
        let why = "the stop was not carried out: the engine or the database failed, or the server ended".into();
        self.decided(&now, Decided::Dropped, why).await;
        Ok(done)
    }
}
