//! What the relay is told by the configuration.

use std::{path::PathBuf, time::Duration};

use super::{ConfigError, Values, values::connection_cap};
use crate::domain::{IdleLimit, TrafficLimits, Wake};

/// The longest that a connection is let wait; a client gives up before.
const WAKE_TIMEOUT_MAX: u64 = 300;

/// How the sandboxes' ports are carried.
#[derive(Debug, Clone)]
pub struct RelayConfig {
    /// `SPINDLE_RELAY_SOCKET`: where a relay of its own process is spoken to; none: it is in the server's.
    pub socket: Option<PathBuf>,
    /// `SPINDLE_WAKE`: which connections wake a sandbox for which nothing else is said.
    pub wake: Wake,
    /// `SPINDLE_CONNECTION_CAP`: for how many seconds after the last interactive evidence connections count, or
    /// `never` to let them count without end.
    pub connection_cap: Option<Duration>,
    /// `SPINDLE_WAKE_TIMEOUT`, `SPINDLE_CONNECTION_FLOOR`, `SPINDLE_CONNECTIONS`, `SPINDLE_CONNECTIONS_PER_SANDBOX`,
    /// `SPINDLE_CONNECTIONS_PER_SOURCE`, `SPINDLE_WAKES_PER_MINUTE`, `SPINDLE_WAKES_PER_SOURCE`.
    pub limits: TrafficLimits,
}

impl RelayConfig {
    pub(super) fn from_values(v: &mut Values, idle: IdleLimit) -> Result<Self, ConfigError> {
        let least_cap = match idle {
            IdleLimit::After(limit) => limit.as_secs().max(86_400).to_string(),
            IdleLimit::Never => "86400".to_owned(),
        };
        let seconds = format!("it is whole seconds, 1 to {WAKE_TIMEOUT_MAX}");
        Ok(Self {
            socket: v.take("relay_socket", "", "it is an absolute path of at most 90 bytes", |t| match t {
                "" => Some(None),
                path => Some(PathBuf::from(path)).filter(|p| p.is_absolute() && path.len() <= 90).map(Some),
            })?,
            wake: v.take("wake", "idle", Wake::ALLOWED, Wake::from_word)?,
            connection_cap: v.take(
                "connection_cap",
                &least_cap,
                "it is \"never\", or whole seconds, at least 1",
                connection_cap,
            )?,
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
            },
        })
    }

    /// Refuses what contradicts itself.
    pub(super) fn check(&self, idle: IdleLimit) -> Result<(), ConfigError> {
        if let (Some(cap), IdleLimit::After(limit)) = (self.connection_cap, idle)
            && cap < limit
        {
            return Err(ConfigError(format!(
                "SPINDLE_CONNECTION_CAP ({} s) is shorter than SPINDLE_IDLE_TIMEOUT ({} s): connections would never count",
                cap.as_secs(),
                limit.as_secs()
            )));
        }
        Ok(())
    }

    /// What is in force, as lines of a TOML file.
    pub(super) fn lines(&self) -> Vec<(&'static str, String)> {
        let text = |t: &str| format!("{t:?}");
        let l = &self.limits;
        vec![
            ("relay_socket", text(&self.socket.as_deref().unwrap_or("".as_ref()).to_string_lossy())),
            ("wake", text(self.wake.word())),
            ("wake_timeout", l.wake_timeout.as_secs().to_string()),
            ("wakes_per_minute", l.wakes.to_string()),
            ("wakes_per_source", l.wakes_per_source.to_string()),
            ("connection_cap", text(&self.connection_cap.map_or("never".to_owned(), |c| c.as_secs().to_string()))),
            ("connection_floor", l.floor.to_string()),
            ("connections", l.connections.to_string()),
            ("connections_per_sandbox", l.per_sandbox.to_string()),
            ("connections_per_source", l.per_source.to_string()),
        ]
    }
}
