//! Calculates how many sandboxes the host holds, existing ones included. Pure.

use super::{
    facts::{Facts, Shown},
    words::{grouped, size},
};
use crate::{config::Config, domain::limits::BRIDGE, host};

/// The memory that the host keeps for itself, at most a quarter; and what a sandbox costs on top of its own limit.
const HOST_KEEPS: u64 = 1 << 30;
const SHIM: u64 = 5 << 20;

/// How much a sandbox is assumed to write on the disk, its logs included. Nothing limits it.
const DISK_EACH: u64 = 256 << 20;

/// The server's descriptors for things other than sandboxes and connections.
const DESCRIPTORS_BESIDE: u64 = 256;

/// One thing that limits how many sandboxes there can be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// Its name.
    pub of: &'static str,
    /// How many it allows.
    pub sandboxes: u64,
    /// How that was calculated.
    pub how: String,
}

/// How many sandboxes the host holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capacity {
    /// The memory of one, in bytes.
    pub memory_each: u64,
    /// What limits them, the tightest first.
    pub limits: Vec<Limit>,
}

/// How many ports a sandbox has: as many as the existing ones, else the lab image's two.
pub fn ports_each(facts: &Facts) -> u64 {
    let sandboxes: &[Shown] = facts.sandboxes.as_deref().unwrap_or_default();
    let ports: usize = sandboxes.iter().map(|s| s.ports.len()).sum();
    if ports == 0 { 2 } else { ports.div_ceil(sandboxes.len()) as u64 }
}

/// How many sandboxes of the usual size the host holds.
pub fn of(config: &Config, facts: &Facts) -> Capacity {
    let memory_each = config.sandbox.memory.bytes();
    let ports = ports_each(facts);
    let range = config.port_range.len() as u64;
    let limit = |of, sandboxes, how| Limit { of, sandboxes, how };
    let mut limits = vec![
        limit("bridge", BRIDGE, "interfaces that the kernel connects to one bridge".to_owned()),
        limit("addresses", config.addresses(), config.subnet.to_string()),
        limit("ports", range / ports, format!("{} of {ports} each", grouped(range))),
        limit("max_running", u64::from(config.max_running), "SPINDLE_MAX_RUNNING".to_owned()),
    ];
    let memory = facts.engine.as_ref().ok().map(|e| e.memory).filter(|m| *m > 0).or(facts.memory);
    limits.extend(memory.map(|all| {
        let kept = HOST_KEEPS.min(all / 4);
        let how = format!(
            "{}, less {} for the host; {} each and {} for its shim",
            size(all),
            size(kept),
            size(memory_each),
            size(SHIM)
        );
        limit("memory", (all - kept) / (memory_each + SHIM), how)
    }));
    let there = facts.sandboxes.as_ref().map_or(0, |s| s.len() as u64);
    limits.extend(facts.engine_disk.as_ref().ok().map(|disk| {
        let how = format!("{} free, for {} each, which nothing enforces", size(disk.free), size(DISK_EACH));
        limit("disk", there + disk.free / DISK_EACH, how)
    }));
    let descriptors = facts.server.as_ref().ok().and_then(|s| s.descriptors).map(|(_, limit)| limit);
    limits.extend(descriptors.or(facts.descriptors).map(|all| {
        let room = host::room(all);
        let connections = u64::from(config.relay.limits.connections).min(room.relay);
        let left = all.saturating_sub(DESCRIPTORS_BESIDE + 3 * (room.api + room.door) + 2 * connections);
        let how = format!("{} beside {} connections; {} each", grouped(all), grouped(connections), ports + 1);
        // A descriptor for each port, and one to watch the first process.
        limit("descriptors", left / (ports + 1), how)
    }));
    limits.sort_by_key(|l| l.sandboxes);
    Capacity { memory_each, limits }
}

impl Capacity {
    /// In a sentence.
    pub fn sentence(&self) -> String {
        let first = &self.limits[0];
        let memory = match self.memory_each {
            m if m % (1 << 30) == 0 => format!("{} GB", m >> 30),
            m => format!("{} MB", m >> 20),
        };
        let name = match first.of {
            "bridge" => "the bridge",
            "addresses" => "the subnet",
            "ports" => "the port range",
            "descriptors" => "file descriptors",
            "max_running" => "SPINDLE_MAX_RUNNING",
            other => other,
        };
        format!("This host holds about {} sandboxes of {memory}; the first limit is {name}.", grouped(first.sandboxes))
    }
}
