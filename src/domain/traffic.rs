//! Traffic: how a sandbox's ports are carried, how much of it is allowed, and which connections wake a sandbox.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use jiff::Timestamp;

use super::{
    names::Invalid,
    ports::{PortSpec, Protocol},
};

/// Which sandboxes a connection wakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// Those that nobody meant to stop: they were idle, stopped with the machine or the engine, or ended by themselves.
    Idle,
    /// All that are stopped, whoever stopped them.
    Always,
    /// None.
    Never,
}

impl Wake {
    /// What is allowed, as the end of a sentence.
    pub const ALLOWED: &str = "it is \"idle\", \"always\" or \"never\"";

    /// The word for it in the API, the configuration and the store.
    pub fn word(self) -> &'static str {
        match self {
            Wake::Idle => "idle",
            Wake::Always => "always",
            Wake::Never => "never",
        }
    }

    /// Reads [`Wake::word`]; `None` for any other.
    pub fn from_word(word: &str) -> Option<Self> {
        [Wake::Idle, Wake::Always, Wake::Never].into_iter().find(|w| w.word() == word)
    }

    /// Reads [`Wake::word`]; `field` is the caller's name for it.
    ///
    /// # Errors
    /// If it is any other word.
    pub fn parse(field: &'static str, text: &str) -> Result<Self, Invalid> {
        Self::from_word(text).ok_or_else(|| Invalid::new(field, text, Self::ALLOWED))
    }
}

/// A failed attempt to wake a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WakeFailure {
    /// When.
    pub at: Timestamp,
    /// Why, for the instructor.
    pub why: String,
}

/// How a sandbox's tcp ports are carried, as its image says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Whether a connection to any port except SSH's wakes before the client sends anything, because the server speaks
    /// first there.
    pub wakes_silent: bool,
    /// Whether the app's port speaks HTTP; `None` acts as `true`: the first bytes tell.
    pub app_http: Option<bool>,
    /// Ports whose server learns the client's address through the PROXY protocol.
    pub proxy_protocol: Vec<u16>,
}

impl Traffic {
    /// Reads the values of an image's labels `spindle.wake_on`, `spindle.app_protocol` and `spindle.proxy_protocol`; an
    /// empty value counts as absent.
    ///
    /// # Errors
    /// The label that is not allowed.
    pub fn parse(wake_on: &str, app_protocol: &str, proxy_protocol: &str) -> Result<Self, Invalid> {
        let wakes_silent = match wake_on {
            "" | "data" => false,
            "connect" => true,
            other => {
                let allowed = "it is \"data\" (the default) or \"connect\"";
                return Err(Invalid::new("the image's label spindle.wake_on", other, allowed));
            }
        };
        let app_http = match app_protocol {
            "" => None,
            "http" => Some(true),
            "tcp" => Some(false),
            other => {
                let allowed = "it is \"http\" or \"tcp\"";
                return Err(Invalid::new("the image's label spindle.app_protocol", other, allowed));
            }
        };
        let port = |p: &str| PortSpec::parse(p.trim()).filter(|p| p.protocol == Protocol::Tcp).map(|p| p.port);
        let ports = proxy_protocol.split(',').filter(|p| !p.trim().is_empty()).map(port);
        let ports = ports.collect::<Option<_>>().ok_or_else(|| {
            let allowed = "it is a list of tcp ports, such as \"8000,8443\"";
            Invalid::new("the image's label spindle.proxy_protocol", proxy_protocol, allowed)
        })?;
        Ok(Self { wakes_silent, app_http, proxy_protocol: ports })
    }

    /// The values in words, as [`Traffic::parse`] reads them, in its order.
    pub fn words(&self) -> [String; 3] {
        let wake_on = if self.wakes_silent { "connect" } else { "" };
        let app_protocol = match self.app_http {
            None => "",
            Some(true) => "http",
            Some(false) => "tcp",
        };
        let ports: Vec<String> = self.proxy_protocol.iter().map(ToString::to_string).collect();
        [wake_on.to_owned(), app_protocol.to_owned(), ports.join(",")]
    }
}

/// How much the relay allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrafficLimits {
    /// Connections in all.
    pub connections: u32,
    /// Connections to one sandbox.
    pub per_sandbox: u32,
    /// Connections from one address. This machine's own address has no such limit, because a proxy may run there.
    pub per_source: u32,
    /// Wakes in a minute.
    pub wakes: u32,
    /// Wakes in a minute from one address. This machine's own address has no such limit.
    pub wakes_per_source: u32,
    /// How long a connection waits for its sandbox.
    pub wake_timeout: Duration,
    /// How many bytes in a minute make a connection count as used.
    pub floor: u64,
    /// Connections from these addresses are refused: the sandboxes' own, unless the operator allows them.
    pub refused: Option<AddressRange>,
}

/// IPv4 addresses from the first to the last, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressRange {
    /// The lowest.
    pub first: Ipv4Addr,
    /// The highest.
    pub last: Ipv4Addr,
}

impl AddressRange {
    /// Whether `address` is one of them, even if a socket of both families shows it as an IPv6 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => (self.first..=self.last).contains(&address),
            IpAddr::V6(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_read_and_written() {
        let traffic = Traffic::parse("connect", "http", "8000, 22/tcp").unwrap();
        assert_eq!(traffic, Traffic { wakes_silent: true, app_http: Some(true), proxy_protocol: vec![8000, 22] });
        let [on, protocol, ports] = traffic.words();
        assert_eq!(Traffic::parse(&on, &protocol, &ports), Ok(traffic));
        assert_eq!(Traffic::parse("", "", ""), Ok(Traffic::default()));
        for (on, protocol, ports) in [("x", "", ""), ("", "https", ""), ("", "", "8000;9"), ("", "", "53/udp")] {
            assert!(Traffic::parse(on, protocol, ports).is_err());
        }
    }
}
