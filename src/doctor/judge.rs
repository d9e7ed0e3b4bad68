//! Turns facts into findings. Pure: everything that it looks at is in the arguments.

mod docker;
mod machine;
mod network;
mod server;

use super::{facts::Facts, finding::Finding};
use crate::config::Config;

type Check = fn(&Config, &Facts) -> Finding;

/// All checks. Each comes after the checks that it depends on.
const CHECKS: [(&str, Check); 21] = [
    ("engine", docker::engine),
    ("api", docker::api),
    ("storage", docker::storage),
    ("limits", docker::limits),
    ("live restore", docker::live_restore),
    ("engine disk", machine::engine_disk),
    ("database disk", machine::database_disk),
    ("clock", machine::clock),
    ("kernel limits", machine::kernel_limits),
    ("subnet", network::subnet),
    ("routes", network::routes),
    ("bridge", network::bridge),
    ("port range", network::port_range),
    ("ports left", network::ports_left),
    ("descriptors", machine::descriptors),
    ("password", server::password),
    ("server", server::server),
    ("relay", server::relay),
    ("check-in", network::check_in),
    ("firewall", network::firewall),
    ("reports", server::reports),
];

/// All findings.
pub fn findings(config: &Config, facts: &Facts) -> Vec<Finding> {
    CHECKS.iter().map(|(name, check)| Finding { check: name, ..check(config, facts) }).collect()
}

#[cfg(test)]
mod tests;
