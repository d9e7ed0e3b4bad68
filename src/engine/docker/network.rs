//! The sandboxes' network: one bridge of our own, on which sandboxes cannot reach each other.

use std::{collections::HashMap, net::Ipv4Addr};

use bollard::{
    Docker,
    models::{Ipam, IpamConfig, NetworkConnectRequest, NetworkCreateRequest, NetworkDisconnectRequest, NetworkInspect},
};

use super::{DockerEngine, QUICK, SLOW, errors::within, spec};
use crate::{
    domain::ContainerId,
    engine::{EngineError, Result},
};

impl DockerEngine {
    /// The gateway of the sandboxes' network: its first address.
    pub(super) fn gateway(&self) -> Option<Ipv4Addr> {
        self.settings.subnet.hosts().next()
    }

    /// Whether an existing network can be ours.
    pub(super) fn fits(&self, shown: &NetworkInspect) -> std::result::Result<(), String> {
        let deployment = shown.labels.as_ref().and_then(|l| l.get(spec::DEPLOYMENT));
        if deployment != Some(&self.settings.deployment) {
            return Err("it is not Spindle's; choose another deployment name, or remove it".into());
        }
        let configs = shown.ipam.as_ref().and_then(|i| i.config.as_ref());
        let subnet = configs.and_then(|c| c.first()).and_then(|c| c.subnet.clone()).unwrap_or_default();
        if subnet.parse() != Ok(self.settings.subnet) {
            return Err(format!(
                "its subnet is {subnet} and the configuration says {}; set SPINDLE_SUBNET to the former, or delete all \
                 sandboxes and the network",
                self.settings.subnet
            ));
        }
        Ok(())
    }

    /// Puts a container on the present network, which has the old one's name and another id.
    pub(super) async fn reconnect(&self, container: &ContainerId) -> Result<()> {
        let client = self.client().await?;
        let (network, name) = (&self.settings.network, Some(container.to_string()));
        let request = NetworkDisconnectRequest { container: name.clone().unwrap_or_default(), force: Some(true) };
        // The container may no longer know the old network.
        let _ = within(QUICK, "disconnect", client.disconnect_network(network, request), EngineError::NoNetwork).await;
        let request = NetworkConnectRequest { container: name.unwrap_or_default(), ..NetworkConnectRequest::default() };
        let call = client.connect_network(network, request);
        self.seen(within(QUICK, "connect", call, EngineError::NoNetwork).await)
    }

    /// Makes the network.
    pub(super) async fn create_network(&self, client: &Docker) -> Result<()> {
        let s = &self.settings;
        let request = NetworkCreateRequest {
            name: s.network.clone(),
            driver: Some("bridge".into()),
            ipam: Some(Ipam {
                config: Some(vec![IpamConfig {
                    subnet: Some(s.subnet.to_string()),
                    gateway: self.gateway().map(|g| g.to_string()),
                    ..IpamConfig::default()
                }]),
                ..Ipam::default()
            }),
            options: Some(HashMap::from([("com.docker.network.bridge.enable_icc".into(), "false".into())])),
            labels: Some(HashMap::from([(spec::DEPLOYMENT.into(), s.deployment.clone())])),
            ..NetworkCreateRequest::default()
        };
        let call = client.create_network(request);
        self.seen(within(SLOW, "create network", call, EngineError::NoContainer).await).map(drop).map_err(|e| match e {
            EngineError::Refused(why) => EngineError::Refused(format!(
                "the network {} ({}) cannot be made: {why}; SPINDLE_SUBNET chooses other addresses",
                s.network, s.subnet
            )),
            other => other,
        })
    }
}
