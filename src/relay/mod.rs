//! The data path: who listens on the sandboxes' host ports.
//!
//! At present Docker's own publishing does, for all of them. This is the one place that knows it: what
//! [`Relay::published_by_engine`] does not return is the relay's to listen on.

use std::{
    io::ErrorKind,
    net::{TcpListener, UdpSocket},
};

use crate::domain::{Endpoint, PortMapping, Protocol};

/// The listeners of this server.
#[derive(Debug, Default)]
pub struct Relay;

impl Relay {
    /// Which of a sandbox's ports the engine shall publish.
    pub fn published_by_engine(&self, ports: &[PortMapping]) -> Vec<PortMapping> {
        ports.to_vec()
    }

    /// Which of `ports` another program holds at this moment, by trying to listen on them.
    pub fn held_by_others(&self, ports: &[PortMapping]) -> Vec<u16> {
        ports.iter().filter(|p| !is_free(p.outside, p.inside.protocol)).map(|p| p.outside.port).collect()
    }
}

fn is_free(endpoint: Endpoint, protocol: Protocol) -> bool {
    let address = (endpoint.host, endpoint.port);
    let tried = match protocol {
        Protocol::Tcp => TcpListener::bind(address).map(drop),
        Protocol::Udp => UdpSocket::bind(address).map(drop),
    };
    // Any other trouble is not the port's: other ports would have it too.
    !tried.is_err_and(|e| e.kind() == ErrorKind::AddrInUse)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::PortSpec;

    #[test]
    fn a_held_port_is_seen() {
        let holder = TcpListener::bind("127.0.0.1:0").unwrap();
        let outside = Endpoint { host: "127.0.0.1".parse().unwrap(), port: holder.local_addr().unwrap().port() };
        let ports = [PortMapping { inside: PortSpec::SSH, outside }];
        assert_eq!(Relay.held_by_others(&ports), [outside.port]);
        drop(holder);
        assert!(Relay.held_by_others(&ports).is_empty());
    }
}
