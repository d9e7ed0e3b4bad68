//! Record: whether what happens to sandboxes can be recorded. What cannot is no silence (`IDLENESS.md`, rule 8).

use std::{sync::Arc, time::Duration};

use jiff::SignedDuration;

use super::{App, Pulse, Result, chain, converge::JUMP};
use crate::{
    domain::{
        Grace,
        rules::{Rule, broken},
    },
    store::Scale,
};

/// How long the database is waited for, by a monitor as well as by a pass.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often at most it is tried for those who ask.
const BEAT: Duration = Duration::from_secs(1);

/// How old what an idle stop rests on may be when the stop is recorded. Beyond that nobody knows what happened meanwhile.
pub(super) const FRESH: Duration = Duration::from_secs(5);

impl App {
    /// Takes up that the clock was set, if it was, together with the records: what has passed is what it was.
    pub(super) async fn follow_clock(&self) -> Result<()> {
        let (to, by) = (Scale { boot: self.clock.boot(), ahead: self.clock.shown() }, self.clock.was_set_by());
        if by.is_zero() && self.store.scale().is_some_and(|s| s.boot == to.boot && s.ahead == self.clock.ahead()) {
            return Ok(());
        }
        let (clock, before, ahead) = (Arc::clone(&self.clock), self.clock.ahead(), to.ahead);
        if by.abs() > JUMP {
            self.pulse().impaired = true;
        }
        let by = if broken(Rule::LengthsArePassedTime) { SignedDuration::ZERO } else { by };
        let take_up = move |is_new: bool| clock.take_up(if is_new { ahead } else { before });
        let sandboxes = self.store.rescale(to, by, take_up).await?;
        let mut pulse = self.pulse();
        pulse.grace = pulse.grace.and_then(|grace| Some(Grace { since: grace.since.checked_add(by).ok()?, ..grace }));
        pulse.awaited.clear();
        pulse.cut_off.values_mut().for_each(|cut| cut.heard = cut.heard.and_then(|at| at.checked_add(by).ok()));
        drop(pulse);
        if by.abs() > JUMP {
            tracing::warn!(%by, sandboxes, "the clock was set; how long sandboxes have run and been used stays what it was");
        }
        Ok(())
    }

    /// Whether the database takes writes, and is where it was; tried once a second, however many ask.
    pub(super) async fn database(&self) -> std::result::Result<(), String> {
        let mut tried = self.tried.lock().await;
        let is_recent = |at: Duration| self.clock.steady().saturating_sub(at) < BEAT;
        if let Some((_, said)) = tried.as_ref().filter(|(at, _)| is_recent(*at)) {
            return said.clone();
        }
        let said = self.try_database().await;
        // A try may take longer than its result lasts.
        *tried = Some((self.clock.steady(), said.clone()));
        said
    }

    async fn try_database(&self) -> std::result::Result<(), String> {
        let said = match tokio::time::timeout(PATIENCE, self.store.beat()).await {
            Ok(beaten) => beaten.map_err(|e| chain(&e)),
            Err(_) => Err(format!("the database did not answer within {} s", PATIENCE.as_secs())),
        };
        self.tell_of_database(said.as_ref().err());
        said
    }

    /// Says once that it fails, and once that it is over.
    fn tell_of_database(&self, why: Option<&String>) {
        let before = std::mem::replace(&mut self.pulse().database, why.cloned());
        match why {
            Some(why) if before.as_ref() != Some(why) => {
                tracing::error!(
                    why,
                    "the database fails; while sandboxes cannot be recorded, none is stopped for being idle"
                );
            }
            None if before.is_some() => tracing::info!("the database works again"),
            _ => {}
        }
    }

    /// Whether all that was to be recorded since the last pass has been, and can be now.
    pub(super) async fn is_recording(&self) -> bool {
        let mut works = true;
        if self.store.fails() {
            works = self.try_database().await.is_ok();
        }
        let mut pulse = self.pulse();
        let failures = self.store.failures();
        let is_recording =
            works && std::mem::replace(&mut pulse.failures, failures) == failures || broken(Rule::CouldNotRecord);
        // At once: a stop that was planned before may be looking whether it is still allowed.
        pulse.impaired |= !is_recording;
        is_recording
    }

    /// Something was to be recorded since the last pass, and is lost.
    pub(super) fn has_lost(&self, pulse: &Pulse) -> bool {
        self.store.failures() != pulse.failures && !broken(Rule::CouldNotRecord)
    }

    /// Whether what is known at this moment still decides when it is asked later: nothing was lost, and not much time has
    /// passed.
    pub(super) fn still(&self) -> impl Fn() -> bool + Clone + Send + 'static {
        let (store, clock) = (Arc::clone(&self.store), Arc::clone(&self.clock));
        let (failures, since) = (store.failures(), clock.steady());
        move || {
            broken(Rule::CouldNotRecord) || store.failures() == failures && clock.steady().saturating_sub(since) < FRESH
        }
    }
}
