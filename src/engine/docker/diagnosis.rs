//! What Docker says about itself and its networks. Only `spindle doctor` asks, and only Docker can answer, so none of
//! it is in the trait.

use std::{collections::HashMap, path::PathBuf};

use bollard::{
    Docker,
    models::{self, NetworkInspect, SystemInfo},
    query_parameters::{InspectNetworkOptions, ListNetworksOptions},
};
use ipnet::Ipv4Net;
use jiff::Timestamp;

use super::{DockerEngine, QUICK, errors::within, spec};
use crate::engine::{EngineError, Result};

/// Where Docker listens if nobody says otherwise.
pub const USUAL: &str = "unix:///var/run/docker.sock";

/// What Docker says about itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Description {
    /// Its version, such as `20.10.24`.
    pub version: String,
    /// The version of its API that we speak with it.
    pub api_version: String,
    /// Where on its machine it keeps everything.
    pub root: PathBuf,
    /// How it stores images and containers, such as `overlay2`.
    pub storage: String,
    /// On which file system, in Docker's words (`extfs`, `xfs`); empty if it does not say.
    pub backing: String,
    /// Whether containerd's store holds images and containers: the default from Engine 29 on. It accepts `storage-opts`
    /// and ignores them.
    pub in_containerd: bool,
    /// Whether containers outlive a restart of Docker.
    pub live_restore: bool,
    /// Its machine's memory in bytes.
    pub memory: u64,
    /// The limits that its machine cannot set: of `memory`, `swap`, `processes`, `cpu`.
    pub lacking: Vec<&'static str>,
    /// What time it is there.
    pub time: Option<Timestamp>,
}

/// A network of Docker's.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Network {
    /// Its name.
    pub name: String,
    /// The interface on the host.
    pub bridge: String,
    /// Its IPv4 addresses.
    pub subnets: Vec<Ipv4Net>,
    /// The deployment that owns it, if it belongs to a Spindle.
    pub deployment: Option<String>,
}

impl DockerEngine {
    /// Where Docker listens, in `DOCKER_HOST`'s notation.
    pub fn at(&self) -> &str {
        self.host.as_deref().unwrap_or(USUAL)
    }

    /// What Docker says about itself.
    pub async fn describe(&self) -> Result<Description> {
        let client = self.client().await?;
        let info = self.seen(within(QUICK, "info", client.info(), EngineError::NoContainer).await)?;
        Ok(description(info, spoken(&client)))
    }

    /// All of Docker's networks.
    pub async fn networks(&self) -> Result<Vec<Network>> {
        let client = self.client().await?;
        let call = client.list_networks(None::<ListNetworksOptions>);
        let shown = self.seen(within(QUICK, "list networks", call, EngineError::NoNetwork).await)?;
        Ok(shown.into_iter().map(network).collect())
    }

    /// How many containers are on the sandboxes' network at this moment; none if there is no such network.
    pub async fn on_bridge(&self) -> Result<Option<u32>> {
        let client = self.client().await?;
        let call = client.inspect_network(&self.settings.network, None::<InspectNetworkOptions>);
        match self.seen(within(QUICK, "inspect network", call, EngineError::NoNetwork).await) {
            Ok(NetworkInspect { containers, .. }) => Ok(Some(containers.map_or(0, |c| c.len() as u32))),
            Err(EngineError::NoNetwork) => Ok(None),
            Err(e) => Err(e),
        }
    }
}

/// The version of its API that we speak with it.
pub(super) fn spoken(client: &Docker) -> String {
    let api = client.client_version();
    format!("{}.{}", api.major_version, api.minor_version)
}

fn description(info: SystemInfo, api_version: String) -> Description {
    let status = info.driver_status.unwrap_or_default();
    let said = |key: &str| status.iter().find_map(|pair| (pair.first()? == key).then(|| pair.get(1).cloned())?);
    let limits = [
        ("memory", info.memory_limit),
        ("swap", info.swap_limit),
        ("processes", info.pids_limit),
        ("cpu", info.cpu_cfs_quota),
    ];
    Description {
        version: info.server_version.unwrap_or_default(),
        api_version,
        root: info.docker_root_dir.unwrap_or_default().into(),
        storage: info.driver.unwrap_or_default(),
        backing: said("Backing Filesystem").unwrap_or_default(),
        in_containerd: said("driver-type").is_some_and(|kind| kind.starts_with("io.containerd.snapshotter.")),
        live_restore: info.live_restore_enabled.unwrap_or_default(),
        memory: info.mem_total.and_then(|m| u64::try_from(m).ok()).unwrap_or_default(),
        // An engine that leaves a limit out has not denied it.
        lacking: limits.into_iter().filter(|(_, has)| *has == Some(false)).map(|(name, _)| name).collect(),
        time: info.system_time.and_then(|t| t.parse().ok()),
    }
}

fn network(shown: models::Network) -> Network {
    let configs = shown.ipam.and_then(|i| i.config).unwrap_or_default();
    let chosen = |options: HashMap<String, String>| options.get("com.docker.network.bridge.name").cloned();
    let usual = || format!("br-{}", shown.id.as_deref().unwrap_or_default().chars().take(12).collect::<String>());
    Network {
        bridge: shown.options.and_then(chosen).unwrap_or_else(usual),
        name: shown.name.unwrap_or_default(),
        subnets: configs.into_iter().filter_map(|c| c.subnet?.parse().ok()).collect(),
        deployment: shown.labels.and_then(|l| l.get(spec::DEPLOYMENT).cloned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_is_described_by_what_it_says() {
        let pair = |a: &str, b: &str| vec![a.to_owned(), b.to_owned()];
        let info = SystemInfo {
            server_version: Some("20.10.24".into()),
            driver: Some("overlay2".into()),
            driver_status: Some(vec![pair("Supports d_type", "true"), pair("Backing Filesystem", "xfs")]),
            swap_limit: Some(false),
            memory_limit: Some(true),
            system_time: Some("2026-11-21T03:44:18.123456789Z".into()),
            mem_total: Some(1 << 30),
            ..SystemInfo::default()
        };
        let shown = description(info, "1.41".into());
        assert_eq!((shown.storage.as_str(), shown.backing.as_str()), ("overlay2", "xfs"));
        assert_eq!((shown.lacking, shown.memory), (vec!["swap"], 1 << 30));
        assert!(shown.time.is_some() && !shown.in_containerd);
        let info = SystemInfo {
            driver: Some("overlayfs".into()),
            driver_status: Some(vec![pair("driver-type", "io.containerd.snapshotter.v1")]),
            ..SystemInfo::default()
        };
        let shown = description(info, "1.51".into());
        assert!(shown.in_containerd && shown.backing.is_empty(), "{shown:?}");
    }

    #[test]
    fn a_networks_interface_is_known_by_its_id_or_by_its_option() {
        let shown = models::Network { id: Some("0123456789abcdef".into()), ..models::Network::default() };
        assert_eq!(network(shown.clone()).bridge, "br-0123456789ab");
        let options = HashMap::from([("com.docker.network.bridge.name".to_owned(), "br-own".to_owned())]);
        assert_eq!(network(models::Network { options: Some(options), ..shown }).bridge, "br-own");
    }
}
