//! A container, as `/v1/containers` shows it. Its first eight keys come from spin-docker and are strings; ours have
//! proper types (`CONTRACT.md` 8).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    action::Failure,
    values::{Instant, Limit, Word},
};

/// The container object.
/// Its fields are the keys on the wire, which v1 has on one level.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Container {
    /// 64 hex digits.
    pub container_id: String,
    /// It begins with `/`.
    pub name: String,
    /// The image, as its creator named it.
    pub image: String,
    /// `running`, `stopping` or `stopped`.
    pub status: Word,
    /// The last value that it reported.
    pub active: String,
    /// The host port of 22/tcp; empty while it is stopped.
    pub ssh_port: String,
    /// The host port of its app; empty while it is stopped.
    pub app_port: String,
    /// Its path in the API.
    pub uri: String,
    /// The URL of its app, running or not.
    pub access: Option<String>,
    /// The namespace that it is in.
    #[serde(default)]
    pub namespace: String,
    /// The learner whose own it is.
    pub owner: Option<String>,
    /// All its ports.
    #[serde(default)]
    pub ports: Vec<Port>,
    /// When it was created.
    pub created_at: Instant,
    /// When it was started, while it runs.
    pub started_at: Option<Instant>,
    /// When it was stopped, while it is stopped.
    pub stopped_at: Option<Instant>,
    /// Why it was stopped.
    pub stopped_reason: Option<Word>,
    /// When it will be stopped, unless it is used before.
    pub stops_at: Option<Instant>,
    /// When it was last used.
    pub last_active_at: Option<Instant>,
    /// When its learner last used it.
    pub last_used_at: Option<Instant>,
    /// By what that is known.
    pub used_by: Option<UsedBy>,
    /// When it last reported.
    pub last_check_in_at: Option<Instant>,
    /// The seconds between its reports, as seen.
    pub report_period: Option<u64>,
    /// Why it runs, or was stopped, in a sentence.
    #[serde(default)]
    pub why: String,
    /// Until when somebody keeps it.
    pub keep_until: Option<Instant>,
    /// Who keeps it.
    pub extended: Option<Extended>,
    /// The policy that applies to it.
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
    /// When a wake last failed.
    pub wake_failed_at: Option<Instant>,
    /// Why that wake failed.
    pub wake_failure: Option<String>,
    /// Whether somebody paused it behind our back.
    #[serde(default)]
    pub paused: bool,
    /// The exit code of its last run.
    pub exit_code: Option<i64>,
    /// Whether the kernel killed a process of its last run because memory ran out.
    pub oom_killed: Option<bool>,
    /// The last lines that its last run wrote.
    pub last_lines: Option<Vec<String>>,
    /// Its name in the engine, if that differs.
    pub engine_name: Option<String>,
}

/// The newest sign that somebody uses a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsedBy {
    /// `check_in`, `connection` or `cpu`.
    pub source: Word,
    /// How many seconds ago.
    pub age: u64,
}

/// A new container, with warnings about what its creator may not have meant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Created {
    /// The container.
    #[serde(flatten)]
    pub container: Container,
    /// The warnings, as sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// What became of one of several containers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Result {
    /// Its name; one that was not made and has none is empty.
    pub name: String,
    /// 64 hex digits.
    pub container_id: Option<String>,
    /// The status with which a request about it alone would be answered.
    pub status: u16,
    /// How a message was shown.
    #[serde(flatten)]
    pub shown: Option<Shown>,
    /// A container that was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<Created>,
    /// Why it was not done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
}

/// How a message was shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// On how many terminals it is shown.
    pub terminals: u32,
    /// On how many it is not, because their reader has stopped them (Ctrl-S).
    pub stopped: u32,
}

/// A port with its host port, which stays reserved, stopped or not (`CONTRACT.md` 10).
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

/// The traffic of a port since the relay began to listen on it.
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
    /// It is stopped after so long without use.
    pub idle_timeout: Limit,
    /// Connections keep it for so long after the last interactive evidence.
    pub connection_cap: Limit,
    /// It is stopped so long after its start, used or not.
    pub max_age: Limit,
    /// Its users are warned so long before a stop.
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
