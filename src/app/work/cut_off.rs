//! Cut off: idle stops of which nobody knows whether they were carried out.

use std::{collections::HashMap, sync::MutexGuard, time::Duration};

use jiff::{SignedDuration, Timestamp};

use super::{Tried, Work};
use crate::{
    app::Result,
    domain::{Decided, Evidence, Phase, Sandbox, SandboxId, Source, State, Token},
};

/// Beyond its grace, how long the engine may take to end a container.
const ENDING: Duration = Duration::from_secs(2);

/// An idle stop of which nobody knows whether it was carried out.
#[derive(Debug, Clone)]
pub struct CutOff {
    /// Of which start.
    generation: u64,
    /// When it last reported that it is used; it counts if the stop was not carried out.
    heard: Option<Timestamp>,
    /// Until when, by the time that passes whatever the clock does, the container may still end by it.
    ends_until: Duration,
    /// The state that it had before.
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

    /// How long it may take from the signal until a container has ended by it.
    pub fn ending(&self) -> Duration {
        self.settings.stop_grace + ENDING
    }

    /// Remembers an idle stop that may be cut off, what was stopped, if this process saw that, and how long from now on it
    /// may still end by it.
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

    /// Takes back an idle stop that was cut off. Whether its signal was sent nobody knows: if it was, the container ends
    /// by it within its grace, whatever became of whoever sent it, and then it has stopped for that reason. If not, it
    /// is as it was before, and what was heard of it since is decided on anew.
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
        // What moved meanwhile was not recorded.
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

    /// The stop of a sandbox was not recorded, or has ended it.
    pub fn forget_cut_off(&self, id: &SandboxId) {
        self.cut_off().remove(id);
    }

    /// What is heard of a sandbox while nobody knows whether its idle stop was carried out is remembered, and counts if it
    /// was not. The late report of one that does stop changes nothing (`CONTRACT.md` 32). Whether it is remembered.
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

    /// The clock was set, and all records with it.
    pub fn shift(&self, by: SignedDuration) {
        self.cut_off().values_mut().for_each(|cut| cut.heard = cut.heard.and_then(|at| at.checked_add(by).ok()));
    }
}
