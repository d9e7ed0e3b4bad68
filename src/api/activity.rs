//! Why a container runs or was stopped, as `/v1/containers/{id}/activity` shows it.

use serde::{Deserialize, Serialize};

use super::{
    container::{Extended, Policy},
    values::{Instant, Word},
};

/// Why a container is in its state.
/// Its fields are the keys on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activity {
    /// 64 hex digits.
    pub container_id: String,
    /// It begins with `/`.
    pub name: String,
    /// `running`, `stopping` or `stopped`.
    pub status: Word,
    /// The reason, in a sentence.
    pub why: String,
    /// When it will be stopped, unless it is used before.
    pub stops_at: Option<Instant>,
    /// What will be `stopped_reason` then.
    pub stops_for: Option<Word>,
    /// When its users will be warned.
    pub warns_at: Option<Instant>,
    /// Until when no container is stopped for being idle.
    pub no_idle_stops_before: Option<Instant>,
    /// Until when somebody keeps it.
    pub keep_until: Option<Instant>,
    /// Who keeps it.
    pub extended: Option<Extended>,
    /// The policy that applies to it.
    #[serde(default)]
    pub policy: Policy,
    /// What is known about its use, source by source.
    #[serde(default)]
    pub sources: Vec<Evidence>,
    /// What its reporter says.
    #[serde(default)]
    pub check_ins: CheckIns,
    /// Its ports.
    #[serde(default)]
    pub ports: Vec<PortUse>,
    /// What Spindle does not see.
    pub note: Option<Word>,
    /// What was decided about it, newest first.
    #[serde(default)]
    pub decisions: Vec<Decision>,
}

/// One source of evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Its name.
    pub source: Word,
    /// `interactive` or `connection`.
    pub class: Word,
    /// Whether it keeps this container.
    pub counts: bool,
    /// When it was last heard of.
    pub last_at: Option<Instant>,
    /// How often it was.
    pub count: u64,
}

/// What the image's reporter says, and whether it still does.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CheckIns {
    /// Whether reports come: `never`, `ceased` or `current`.
    pub state: Word,
    /// When the last one came.
    pub last_at: Option<Instant>,
    /// What it said.
    pub last_value: u64,
    /// The seconds between its reports, as seen.
    pub period: Option<u64>,
    /// How often its limit needs a report, in seconds.
    pub needed: Option<u64>,
    /// Says so if that is not often enough.
    pub note: Option<String>,
}

/// One port, and whether anybody sees its use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortUse {
    /// The port inside.
    pub container_port: u16,
    /// `tcp` or `udp`.
    pub protocol: Word,
    /// Whether its use is seen.
    pub seen: bool,
    /// How many connections are open.
    pub connections: u32,
    /// How many of them were used lately.
    pub connections_in_use: u32,
    /// When the last byte moved.
    pub last_byte_at: Option<Instant>,
    /// When enough bytes last moved to be use.
    pub last_use_at: Option<Instant>,
}

/// One decision, with the newest evidence that it rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// When it was made.
    pub at: Instant,
    /// What was decided.
    pub decision: Word,
    /// Why, in a sentence.
    pub why: String,
    /// The source of the evidence.
    pub evidence: Option<Word>,
    /// When the evidence came.
    pub evidence_at: Option<Instant>,
}
