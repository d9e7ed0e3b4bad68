//! Where the configuration puts the API and the check-in door.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::config::Config;

/// Where the API can be reached from this machine.
pub fn address(config: &Config) -> SocketAddr {
    let ip = match config.address {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        own => own,
    };
    SocketAddr::new(ip, config.port)
}

/// Where sandboxes check in.
pub fn door(config: &Config) -> Option<SocketAddr> {
    // A door that listens everywhere is still reached at the gateway.
    let fixed = config.check_in_address.filter(|a| !a.is_unspecified());
    let address = fixed.or_else(|| config.subnet.hosts().next().map(IpAddr::V4))?;
    Some(SocketAddr::new(address, config.check_in_port))
}
