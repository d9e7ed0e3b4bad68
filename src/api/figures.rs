//! What a container uses, what runs in it, and what it is made of.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    container::Container,
    values::{Instant, Word},
};

/// What a container uses at one moment. What the machine does not count is `null`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// When it was measured.
    pub at: Instant,
    /// Cores in use just before: 0.5 is half of one.
    pub cpu: f64,
    /// Seconds of cpu time since its start.
    pub cpu_seconds: f64,
    /// Its memory.
    pub memory: MemoryUse,
    /// Processes and threads.
    pub processes: u64,
    /// Bytes over its network.
    pub network: Option<Bytes>,
    /// Bytes that its ports have carried.
    pub relay: Bytes,
    /// Bytes written to disks since its start.
    pub disk_written: Option<u64>,
}

/// Memory, in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryUse {
    /// In use, without files that the kernel keeps at hand.
    pub used: u64,
    /// The most that it may have.
    pub limit: Option<u64>,
    /// The most that it has had since its start, with such files.
    pub peak: Option<u64>,
}

/// Bytes in two directions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub struct Bytes {
    /// Into the container.
    pub received: u64,
    /// Out of it.
    pub sent: u64,
}

/// The processes in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Processes {
    /// They themselves.
    pub processes: Vec<Process>,
    /// Whether there are more.
    pub truncated: bool,
}

/// A process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its number on the host.
    pub pid: u32,
    /// The number of its user.
    pub uid: u32,
    /// Whole seconds of cpu time.
    pub cpu_seconds: u64,
    /// Program and arguments.
    pub command: String,
}

/// What a container was asked to be, and what it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Configuration {
    /// The container, with all that was asked for.
    pub asked: Container,
    /// What the engine has made of it.
    pub effective: Effective,
}

/// What the engine has made of a container.
/// Its fields are the keys on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effective {
    /// The id of its image.
    pub image_id: String,
    /// Variables; secrets are `***`.
    pub env: BTreeMap<String, String>,
    /// What is run.
    pub entrypoint: Vec<String>,
    /// Its arguments.
    pub command: Vec<String>,
    /// As whom; empty: root.
    pub user: String,
    /// In which folder.
    pub workdir: String,
    /// The name of its system.
    pub hostname: String,
    /// Its networks, with its address in each.
    pub networks: BTreeMap<String, Option<String>>,
    /// What is mounted in it.
    pub mounts: Vec<Mount>,
    /// The most processes and threads.
    pub processes_limit: Option<u64>,
    /// Capabilities.
    pub capabilities: Vec<String>,
    /// Whether programs such as `sudo` gain nothing.
    pub no_new_privileges: bool,
}

/// Something mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Where.
    pub at: String,
    /// `bind`, `volume` or `tmpfs`.
    pub kind: Word,
    /// Whether it can be written to.
    pub writable: bool,
}
