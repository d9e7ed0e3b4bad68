//! What the configuration decides for the use cases.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use crate::{
    domain::{Cpus, Memory, Password, Policy, Wake, Zone},
    store::PortPool,
};

/// The configured admin: always there, and always an admin.
#[derive(Clone)]
pub struct AdminLogin {
    /// The name.
    pub user: String,
    /// The password.
    pub password: Password,
}

impl std::fmt::Debug for AdminLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AdminLogin({})", self.user)
    }
}

/// How long programs inside and terminals last.
#[derive(Debug, Clone, Copy)]
pub struct ReachSettings {
    /// How long a program may run that somebody waits for, if nobody says.
    pub exec_timeout: Duration,
    /// How long a terminal stays when nobody types in it any more, for whoever comes back.
    pub terminal_patience: Duration,
    /// How often we look whether those at a terminal may still be there.
    pub terminal_look: Duration,
}

impl Default for ReachSettings {
    fn default() -> Self {
        Self {
            exec_timeout: Duration::from_mins(1),
            terminal_patience: Duration::from_mins(2),
            terminal_look: Duration::from_secs(15),
        }
    }
}

/// What the configuration decides for the use cases. Its fields are the settings, one for each.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The configured admin.
    pub admin: AdminLogin,
    /// The policy of sandboxes without their own.
    pub policy: Policy,
    /// The longest time for which somebody inside may keep a sandbox at once.
    pub keep_max: Duration,
    /// Which connections wake a sandbox that has no rule of its own.
    pub wake: Wake,
    /// How often images report.
    pub report_period: Duration,
    /// How long nothing is stopped after sandboxes could not report (`IDLENESS.md`, rule 7).
    pub resume_grace: Duration,
    /// How often a pass runs if nothing else wakes it.
    pub converge_every: Duration,
    /// Where host ports come from.
    pub pool: PortPool,
    /// How many sandboxes may run at once.
    pub max_running: u32,
    /// How many sandboxes the engine creates or starts at once, and how many it removes at once. More gain nothing, and
    /// a hundred make the engine miss its deadlines.
    pub start_concurrency: usize,
    /// From SIGTERM to SIGKILL (`CONTRACT.md` 21).
    pub stop_grace: Duration,
    /// The memory limit of a sandbox whose creator set none.
    pub memory: Memory,
    /// The cpu limit of a sandbox whose creator set none.
    pub cpus: Cpus,
    /// The time zone of a sandbox if neither its creator nor its image sets one; `None`: UTC, without a `TZ`.
    pub zone: Option<Zone>,
    /// Public keys, one per line: for sandboxes whose creator gave none, or for all.
    pub default_ssh_key: Option<String>,
    /// Whether these keys are also added to a creator's keys.
    pub default_ssh_key_always: bool,
    /// Where the check-in door is; `None`: at the network's gateway.
    pub check_in_address: Option<IpAddr>,
    /// Its port.
    pub check_in_port: u16,
    /// How long programs inside and terminals last.
    pub reach: ReachSettings,
    /// The directory for files on their way into sandboxes and out of them.
    pub spool: PathBuf,
    /// The most bytes that go in, or come out, at once.
    pub transfer_max: u64,
    /// How long actions are kept.
    pub actions_keep: Duration,
}
