//! Health: whether Spindle can do its work, in a form that a person and a monitor can read.

use std::time::Duration;

use super::Asked;
use crate::{
    app::{CheckInDoor, ConvergeReport, chain},
    engine::EngineInfo,
    relay::{Load, Unopened},
    store::Counts,
};

/// How long a monitor waits for an engine that hangs.
const PATIENCE: Duration = Duration::from_secs(2);

/// The state of everything that Spindle depends on.
#[derive(Debug, Clone)]
pub struct Health {
    /// The engine, asked just now; or why it cannot be used.
    pub engine: Result<EngineInfo, String>,
    /// The database; or why it cannot be used.
    pub database: Result<(), String>,
    /// The check-in door.
    pub door: CheckInDoor,
    /// The relay; or why it cannot be used.
    pub relay: Result<Load, String>,
    /// Sandboxes' ports that cannot be opened.
    pub held: Vec<Unopened>,
    /// There has been a complete pass since our start; before it, the list may lack sandboxes.
    pub has_begun: bool,
    /// The last pass, if there was one.
    pub last_pass: Option<ConvergeReport>,
    /// How many sandboxes there are.
    pub counts: Counts,
    /// How many sandboxes the engine repeatedly fails to stop, start or remove; the log says why.
    pub failing: usize,
}

impl Health {
    /// Whether all is well (`CONTRACT.md` 33).
    pub fn is_well(&self) -> bool {
        let open = matches!(self.door, CheckInDoor::Open(_)) && self.relay.is_ok();
        open && self.engine.is_ok() && self.database.is_ok() && self.has_begun
    }

    /// Whether the engine and the database work, and only the first pass is missing.
    pub fn is_starting(&self) -> bool {
        self.engine.is_ok() && self.database.is_ok() && !self.has_begun
    }
}

impl Asked {
    /// Asks every part. Never fails: a part that does not answer is shown as failed.
    pub async fn health(&self) -> Health {
        let asked = match tokio::time::timeout(PATIENCE, self.engine.info()).await {
            Ok(answer) => answer.map_err(|e| e.to_string()),
            Err(_) => Err(format!("the container engine did not answer within {} s", PATIENCE.as_secs())),
        };
        let (counts, database) =
            tokio::join!(tokio::time::timeout(PATIENCE, self.records.store.counts()), self.vitals.database());
        let counts = match counts {
            Ok(counts) => counts.map_err(|e| chain(&e)),
            Err(_) => Err(format!("the database did not answer within {} s", PATIENCE.as_secs())),
        };
        let relay = match tokio::time::timeout(PATIENCE, self.records.relay_load()).await {
            Ok(load) => load.map_err(|e| e.to_string()),
            Err(_) => Err(format!("the relay did not answer within {} s", PATIENCE.as_secs())),
        };
        // An engine that answers may still be unusable, for example because its network does not fit.
        let engine = asked.and_then(|info| self.vitals.engine_failure().map_or(Ok(info), Err));
        let last_pass = self.vitals.report();
        Health {
            engine,
            database: database.and(counts.as_ref().map(drop).map_err(Clone::clone)),
            door: self.vitals.door(),
            relay,
            held: self.records.held(),
            failing: self.work.failures(),
            has_begun: self.vitals.has_begun() && last_pass.is_some(),
            last_pass,
            counts: counts.unwrap_or_default(),
        }
    }
}
