//! Recording: whether what happens to sandboxes reaches the disk. What does not is no silence (`IDLENESS.md`, rule 8).

use std::{sync::Arc, time::Duration};

use super::{State, Vitals};
use crate::{
    app::chain,
    domain::rules::{Rule, broken},
};

/// How long the database is waited for, by a monitor as well as by a pass.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often at most it is tried for those who ask.
const BEAT: Duration = Duration::from_secs(1);

/// How old what an idle stop rests on may be when the stop is recorded. Beyond that nobody knows what happened meanwhile.
const FRESH: Duration = Duration::from_secs(5);

impl Vitals {
    /// Whether the database takes writes, and is where it was; tried once a second, however many ask.
    pub async fn database(&self) -> Result<(), String> {
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

    async fn try_database(&self) -> Result<(), String> {
        let said = match tokio::time::timeout(PATIENCE, self.store.beat()).await {
            Ok(beaten) => beaten.map_err(|e| chain(&e)),
            Err(_) => Err(format!("the database did not answer within {} s", PATIENCE.as_secs())),
        };
        self.tell_of_database(said.as_ref().err());
        said
    }

    /// Says once that it fails, and once that it is over.
    fn tell_of_database(&self, why: Option<&String>) {
        let before = std::mem::replace(&mut self.state().database, why.cloned());
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
    pub async fn is_recording(&self) -> bool {
        let mut works = true;
        if self.store.fails() {
            works = self.try_database().await.is_ok();
        }
        let mut state = self.state();
        let failures = self.store.failures();
        let is_recording =
            works && std::mem::replace(&mut state.failures, failures) == failures || broken(Rule::CouldNotRecord);
        // At once: a stop that was planned before may be looking whether it is still allowed.
        if !is_recording {
            state.hold.impair();
        }
        is_recording
    }

    /// Something was to be recorded since the last pass, and is lost.
    pub(super) fn has_lost(&self, state: &State) -> bool {
        self.store.failures() != state.failures && !broken(Rule::CouldNotRecord)
    }

    /// Whether what is known at this moment still decides when it is asked later: nothing was lost, and not much time has
    /// passed.
    pub fn still(&self) -> impl Fn() -> bool + Clone + Send + 'static {
        let (store, clock) = (Arc::clone(&self.store), Arc::clone(&self.clock));
        let (failures, since) = (store.failures(), clock.steady());
        move || {
            broken(Rule::CouldNotRecord) || store.failures() == failures && clock.steady().saturating_sub(since) < FRESH
        }
    }
}
