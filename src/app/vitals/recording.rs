//! Recording: whether reports and use reach the disk. A lost record is no silence (`IDLENESS.md`, rule 8).

use std::{sync::Arc, time::Duration};

use super::{State, Vitals};
use crate::{
    app::chain,
    domain::rules::{Rule, broken},
};

/// How long a monitor or a pass waits for the database.
const PATIENCE: Duration = Duration::from_secs(2);

/// The database is tried at most once in this time, however many ask.
const BEAT: Duration = Duration::from_secs(1);

/// How old the facts behind an idle stop may be when the stop is recorded. Later, nobody knows what happened meanwhile.
const FRESH: Duration = Duration::from_secs(5);

impl Vitals {
    /// Whether the database takes writes and its file is in place; tried once a second, however many ask.
    pub async fn database(&self) -> Result<(), String> {
        let mut tried = self.tried.lock().await;
        let is_recent = |at: Duration| self.clock.steady().saturating_sub(at) < BEAT;
        if let Some((_, said)) = tried.as_ref().filter(|(at, _)| is_recent(*at)) {
            return said.clone();
        }
        let said = self.try_database().await;
        // The time of the end: a try may take longer than its result is valid.
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

    /// Logs once that the database fails, and once that it works again.
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

    /// Whether every record since the last pass succeeded, and the database works now.
    pub async fn is_recording(&self) -> bool {
        let mut works = true;
        if self.store.fails() {
            works = self.try_database().await.is_ok();
        }
        let mut state = self.state();
        let failures = self.store.failures();
        let is_recording =
            works && std::mem::replace(&mut state.failures, failures) == failures || broken(Rule::CouldNotRecord);
        // Impair at once: an earlier planned stop may be checking right now whether it may go on.
        if !is_recording {
            state.hold.impair();
        }
        is_recording
    }

    /// Whether a record was lost since the last pass.
    pub(super) fn has_lost(&self, state: &State) -> bool {
        self.store.failures() != state.failures && !broken(Rule::CouldNotRecord)
    }

    /// A question to ask later: are the facts of this moment still good? They are if nothing was lost and little time
    /// has passed.
    pub fn still(&self) -> impl Fn() -> bool + Clone + Send + 'static {
        let (store, clock) = (Arc::clone(&self.store), Arc::clone(&self.clock));
        let (failures, since) = (store.failures(), clock.steady());
        move || {
            broken(Rule::CouldNotRecord) || store.failures() == failures && clock.steady().saturating_sub(since) < FRESH
        }
    }
}
