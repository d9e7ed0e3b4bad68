//! The Docker Engine, through bollard: the connection, and calls about Docker itself. `spec` says what to ask for;
//! `errors` and `observe` say what the answers mean.

mod altering;
mod cgroups;
mod containers;
pub mod diagnosis;
mod directory;
mod errors;
mod exec;
mod files;
mod hijack;
mod images;
mod inside;
mod launch;
mod logs;
mod looks;
mod network;
mod observe;
mod removal;
mod session;
mod spec;
pub mod trial;

use std::{net::IpAddr, path::PathBuf, sync::Mutex, time::Duration};

use async_trait::async_trait;
use bollard::{Docker, query_parameters::InspectNetworkOptions};
use errors::{translate, within};
use futures_util::{StreamExt, stream::BoxStream};
use ipnet::Ipv4Net;
use jiff::Timestamp;

use super::{Call, Engine, EngineError, EngineInfo, Event, Result};

/// How this deployment's containers are made.
#[derive(Debug, Clone)]
pub struct DockerSettings {
    /// The deployment's name: the value of the label by which containers are ours.
    pub deployment: String,
    /// The network's name.
    pub network: String,
    /// The network's addresses; the first is the gateway's.
    pub subnet: Ipv4Net,
    /// The directory of the host in which each sandbox has its own.
    pub files: PathBuf,
    /// The most processes and threads in a sandbox.
    pub pids_limit: u32,
    /// The most descriptors of each process in a sandbox.
    pub open_files_limit: u32,
    /// The most terminals of a sandbox.
    pub terminals_limit: u32,
    /// The capabilities that are not dropped.
    pub capabilities: Vec<String>,
    /// The size at which a log file is rotated, in Docker's notation.
    pub log_max_size: String,
    /// How many log files are kept.
    pub log_max_files: u32,
}

/// Deadlines of calls. A disk under load makes creation and removal slow. The other calls wait for nothing.
const QUICK: Duration = Duration::from_secs(10);
const SLOW: Duration = Duration::from_mins(1);

/// Docker at `DOCKER_HOST`, or at its usual socket.
pub struct DockerEngine {
    settings: DockerSettings,
    host: Option<String>,
    /// A client that has agreed on an API version. None before the first answer, and none after a broken connection,
    /// because the engine may then have another version.
    client: Mutex<Option<Docker>>,
}

impl DockerEngine {
    /// An engine that connects at its first use. `host` is in `DOCKER_HOST`'s notation (`unix://`, `tcp://`);
    /// none: Docker's usual socket.
    pub fn new(settings: DockerSettings, host: Option<String>) -> Self {
        Self { settings, host, client: Mutex::new(None) }
    }

    async fn client(&self) -> Result<Docker> {
        if let Some(client) = self.client.lock().expect("no holder panics").clone() {
            return Ok(client);
        }
        let fresh = Docker::connect_with_host(self.at()).map_err(|e| translate(e, EngineError::NoContainer))?;
        let agreed = within(QUICK, "version", fresh.negotiate_version(), EngineError::NoContainer).await?;
        *self.client.lock().expect("no holder panics") = Some(agreed.clone());
        Ok(agreed)
    }

    /// Passes a result on. If the connection is what failed, drops the client.
    fn seen<T>(&self, result: Result<T>) -> Result<T> {
        if matches!(result, Err(EngineError::Unavailable(_) | EngineError::Timeout { .. })) {
            *self.client.lock().expect("no holder panics") = None;
        }
        result
    }
}

#[async_trait]
impl Engine for DockerEngine {
    async fn info(&self) -> Result<EngineInfo> {
        let client = self.client().await?;
        let version = self.seen(within(QUICK, "version", client.version(), EngineError::NoContainer).await)?;
        let api_version = diagnosis::spoken(&client);
        Ok(EngineInfo { version: version.version.unwrap_or_default(), api_version })
    }

    /// Docker needs 0.2 ms for this. Its version takes 7 ms, because Docker asks its runtimes for theirs.
    async fn answers(&self) -> Result<()> {
        let client = self.client().await?;
        self.seen(within(QUICK, "ping", client.ping(), None).await).map(drop)
    }

    fn calls(&self) -> Vec<Call> {
        errors::calls()
    }

    async fn memory(&self) -> Result<u64> {
        Ok(self.describe().await?.memory)
    }

    async fn prepare(&self) -> Result<IpAddr> {
        let client = self.client().await?;
        let name = &self.settings.network;
        let missing = EngineError::NoNetwork;
        let call = client.inspect_network(name, None::<InspectNetworkOptions>);
        match self.seen(within(QUICK, "inspect network", call, missing.clone()).await) {
            Ok(shown) => {
                self.fits(&shown)
                    .map_err(|why| EngineError::Refused(format!("the network {name} exists, but {why}")))?;
            }
            Err(e) if e == missing => self.create_network(&client).await?,
            Err(e) => return Err(e),
        }
        self.gateway().map(IpAddr::V4).ok_or_else(|| EngineError::Refused("the subnet is empty".into()))
    }

    async fn watch(&self, since: Timestamp) -> Result<BoxStream<'static, Result<Event>>> {
        let client = self.client().await?;
        let events = client.events(Some(observe::events_since(since, &self.settings.deployment)));
        let told = events.filter_map(|event| async move {
            event.map(observe::event).map_err(|e| translate(e, EngineError::NoContainer)).transpose()
        });
        Ok(told.boxed())
    }
}

fn random() -> Result<[u8; 16]> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|e| EngineError::Refused(format!("no random numbers: {e}")))?;
    Ok(bytes)
}
