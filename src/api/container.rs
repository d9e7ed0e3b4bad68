//! A container, as `/v1/containers` shows it. Its first eight keys are spin-docker's, and strings; the rest is ours,
//! properly typed (`CONTRACT.md` 8).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::values::{Instant, Limit, Word};

/// The container object.
/// Its fields are the keys on the wire, which v1 has on one level.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Container {
    /// 64 hex digits.
    pub container_id: String,
    /// It begins with `/`.
    pub name: String,
    /// As its creator named it.
    pub image: String,
    /// `running`, `stopping` or `stopped`.
    pub status: Word,
    /// The last value that it reported.
    pub active: String,
    /// The host port of 22/tcp; empty while it is stopped.
    pub ssh_port: String,
    /// The host port of its app; empty while it is stopped.
    pub app_port: String,
    /// Where the API has it.
    pub uri: String,
    /// The URL of its app, running or not.
    pub access: Option<String>,
    /// Every port that it has.
    #[serde(default)]
    pub ports: Vec<Port>,
    /// When it was created.
    pub created_at: Instant,
    /// When it was started, while it runs.
    pub started_at: Option<Instant>,
    /// When it was stopped, while it is.
    pub stopped_at: Option<Instant>,
    /// Why it was stopped.
    pub stopped_reason: Option<Word>,
    /// When it will be stopped, unless it is used until then.
    pub stops_at: Option<Instant>,
    /// When it was last used.
    pub last_active_at: Option<Instant>,
    /// When it last reported.
    pub last_check_in_at: Option<Instant>,
    /// How often it is seen to report, in seconds.
    pub report_period: Option<u64>,
    /// Why it runs, or was stopped, in a sentence.
    #[serde(default)]
    pub why: String,
    /// Until when somebody keeps it.
    pub keep_until: Option<Instant>,
    /// Who keeps it.
    pub extended: Option<Extended>,
    /// When it is stopped.
    #[serde(flatten)]
    pub policy: Policy,
    /// Its time zone.
    #[serde(default)]
    pub tz: String,
    /// Its memory limit in bytes.
    #[serde(default)]
    pub memory: u64,
    /// Its cpu limit in cores.
    #[serde(default)]
    pub cpus: f64,
    /// Its creator's labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// What its ports have carried.
    #[serde(default)]
    pub traffic: Vec<Traffic>,
    /// Which connections wake it.
    #[serde(default)]
    pub wake: Word,
    /// When it could last not be woken.
    pub wake_failed_at: Option<Instant>,
    /// Why it could not.
    pub wake_failure: Option<String>,
    /// Somebody paused it behind our back.
    #[serde(default)]
    pub paused: bool,
    /// With which code its last run ended.
    pub exit_code: Option<i64>,
    /// Whether the kernel ended its last run for want of memory.
    pub oom_killed: Option<bool>,
    /// What its last run said last.
    pub last_lines: Option<Vec<String>>,
    /// Its name in the engine, if that has another.
    pub engine_name: Option<String>,
}

/// A container that was just made, with what its maker may not have meant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Created {
    /// The container.
    #[serde(flatten)]
    pub container: Container,
    /// Sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// A port with the host port that stays reserved for it, stopped or not (`CONTRACT.md` 10).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// The port inside.
    pub container_port: u16,
    /// `tcp` or `udp`.
    pub protocol: Word,
    /// The address on the host.
    pub host: String,
    /// The port on the host.
    pub host_port: u16,
}

/// What a port that the relay carries has carried since the relay began to listen on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// The port inside.
    pub container_port: u16,
    /// How many connections are open.
    pub connections: u32,
    /// Bytes from clients.
    pub bytes_in: u64,
    /// Bytes to clients.
    pub bytes_out: u64,
    /// When the last byte moved.
    pub last_byte_at: Option<Instant>,
}

/// The policy of stopping that applies to a container.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    /// Without use for so long it is stopped.
    pub idle_timeout: Limit,
    /// For so long after the last sign of a person connections keep it.
    pub connection_cap: Limit,
    /// So long after its start it is stopped, used or not.
    pub max_age: Limit,
    /// So long before a stop those inside are warned.
    pub warn_before: Limit,
    /// What counts as use: a list with commas, or `none`.
    pub evidence: String,
}

/// Who last said that a container shall be kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extended {
    /// When it was said.
    pub at: Instant,
    /// Who said it.
    pub by: String,
    /// Until when it shall be kept.
    pub until: Instant,
}
