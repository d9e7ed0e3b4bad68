//! The settings of the relay.

use std::{path::PathBuf, time::Duration};

use ipnet::Ipv4Net;

use super::{ConfigError, Values};
use crate::domain::{AddressRange, TrafficLimits, Wake};

/// The longest time that a connection may wait; clients give up earlier.
const WAKE_TIMEOUT_MAX: u64 = 300;

/// How the sandboxes' ports are carried.
#[derive(Debug, Clone)]
pub struct RelayConfig {
    /// `SPINDLE_RELAY_SOCKET`: the socket of a relay in its own process; `None`: the relay is in the server's.
    pub socket: Option<PathBuf>,
    /// `SPINDLE_WAKE`: which connections wake a sandbox that has no setting of its own.
    pub wake: Wake,
    /// `SPINDLE_WAKE_TIMEOUT`, `SPINDLE_CONNECTION_FLOOR`, `SPINDLE_CONNECTIONS`, `SPINDLE_CONNECTIONS_PER_SANDBOX`,
    /// `SPINDLE_CONNECTIONS_PER_SOURCE`, `SPINDLE_WAKES_PER_MINUTE`, `SPINDLE_WAKES_PER_SOURCE`,
    /// `SPINDLE_CONNECTIONS_FROM_SANDBOXES`.
    pub limits: TrafficLimits,
}

impl RelayConfig {
    /// `subnet` is the sandboxes' network.
    pub(super) fn from_values(v: &mut Values, subnet: Ipv4Net) -> Result<Self, ConfigError> {
        let seconds = format!("it is whole seconds, 1 to {WAKE_TIMEOUT_MAX}");
        Ok(Self {
            socket: v.take("relay_socket", "", "it is an absolute path of at most 90 bytes", |t| match t {
                "" => Some(None),
                path => Some(PathBuf::from(path)).filter(|p| p.is_absolute() && path.len() <= 90).map(Some),
            })?,
            wake: v.take("wake", "idle", Wake::ALLOWED, Wake::from_word)?,
            limits: TrafficLimits {
                connections: v.at_least_one("connections", "4096")?,
                per_sandbox: v.at_least_one("connections_per_sandbox", "256")?,
                per_source: v.at_least_one("connections_per_source", "1024")?,
                wakes: v.at_least_one("wakes_per_minute", "240")?,
                wakes_per_source: v.at_least_one("wakes_per_source", "60")?,
                wake_timeout: v.take("wake_timeout", "30", &seconds, |t| {
                    t.parse().ok().filter(|s| (1..=WAKE_TIMEOUT_MAX).contains(s)).map(Duration::from_secs)
                })?,
                floor: v.at_least_one("connection_floor", "1024")?,
                refused: v.take(
                    "connections_from_sandboxes",
                    "refuse",
                    "it is \"refuse\" or \"allow\": whether sandboxes reach each other's published ports",
                    |t| match t {
                        "refuse" => Some(sandboxes(subnet)),
                        "allow" => Some(None),
                        _ => None,
                    },
                )?,
            },
        })
    }

    /// The settings in force, as lines of a TOML file.
    pub(super) fn lines(&self) -> Vec<(&'static str, String)> {
        let text = |t: &str| format!("{t:?}");
        let l = &self.limits;
        vec![
            ("relay_socket", text(&self.socket.as_deref().unwrap_or("".as_ref()).to_string_lossy())),
            ("wake", text(self.wake.word())),
            ("wake_timeout", l.wake_timeout.as_secs().to_string()),
            ("wakes_per_minute", l.wakes.to_string()),
            ("wakes_per_source", l.wakes_per_source.to_string()),
            ("connection_floor", l.floor.to_string()),
            ("connections", l.connections.to_string()),
            ("connections_from_sandboxes", text(if l.refused.is_some() { "refuse" } else { "allow" })),
            ("connections_per_sandbox", l.per_sandbox.to_string()),
            ("connections_per_source", l.per_source.to_string()),
        ]
    }
}

/// The addresses that sandboxes can have. The network's first address is this machine's own.
fn sandboxes(subnet: Ipv4Net) -> Option<AddressRange> {
    Some(AddressRange { first: subnet.hosts().nth(1)?, last: subnet.hosts().next_back()? })
}
