//! Stop: carry an idle stop from the decision to the engine, safely if it is cut off on its way.

use std::time::Duration;

use jiff::Timestamp;

use super::Pass;
use crate::{
    app::{Error, chain, work::Tried},
    domain::{
        Actor, Deadline, Decided, Failure, Sandbox, State, StopReason, Verb, Who, explain,
        rules::{Rule, broken},
        time::plus,
    },
};

/// Use that is younger than this, and than the idle limit, forbids an idle stop.
const YOUNG: Duration = Duration::from_mins(10);

impl Pass {
    /// Stops a sandbox whose deadline has passed, unless the deadline has moved since the decision.
    pub(super) async fn stop_idle(&self, known: &Sandbox, seen: Deadline) -> Tried {
        // A stop for its age needs no look at its use.
        let is_idle = seen.reason() == StopReason::Idle;
        if is_idle && let Err(e) = self.usage.look_at_cpu(known).await {
            tracing::debug!(sandbox = %known.id, error = chain(&e), "its cpu use is not known");
        }
        if is_idle && self.usage.is_blind(known).is_some() {
            return Ok(false);
        }
        // A restart behind our back is evidence too, even if its event is still on its way.
        let State::Running { mark, .. } = &known.life.state else { return Ok(false) };
        if let Some(container) = &known.container
            && self.engine.inspect(container).await?.mark.as_ref() != Some(mark)
        {
            // The event may also be lost: then only a close look records the start and restarts its clock.
            self.next.look_closely_at(container.clone());
            self.next.wake();
            return Ok(false);
        }
        let still = self.vitals.still();
        // Use since the pass looked is evidence too; if we cannot see it, we stop nothing.
        let counted = if broken(Rule::NewestEvidence) { Ok(()) } else { self.usage.collect().await };
        if !broken(Rule::CouldNotLook) {
            counted?;
        }
        // The step may have waited long for its turn.
        if self.vitals.holds(known) {
            return Ok(false);
        }
        if let Some(container) = known.container.as_ref().filter(|_| broken(Rule::IntentFirst)) {
            self.engine.stop(container, self.settings.stop_grace).await?;
        }
        if !self.record_stop(known, seen, still).await? {
            return Ok(false);
        }
        let mut acting = self.actions.of(&Actor::pass(), Verb::Stop, known);
        acting.begin();
        let stopped = self.work.try_finish_stop(&known.id).await;
        match &stopped {
            Ok(true) => acting.done(),
            Ok(false) => acting.cancelled("the container was started, stopped or deleted meanwhile"),
            Err(e) => acting.failed(&Failure::new(Error::StillStopping.code(), &chain(e.as_ref()))),
        }
        if stopped.is_err() {
            // Do not retry on this decision: by then the sandbox may be used, or started again.
            self.work.note_cut_off(known, Some(known.life.state.clone()), self.work.ending());
        }
        stopped
    }

    /// Records an idle stop, unless the facts behind it have changed. True: tell the engine now.
    async fn record_stop(
        &self,
        known: &Sandbox,
        seen: Deadline,
        still: impl Fn() -> bool + Clone + Send + 'static,
    ) -> Tried {
        let now = self.clock.now();
        let to = State::Stopping { since: now, reason: seen.reason() };
        let why = explain::ended(&self.settings.policy, known, seen.reason(), now);
        let decision = self.records.decision(known, Decided::Stopped, why.clone(), now);
        let stopping = known.in_state(to.clone());
        // Reports that come before the engine is told must not be lost.
        self.work.note_cut_off(known, Some(known.life.state.clone()), Duration::ZERO);
        let (is_sure, policy) = (still.clone(), self.settings.policy);
        let marked = self.records.store.mark_idle(known, policy, to, decision, still).await;
        if !matches!(marked, Ok(true)) {
            self.work.forget_cut_off(&known.id);
        }
        if !marked? {
            tracing::info!(sandbox = %known.id, "a stop was dropped: its deadline has moved");
            self.decided_anew(known, Decided::Dropped).await;
            return Ok(false);
        }
        if !is_sure() {
            // The record took too long, and nobody counted the use meanwhile.
            self.vitals.impair();
            self.work.take_back(&stopping).await?;
            return Ok(false);
        }
        self.work.note_cut_off(known, Some(known.life.state.clone()), self.work.ending());
        self.records.shown(known, true).await;
        if seen.reason() == StopReason::Idle {
            self.count_if_young(known, now).await;
        }
        tracing::info!(
            sandbox = %known.id, name = %known.name, reason = seen.reason().word(), by = %Who::Pass, why,
            limit = %self.settings.policy.of(known).idle_limit, "stopping"
        );
        Ok(true)
    }

    /// Counts an idle stop of what a person had just used. By the law there is none; who watches this number need not
    /// believe the law.
    async fn count_if_young(&self, known: &Sandbox, now: Timestamp) {
        let policy = self.settings.policy.of(known);
        let young = policy.idle_limit.span().map_or(YOUNG, |limit| limit.min(YOUNG));
        if let Ok(Some(stopped)) = self.records.store.get(&known.id).await
            && let Some(used) = stopped.life.evidence.newest(|s| s.is_interactive() && policy.evidence.count(s))
            && plus(used.at, young) > now
        {
            self.records.tally.stopped_young();
            tracing::error!(
                sandbox = %known.id, source = used.source.word(), at = %used.at,
                "a sandbox was stopped as idle that somebody had just used"
            );
        }
    }
}
