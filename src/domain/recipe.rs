//! The recipe: all that a sandbox is made from.

use std::sync::Arc;

use super::{
    image::Access,
    launch::Launch,
    limits::{Cpus, Memory},
    names::{ImageRef, Label},
    policy::OwnPolicy,
    ports::PortSpec,
    traffic::{Traffic, Wake},
    zone::Zone,
};

/// What a sandbox is made from. A start does not change it: only people do, here or through the engine. How long a
/// sandbox is kept is part of its [`Life`](super::sandbox::Life).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// The image as sent at creation.
    pub image: ImageRef,
    /// Which of its ports the API shows as `app_port` (`CONTRACT.md` 9).
    pub app_port: Option<PortSpec>,
    /// How its app is reached, if its image says so.
    pub access: Option<Access>,
    /// How its ports are carried.
    pub traffic: Traffic,
    /// Its memory limit.
    pub memory: Memory,
    /// Its cpu limit.
    pub cpus: Cpus,
    /// The time zone of those inside.
    pub zone: Zone,
    /// Its own policy of stopping.
    pub own: OwnPolicy,
    /// Whether a connection wakes it; `None`: the configured rule applies.
    pub wake: Option<Wake>,
    /// The caller's labels, ordered by key.
    pub labels: Vec<Label>,
    /// The public keys of those who log in, one a line; an empty text: nobody's. `None`: as its container has it, which
    /// an older version made.
    pub ssh_key: Option<String>,
    /// With what its program is started. `None`: only its container knows, for the same reason.
    pub launch: Option<Arc<Launch>>,
}

impl Recipe {
    /// A recipe with nothing but an image and limits.
    pub fn of(image: ImageRef, memory: Memory, cpus: Cpus) -> Self {
        Self {
            image,
            app_port: None,
            access: None,
            traffic: Traffic::default(),
            memory,
            cpus,
            zone: Zone::default(),
            own: OwnPolicy::default(),
            wake: None,
            labels: Vec::new(),
            ssh_key: None,
            launch: None,
        }
    }

    /// Which exposed port is the app's: the port in the image's label, else the lowest tcp port except SSH's, else the
    /// lowest udp port (`CONTRACT.md` 9).
    pub fn app_port_of(exposed: &[PortSpec], label: Option<&str>) -> Option<PortSpec> {
        let others = || exposed.iter().copied().filter(|&p| p != PortSpec::SSH);
        let named = label.and_then(PortSpec::parse).filter(|p| exposed.contains(p));
        named.or_else(|| others().min())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(list: &[&str]) -> Vec<PortSpec> {
        list.iter().map(|p| PortSpec::parse(p).unwrap()).collect()
    }

    #[test]
    fn contract_09_app_port_is_the_labelled_else_lowest_tcp_else_lowest_udp() {
        let pick =
            |list: &[&str], label| Recipe::app_port_of(&ports(list), label).map(|p| p.to_string()).unwrap_or_default();
        assert_eq!(pick(&["22/tcp", "9000/udp", "8000/tcp", "7000/tcp"], None), "7000/tcp");
        assert_eq!(pick(&["22/tcp", "9000/udp", "8000/tcp", "7000/tcp"], Some("8000")), "8000/tcp");
        assert_eq!(pick(&["22/tcp", "9000/udp"], Some("8000")), "9000/udp");
        assert_eq!(pick(&["22/tcp", "9000/udp", "53/udp"], Some("rubbish")), "53/udp");
        assert_eq!(pick(&["22/tcp"], None), "");
        assert_eq!(pick(&[], None), "");
    }
}
