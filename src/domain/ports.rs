//! Ports: which ones an image exposes, and where the host makes each reachable.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

/// The transport of a port. SCTP is not carried: images that expose it get their other ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// The word that Docker and the API use.
    pub fn word(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }

    /// Reads [`Protocol::word`]; `None` for any other.
    pub fn parse(word: &str) -> Option<Self> {
        [Protocol::Tcp, Protocol::Udp].into_iter().find(|p| p.word() == word)
    }
}

/// A port that an image exposes. Orders by protocol, then by number, tcp first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortSpec {
    /// The transport.
    pub protocol: Protocol,
    /// The port inside the sandbox.
    pub port: u16,
}

impl PortSpec {
    /// The port of SSH; the API shows it separately (`CONTRACT.md` 9).
    pub const SSH: PortSpec = PortSpec { protocol: Protocol::Tcp, port: 22 };

    /// Parses Docker's notation, `22/tcp` or `22`.
    pub fn parse(text: &str) -> Option<Self> {
        let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let port = port.parse().ok().filter(|&p| p != 0)?;
        Some(Self { protocol: Protocol::parse(protocol)?, port })
    }
}

impl fmt::Display for PortSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.port, self.protocol.word())
    }
}

/// Where clients reach something: a host and a port. With one machine the host is the publish address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    /// The host's address.
    pub host: IpAddr,
    /// The port on it.
    pub port: u16,
}

/// A port of a sandbox and the endpoint that is reserved for it until the sandbox is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortMapping {
    /// The port inside.
    pub inside: PortSpec,
    /// The endpoint outside.
    pub outside: Endpoint,
    /// Who carries its traffic.
    pub carrier: Carrier,
}

/// Who listens on a host port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// Our own relay.
    Relay,
    /// The engine, which publishes the port.
    Engine,
}

impl Carrier {
    /// Who carries a port of this protocol.
    pub fn of(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Tcp => Carrier::Relay,
            Protocol::Udp => Carrier::Engine,
        }
    }

    /// The word for it in the store.
    pub fn word(self) -> &'static str {
        match self {
            Carrier::Relay => "relay",
            Carrier::Engine => "engine",
        }
    }

    /// Reads [`Carrier::word`]; `None` for any other.
    pub fn parse(word: &str) -> Option<Self> {
        [Carrier::Relay, Carrier::Engine].into_iter().find(|c| c.word() == word)
    }
}

impl From<Endpoint> for SocketAddr {
    fn from(endpoint: Endpoint) -> Self {
        Self::new(endpoint.host, endpoint.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_in_dockers_notation() {
        assert_eq!(PortSpec::parse("22"), Some(PortSpec::SSH));
        for bad in ["0/tcp", "22/sctp", "70000/tcp", "x", "-1/udp"] {
            assert_eq!(PortSpec::parse(bad), None, "{bad:?}");
        }
    }
}
