//! Cut off: idle stops that may or may not have been carried out, and how we take them back.

use std::{collections::HashMap, sync::MutexGuard, time::Duration};

use jiff::{SignedDuration, Timestamp};

use super::{Tried, Work};
use crate::{
    app::Result,
    domain::{Decided, Evidence, Phase, Sandbox, SandboxId, Source, State, Token},
};

/// How long, beyond the grace, the engine may take to end a container.
const ENDING: Duration = Duration::from_secs(2);

/// An idle stop that may or may not have been carried out.
#[derive(Debug, Clone)]
pub struct CutOff {
    /// Which start it stops.
    generation: u64,
    /// The last report of use; it counts if the stop was not carried out.
    heard: Option<Timestamp>,
    /// Until when the container may still end by this stop, by the steady clock.
    ends_until: Duration,
    /// The state before the stop.
    before: Option<State>,
}

impl Work {
    pub(super) fn cut_off(&self) -> MutexGuard<'_, HashMap<SandboxId, CutOff>> {
        self.cut_off.lock().expect("no holder panics")
    }

    /// Whether the idle stop of a sandbox was cut off.
    pub fn is_cut_off(&self, known: &Sandbox) -> bool {
        known.life.state.ends_by_deadline()
            && self.cut_off().get(&known.id).is_some_and(|cut| cut.generation == known.life.generation)
    }

    /// How long a container may take to end after the signal.
    pub fn ending(&self) -> Duration {
        self.settings.stop_grace + ENDING
    }

    /// Remembers an idle stop that may be cut off. `before`: the earlier state, if this process saw it. `ending`: how
    /// long from now the container may still end by the stop.
    pub fn note_cut_off(&self, known: &Sandbox, before: Option<State>, ending: Duration) -> CutOff {
        let ends_until = self.clock.steady() + ending;
        let fresh = CutOff { generation: known.life.generation, ends_until, before, heard: None };
        let mut cut_off = self.cut_off();
        let noted = cut_off.entry(known.id.clone()).or_insert_with(|| fresh.clone());
        if noted.generation != known.life.generation || fresh.before.is_some() {
            let heard = noted.heard.filter(|_| noted.generation == known.life.generation);
            *noted = CutOff { heard, ..fresh };
        }
        noted.clone()
    }

    /// Takes back an idle stop that was cut off. Nobody knows whether the signal was sent. If it was, the container
    /// ends within the grace, even if the sender is gone, and the stop stands. If not, the sandbox gets its earlier
    /// state back, and its later reports count.
    pub async fn take_back(&self, known: &Sandbox) -> Tried {
        let Some(container) = &known.container else { return Ok(false) };
        let cut = self.note_cut_off(known, None, self.ending());
        if self.clock.steady() < cut.ends_until {
            return Ok(false);
        }
        let shown = self.engine.inspect(container).await?;
        let is_same = |mark: &String| shown.phase == Phase::Running && shown.mark.as_ref() == Some(mark);
        let done = match &cut.before {
            Some(before @ State::Running { mark, .. }) if is_same(mark) => {
                self.records.mark(known, before.clone()).await?
            }
            _ => self.record_running(known, container).await?,
        };
        // Use during the stop was not recorded.
        self.usage.forget_counts(&known.id);
        let heard = self.cut_off().remove(&known.id).and_then(|cut| cut.heard);
        let Some(now) = self.records.store.get(&known.id).await?.filter(|_| done) else { return Ok(done) };
        if let Some(at) = heard.filter(|_| now.life.generation == known.life.generation) {
            let evidence = Evidence { source: Source::CheckIn, at };
            self.records.store.record_use(vec![(now.id.clone(), now.life.generation, evidence)]).await?;
        }
        let why = "the stop was not carried out: the engine or the database failed, or the server ended".into();
        self.records.decided(&now, Decided::Dropped, why).await;
        Ok(done)
    }

    /// Forgets a stop that was not recorded, or has ended the sandbox.
    pub fn forget_cut_off(&self, id: &SandboxId) {
        self.cut_off().remove(id);
    }

    /// Remembers a report that comes while an idle stop may be cut off; it counts if the stop was not carried out. A
    /// late report of a sandbox that does stop changes nothing (`CONTRACT.md` 32). Returns whether it is remembered.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn hear_of_stopping(&self, token: Option<Token>, now: Timestamp) -> Result<bool> {
        let Some(token) = token.filter(|_| !self.cut_off().is_empty()) else { return Ok(false) };
        let Some((id, generation)) = self.records.store.stopping(token).await? else { return Ok(false) };
        let mut cut_off = self.cut_off();
        let Some(cut) = cut_off.get_mut(&id).filter(|cut| cut.generation == generation) else { return Ok(false) };
        cut.heard = Some(now);
        tracing::debug!(sandbox = %id, "check-in of one that is being stopped");
        Ok(true)
    }

    /// Follows the clock, which was set together with all records.
    pub fn shift(&self, by: SignedDuration) {
        self.cut_off().values_mut().for_each(|cut| cut.heard = cut.heard.and_then(|at| at.checked_add(by).ok()));
    }
}
