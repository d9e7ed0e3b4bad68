//! The state of Spindle, as `/v1/health` shows it to people and monitors.

use serde::{Deserialize, Serialize};

use super::values::{Instant, Word};

/// Whether Spindle can do its work. Inside its parts the keys are in alphabetical order, as they always were. A reader
/// knows a Spindle by `version` and `check_in`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// `ok`, `starting` or `unavailable`.
    #[serde(default)]
    pub status: Word,
    /// The server's version.
    pub version: Word,
    /// The container engine.
    #[serde(default)]
    pub engine: Engine,
    /// The database.
    #[serde(default)]
    pub database: Database,
    /// The door at which sandboxes report.
    pub check_in: CheckInDoor,
    /// The relay.
    #[serde(default)]
    pub relay: Relay,
    /// The last pass over all sandboxes, if there was one.
    pub last_pass: Option<Pass>,
    /// How many containers there are.
    #[serde(default)]
    pub containers: Containers,
}

/// The container engine.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Engine {
    /// The version of its API that we speak with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// Why it is not well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// `ok` or `unavailable`.
    pub status: Word,
    /// Its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// The database.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Database {
    /// Why it is not well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// `ok` or `unavailable`.
    pub status: Word,
}

/// The door at which sandboxes report.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CheckInDoor {
    /// Where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listening_on: Option<String>,
    /// Why it is not open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<Word>,
    /// `ok` or `unavailable`.
    pub status: Word,
}

/// The relay, which carries the connections to sandboxes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Relay {
    /// How many connections it carries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<u64>,
    /// How many file descriptors its process has open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub descriptors: Option<u64>,
    /// How many descriptors it may have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub descriptors_limit: Option<u64>,
    /// How many ports it listens on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listeners: Option<u64>,
    /// Why it is not well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Ports of sandboxes that it cannot open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ports_not_open: Option<Vec<PortNotOpen>>,
    /// `ok`, `impaired` or `unavailable`.
    pub status: Word,
}

/// A port of a sandbox that cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortNotOpen {
    /// Which one.
    pub at: String,
    /// Why.
    #[serde(default)]
    pub message: Word,
}

/// A pass over all sandboxes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Pass {
    /// When it began.
    pub at: Option<Instant>,
    /// How many sandboxes the engine fails to stop, start or remove.
    pub failing: usize,
    /// How many sandboxes the store knew.
    pub known: usize,
    /// Until when no sandbox is stopped for being idle.
    pub no_idle_stops_before: Option<Instant>,
    /// How many containers the engine showed.
    pub observed: usize,
    /// How many steps were due.
    pub steps: usize,
}

/// How many containers there are.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Containers {
    /// Running.
    pub running: u64,
    /// Stopped.
    pub stopped: u64,
    /// Being stopped.
    pub stopping: u64,
}
