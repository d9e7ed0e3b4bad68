//! Carrying out a plan, step by step. Each step finds out for itself whether what it was decided on still
//! holds; if not, it is dropped.

use std::{net::IpAddr, sync::Arc};

use tokio::task::JoinHandle;

use super::{App, Error, HAND_HELD, chain, claims::Claim};
use crate::{
    domain::{ContainerId, EvidenceLog, Phase, Sandbox, SandboxId, Source, State, Step, StopReason},
    engine::EngineError,
};

/// Somebody else works on the sandbox.
struct Busy;

pub(super) type Tried = std::result::Result<bool, Box<dyn std::error::Error + Send + Sync>>;

impl App {
    /// Carries out a step about `known`, the sandbox as the plan saw it, as a task that [`App::drain`] owns. It is
    /// claimed from now on, so that no pass decides it again while it waits for a hand. None: somebody else works
    /// on the sandbox.
    pub(super) fn dispatch(self: &Arc<Self>, step: Step, known: Option<Sandbox>) -> Option<JoinHandle<()>> {
        let Ok(claim) = self.claim_for(&step) else {
            self.look_again(&step, known.as_ref().and_then(|k| k.container.as_ref()));
            return None;
        };
        let app = Arc::clone(self);
        let engine_was_away = self.pulse().engine_is_back;
        Some(self.tasks.spawn(async move {
            let Ok(hand) = app.hands.acquire().await else { return };
            let work = app.carry_out(step, known, engine_was_away);
            tokio::pin!(work);
            if tokio::time::timeout(HAND_HELD, &mut work).await.is_err() {
                drop(hand);
                work.await;
            }
            drop(claim);
        }))
    }

    /// Sees to it that a step that only a close look shows is decided again, though it was not carried out.
    fn look_again(&self, step: &Step, container: Option<&ContainerId>) {
        if let (Step::RecordRunning(..) | Step::RecordAddress(..), Some(container)) = (step, container) {
            self.look_closely_soon(container.clone());
        }
    }

    /// Has the next pass look closely. A container whose start is recorded may have been restarted between our look at
    /// it and the record: the event of that was heard too early, and only a close look shows it.
    pub(super) fn look_closely_soon(&self, container: ContainerId) {
        self.pulse().suspects.insert(container);
    }

    /// Claims what a step is about. Whoever is at it already decides, and the next pass sees what they did.
    fn claim_for(&self, step: &Step) -> std::result::Result<Option<Claim>, Busy> {
        step.sandbox().map(|id| self.claims.try_claim(id).ok_or(Busy)).transpose()
    }

    async fn carry_out(&self, step: Step, known: Option<Sandbox>, engine_was_away: bool) {
        let (id, container) = (step.sandbox().cloned(), known.as_ref().and_then(|k| k.container.clone()));
        let tried = match (&step, known) {
            (Step::StopIdle { seen, .. }, Some(known)) => self.stop_idle(&known, *seen).await,
            // Once it has been seen to be cut off it is not carried out any more, unless somebody asks for it.
            (Step::FinishStop(_), Some(known)) if self.is_cut_off(&known) => self.take_back(&known).await,
            (Step::FinishStop(id), _) => self.try_finish_stop(id).await,
            (Step::TakeBack(..), Some(known)) => self.take_back(&known).await,
            (Step::FinishStart(_), Some(known)) => self.resume_start(&known).await,
            (Step::FinishDelete(_), Some(known)) => self.finish_delete(&known).await,
            (Step::Discard(_), Some(known)) => self.discard(&known).await,
            (Step::RecordRunning(_, container), Some(known)) => self.record_running(&known, container).await,
            (Step::RecordStopped(_), Some(known)) => self.record_stopped(&known, engine_was_away).await,
            (Step::RecordAddress(_, address, pid), Some(known)) => self.record_address(&known, *address, *pid).await,
            (Step::RecordShown(_, shown), Some(known)) => self.record_shown(&known, shown).await,
            (Step::RecordEndedBy(_, by), Some(known)) => self.record_ended_by(&known, *by).await,
            (Step::Forget(_), Some(known)) => self.forget_gone(&known).await,
            (Step::Adopt(container), _) => self.adopt(container).await,
            (Step::RemoveOrphan(container, id), _) => self.remove_orphan(container, id.as_ref()).await,
            (_, None) => Ok(false),
        };
        if let Some(id) = id {
            let mut pulse = self.pulse();
            if tried.is_err() {
                pulse.failing.insert(id)
            } else {
                pulse.failing.remove(&id)
            };
        }
        match tried {
            // What was done may ask for more.
            Ok(true) if !step.is_quick() => self.wake(),
            Ok(_) => {}
            Err(e) => {
                match e.downcast_ref() {
                    Some(Error::RelayAway(why)) => self.miss_relay(why),
                    _ => tracing::warn!(?step, error = chain(e.as_ref()), "a step failed; the next pass decides anew"),
                }
                self.look_again(&step, container.as_ref());
            }
        }
    }

    async fn resume_start(&self, known: &Sandbox) -> Tried {
        let Some(now) = self.store.get(&known.id).await? else { return Ok(false) };
        if !matches!(now.life.state, State::Starting { .. }) || now.life.generation != known.life.generation {
            return Ok(false);
        }
        self.finish_start(&now).await?;
        Ok(true)
    }

    async fn record_address(&self, known: &Sandbox, address: Option<IpAddr>, pid: Option<u32>) -> Tried {
        let State::Running { since, mark, .. } = known.life.state.clone() else { return Ok(false) };
        let to = State::Running { since, address, mark, pid, boot: Some(self.clock.boot()) };
        Ok(self.mark(known, to).await?)
    }

    /// Records a start that somebody else made, or that we did not live to record.
    pub(super) async fn record_running(&self, known: &Sandbox, container: &ContainerId) -> Tried {
        let shown = self.engine.inspect(container).await?;
        if shown.phase != Phase::Running {
            return Ok(false);
        }
        let done = self.mark_started(known, shown.running(self.clock.now(), self.clock.boot())).await?;
        if done {
            tracing::info!(sandbox = %known.id, name = %known.name, "found running");
        }
        Ok(done)
    }

    /// Forgets a sandbox whose container is gone, once a second look has confirmed it.
    pub(super) async fn forget_gone(&self, known: &Sandbox) -> Tried {
        if let Some(container) = &known.container {
            match self.engine.inspect(container).await {
                Err(EngineError::NoContainer) => {}
                Err(e) => return Err(e.into()),
                Ok(_) => return Err("the engine holds its container, and does not list it among this server's".into()),
            }
        }
        // What belonged to it, such as its volumes, may be left.
        self.remove(&known.id, known.container.as_ref()).await?;
        let done = self.forget(known).await?;
        if done {
            tracing::warn!(sandbox = %known.id, name = %known.name, "forgotten: its container was removed by others");
        }
        Ok(done)
    }

    /// Removes a creation that was cut off. First it becomes a deletion, so that no crash brings it back.
    async fn discard(&self, known: &Sandbox) -> Tried {
        if !self.mark(known, State::Deleting).await? {
            return Ok(false);
        }
        let shown = self.engine.list().await?;
        let mine = shown.iter().find(|o| o.sandbox.as_ref() == Some(&known.id)).map(|o| o.container.clone());
        let container = known.container.clone().or(mine);
        tracing::warn!(sandbox = %known.id, name = %known.name, "a creation that was cut off is removed");
        self.finish_delete(&Sandbox { container, ..known.in_state(State::Deleting) }).await
    }

    /// Rebuilds the record of a container of ours that we do not know. Its clock starts now.
    async fn adopt(&self, container: &ContainerId) -> Tried {
        let mut sandbox = self.engine.recover(container).await?;
        let shown = self.engine.inspect(container).await?;
        let now = self.clock.now();
        // How often it was started nobody knows any more, but a relay may: what it has from earlier starts must be older,
        // also where the clock was set back since these.
        let counted =
            self.pulse().traffic.values().filter(|c| c.sandbox == sandbox.id).filter_map(|c| c.last_use).max();
        sandbox.life.generation = now.as_millisecond().unsigned_abs().max(counted.map_or(0, |(last, _)| last + 1));
        if shown.phase == Phase::Running {
            sandbox.life.state = shown.running(now, self.clock.boot());
            sandbox.life.evidence = EvidenceLog::of(Source::Start, now);
        } else {
            sandbox.life.state = State::Stopped { at: now, reason: StopReason::Exited };
        }
        let (id, name, furnished) = (sandbox.id.clone(), sandbox.name.clone(), sandbox.clone());
        let done = self.store.adopt(sandbox).await?;
        self.look_closely_soon(container.clone());
        self.pulse().table_is_stale = true;
        if let Some(check_in) = self.reporting() {
            self.engine.furnish(&furnished, &check_in).await?;
        }
        if done {
            tracing::warn!(sandbox = %id, %name, "adopted: its record was lost, and is rebuilt from its container");
        }
        Ok(done)
    }

    /// Removes a container of ours that never ran and that nobody knows of.
    async fn remove_orphan(&self, container: &ContainerId, id: Option<&SandboxId>) -> Tried {
        let Some(id) = id else { return Ok(false) };
        // A creation that began after the rows were read is no orphan.
        if self.store.get(id).await?.is_some() {
            return Ok(false);
        }
        tracing::warn!(%container, "a container that was never started and belongs to nobody is removed");
        self.remove(id, Some(container)).await?;
        Ok(true)
    }
}
