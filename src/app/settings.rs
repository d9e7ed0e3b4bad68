//! What the configuration decides for the use cases.

use std::{net::IpAddr, time::Duration};

use crate::{
    domain::{Cpus, Memory, Policy, Wake, Zone},
    store::PortPool,
};

/// What the configuration decides for the use cases.
/// Its fields are settings, one for each.
#[derive(Debug, Clone)]
pub struct Settings {
    /// When sandboxes that have nothing of their own are stopped.
    pub policy: Policy,
    /// For how long at most somebody inside may keep a sandbox at a time.
    pub keep_max: Duration,
    /// Which connections wake a sandbox for which nothing else is said.
    pub wake: Wake,
    /// How often images report.
    pub report_period: Duration,
    /// For how long nothing is stopped after sandboxes could not report (`IDLENESS.md`, rule 7).
    pub resume_grace: Duration,
    /// How often the pass is woken when nothing else wakes it.
    pub converge_every: Duration,
    /// Where host ports come from.
    pub pool: PortPool,
    /// How many sandboxes may run at once.
    pub max_running: u32,
    /// How many sandboxes the engine creates or starts at once, and how many it removes. More at once gains nothing,
    /// and a hundred at once make it miss its deadlines.
    pub start_concurrency: usize,
    /// From SIGTERM to SIGKILL (`CONTRACT.md` 21).
    pub stop_grace: Duration,
    /// The memory limit of a sandbox whose creator set none.
    pub memory: Memory,
    /// The cpu limit of a sandbox whose creator set none.
    pub cpus: Cpus,
    /// The time zone of sandboxes for which neither their creator nor their image says one; none: UTC, and their programs are
    /// told nothing.
    pub zone: Option<Zone>,
    /// Public keys, one a line: of a sandbox whose creator gave none, or of every one.
    pub default_ssh_key: Option<String>,
    /// Whether they are added to those that a creator gave.
    pub default_ssh_key_always: bool,
    /// Where the check-in door is; none: at the network's gateway.
    pub check_in_address: Option<IpAddr>,
    /// Its port.
    pub check_in_port: u16,
}
