//! From facts to findings. Pure: what is looked at is all in the arguments.

mod docker;
mod machine;
mod network;
mod server;

use super::facts::Facts;
use crate::config::Config;
pub use machine::SHARED;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// As it should be.
    Ok,
    /// Worth a look; it prevents nothing.
    Warn,
    /// It prevents work.
    Fail,
    /// It could not be looked at, which is no proof of anything.
    Unseen,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub check: &'static str,
    pub status: Status,
    /// What was seen.
    pub found: String,
    /// Why that matters; empty where all is well.
    pub why: String,
    /// What mends it: a command, or a setting; empty where all is well, and where another finding says it.
    pub fix: String,
}

type Check = fn(&Config, &Facts) -> Finding;

/// Everything that is looked at, in the order in which one thing stands on another.
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

fn finding(status: Status, found: impl Into<String>, why: &str, fix: impl Into<String>) -> Finding {
    Finding { check: "", status, found: found.into(), why: why.to_owned(), fix: fix.into() }
}

fn ok(found: impl Into<String>) -> Finding {
    finding(Status::Ok, found, "", "")
}

fn warn(found: impl Into<String>, why: &str, fix: impl Into<String>) -> Finding {
    finding(Status::Warn, found, why, fix)
}

fn fail(found: impl Into<String>, why: &str, fix: impl Into<String>) -> Finding {
    finding(Status::Fail, found, why, fix)
}

/// What could not be looked at, for a reason that another finding mends.
fn unseen(why_not: impl Into<String>) -> Finding {
    finding(Status::Unseen, why_not, "", "")
}

#[cfg(test)]
mod tests;
