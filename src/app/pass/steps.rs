//! Steps: carry out a plan. Each step checks whether the facts behind its decision still hold; if not, it is dropped.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinHandle;

use super::Pass;
use crate::{
    app::{
        Error, chain,
        work::{Claim, Tried},
    },
    domain::{Act, Actor, ContainerId, EvidenceLog, Phase, Reach, Sandbox, SandboxId, Source, State, Step, StopReason},
};

/// A step gives its slot back after this long: a longer one only waits for a grace or a hung engine.
const HAND_HELD: Duration = Duration::from_secs(2);

/// Somebody else works on the sandbox.
struct Busy;

impl Pass {
    /// Carries out a step about `known`, the sandbox as the plan saw it, as a task that
    /// [`App::drain`](crate::app::App::drain) owns. The sandbox is claimed from now on, so that no pass decides the
    /// step again while it waits for a slot. `None`: somebody else works on the sandbox.
    pub(super) fn dispatch(
        self: &Arc<Self>,
        step: Step,
        known: Option<Sandbox>,
        engine_was_away: bool,
    ) -> Option<JoinHandle<()>> {
        let Ok(claim) = self.claim_for(&step) else {
            self.look_again(&step, known.as_ref().and_then(|k| k.container.as_ref()));
            return None;
        };
        let pass = Arc::clone(self);
        Some(self.tasks.spawn(async move {
            let Ok(hand) = pass.hands.acquire().await else { return };
            let work = pass.carry_out(step, known, engine_was_away);
            tokio::pin!(work);
            if tokio::time::timeout(HAND_HELD, &mut work).await.is_err() {
                drop(hand);
                work.await;
            }
            drop(claim);
        }))
    }

    /// Makes the next pass look closely, for a dropped step that only a close look shows.
    fn look_again(&self, step: &Step, container: Option<&ContainerId>) {
        if let (Step::RecordRunning(..) | Step::RecordReach(..), Some(container)) = (step, container) {
            self.next.look_closely_at(container.clone());
        }
    }

    /// Claims the sandbox of a step. If somebody else has it, they decide, and the next pass sees the result.
    fn claim_for(&self, step: &Step) -> Result<Option<Claim>, Busy> {
        step.sandbox().map(|id| self.work.claims.try_claim(id).ok_or(Busy)).transpose()
    }

    async fn carry_out(&self, step: Step, known: Option<Sandbox>, engine_was_away: bool) {
        let (id, container) = (step.sandbox().cloned(), known.as_ref().and_then(|k| k.container.clone()));
        let tried = match (&step, known) {
            (Step::StopIdle { seen, .. }, Some(known)) => self.stop_idle(&known, *seen).await,
            // A stop that was cut off is taken back, not finished, unless somebody asks for it.
            (Step::FinishStop(_), Some(known)) if self.work.is_cut_off(&known) => self.work.take_back(&known).await,
            (Step::FinishStop(id), _) => self.work.try_finish_stop(id).await,
            (Step::TakeBack(..), Some(known)) => self.work.take_back(&known).await,
            (Step::FinishStart(_), Some(known)) => self.resume_start(&known).await,
            (Step::FinishReset(id), _) => self.work.resume_reset(id).await,
            (Step::FinishDelete(_), Some(known)) => self.work.finish_delete(&known).await,
            (Step::Discard(_), Some(known)) => self.discard(&known).await,
            (Step::RecordRunning(_, container), Some(known)) => self.work.record_running(&known, container).await,
            (Step::RecordStopped(_), Some(known)) => self.work.record_stopped(&known, engine_was_away).await,
            (Step::RecordReach(_, reach), Some(known)) => self.record_reach(&known, reach).await,
            (Step::RecordShown(_, shown), Some(known)) => self.work.record_shown(&known, shown).await,
            (Step::Settle(id), _) => self.work.settle(id).await,
            (Step::RecordEndedBy(_, by), Some(known)) => self.work.record_ended_by(&known, *by).await,
            (Step::Forget(_), Some(known)) => self.work.forget_gone(&known).await,
            (Step::Adopt(container), _) => self.adopt(container).await,
            (Step::RemoveOrphan(container, id), _) => self.remove_orphan(container, id.as_ref()).await,
            (_, None) => Ok(false),
        };
        if let Some(id) = id {
            self.work.set_failing(id, tried.is_err());
        }
        match tried {
            // A done step may lead to another.
            Ok(true) if !step.is_quick() => self.next.wake(),
            Ok(_) => {}
            Err(e) => {
                match e.downcast_ref() {
                    Some(Error::RelayAway(why)) => self.records.miss_relay(why),
                    _ => tracing::warn!(?step, error = chain(e.as_ref()), "a step failed; the next pass decides anew"),
                }
                self.look_again(&step, container.as_ref());
            }
        }
    }

    async fn resume_start(&self, known: &Sandbox) -> Tried {
        let Some(now) = self.records.store.get(&known.id).await? else { return Ok(false) };
        if !matches!(now.life.state, State::Starting { .. }) || now.life.generation != known.life.generation {
            return Ok(false);
        }
        self.work.finish_start(&Actor::pass(), &now).await?;
        Ok(true)
    }

    async fn record_reach(&self, known: &Sandbox, reach: &Reach) -> Tried {
        let State::Running { since, mark, .. } = known.life.state.clone() else { return Ok(false) };
        let to = State::Running { since, mark, reach: Reach { boot: Some(self.clock.boot()), ..reach.clone() } };
        Ok(self.records.mark(known, to).await?)
    }

    /// Removes a creation that was cut off. It becomes a deletion first, so that no crash brings it back.
    async fn discard(&self, known: &Sandbox) -> Tried {
        if !self.records.mark(known, State::Deleting).await? {
            return Ok(false);
        }
        let shown = self.engine.list().await?;
        let mine = shown.iter().find(|o| o.sandbox.as_ref() == Some(&known.id)).map(|o| o.container.clone());
        let container = known.container.clone().or(mine);
        tracing::warn!(sandbox = %known.id, name = %known.name, "a creation that was cut off is removed");
        self.work.finish_delete(&Sandbox { container, ..known.in_state(State::Deleting) }).await
    }

    /// Rebuilds the record of a container of ours that has none. Its clock starts now.
    async fn adopt(&self, container: &ContainerId) -> Tried {
        let mut sandbox = self.engine.recover(container).await?;
        let shown = self.engine.inspect(container).await?;
        let now = self.clock.now();
        // Our count of its starts is lost, but a relay may still hold use from earlier ones. The new generation must be
        // higher than theirs, even if the clock was set back since.
        let counted = self.usage.newest_generation(&sandbox.id);
        sandbox.life.generation = now.as_millisecond().unsigned_abs().max(counted.map_or(0, |last| last + 1));
        if shown.phase == Phase::Running {
            sandbox.life.state = shown.running(now, self.clock.boot());
            sandbox.life.evidence = EvidenceLog::of(Source::Start, now);
        } else {
            sandbox.life.state = State::Stopped { at: now, reason: StopReason::Exited };
        }
        let (id, name, furnished) = (sandbox.id.clone(), sandbox.name.clone(), sandbox.clone());
        let done = self.records.store.adopt(sandbox).await?;
        self.work.write_down(&id).await;
        self.next.look_closely_at(container.clone());
        self.records.tell_all_again();
        if let Some(check_in) = self.vitals.reporting() {
            self.engine.furnish(&furnished, &check_in).await?;
        }
        if done {
            self.actions.of(&Actor::pass(), Act::Adopt, &furnished).done();
            tracing::warn!(sandbox = %id, %name, "adopted: its record was lost, and is rebuilt from its container");
        }
        Ok(done)
    }

    /// Removes a container of ours that never ran and has no record.
    async fn remove_orphan(&self, container: &ContainerId, id: Option<&SandboxId>) -> Tried {
        let Some(id) = id else { return Ok(false) };
        // A creation that began after the rows were read is no orphan.
        if self.records.store.get(id).await?.is_some() {
            return Ok(false);
        }
        tracing::warn!(%container, "a container that was never started and belongs to nobody is removed");
        self.work.remove(id, Some(container)).await?;
        Ok(true)
    }
}
