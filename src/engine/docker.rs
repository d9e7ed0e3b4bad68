//! The Docker Engine, by way of bollard. Calls only: what to ask for is in `spec`, what the answers mean
//! in `errors`.

pub mod diagnosis;
mod errors;
mod images;
mod inside;
mod network;
mod observe;
mod removal;
mod spec;
pub mod trial;

use std::{
    collections::HashMap,
    fs::Permissions,
    io,
    net::IpAddr,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Mutex,
    time::Duration,
};

use async_trait::async_trait;
use bollard::{
    Docker,
    models::{ContainerInspectResponse, ContainerSummary, EndpointSettings, MountPoint},
    query_parameters::{
        CreateContainerOptionsBuilder, InspectContainerOptions, ListContainersOptionsBuilder, StartContainerOptions,
        StopContainerOptionsBuilder,
    },
};
use errors::{translate, within};
use futures_util::{StreamExt, stream::BoxStream};
use ipnet::Ipv4Net;
use jiff::Timestamp;

use super::{
    Announced, CheckIn, Engine, EngineError, EngineInfo, Event, ImageDetails, LayerProgress, Result, SandboxSpec,
};
use crate::domain::{ContainerId, ImageRef, Observed, Sandbox, SandboxId, Token};

/// How this deployment's containers are made.
#[derive(Debug, Clone)]
pub struct DockerSettings {
    /// The deployment's name: the value of the label by which containers are ours.
    pub deployment: String,
    /// The network's name.
    pub network: String,
    /// The network's addresses; the first is the gateway's.
    pub subnet: Ipv4Net,
    /// Under which directory of the host each sandbox has its own.
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

/// Deadlines of calls. A disk under load makes creation and removal slow; the others wait for nothing.
const QUICK: Duration = Duration::from_secs(10);
const SLOW: Duration = Duration::from_secs(60);

/// Docker at `DOCKER_HOST`, or at its usual socket.
pub struct DockerEngine {
    settings: DockerSettings,
    host: Option<String>,
    /// A client that has agreed on an API version; none before the first answer and after a broken
    /// connection, so that another version of the engine is met afresh.
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

    /// Passes a result on, dropping the client if the connection is what failed.
    fn seen<T>(&self, result: Result<T>) -> Result<T> {
        if matches!(result, Err(EngineError::Unavailable(_) | EngineError::Timeout { .. })) {
            *self.client.lock().expect("no holder panics") = None;
        }
        result
    }

    fn directory(&self, sandbox: &SandboxId) -> PathBuf {
        self.settings.files.join(sandbox.as_str())
    }

    async fn look(&self, container: &ContainerId) -> Result<ContainerInspectResponse> {
        let client = self.client().await?;
        let call = client.inspect_container(container.as_str(), None::<InspectContainerOptions>);
        self.seen(within(QUICK, "inspect", call, EngineError::NoContainer).await)
    }

    fn address(&self, networks: Option<&HashMap<String, EndpointSettings>>) -> Option<IpAddr> {
        networks?.get(&self.settings.network)?.ip_address.as_deref()?.parse().ok()
    }

    async fn try_start(&self, container: &ContainerId, missing: impl Into<Option<EngineError>>) -> Result<()> {
        let client = self.client().await?;
        let call = client.start_container(container.as_str(), None::<StartContainerOptions>);
        self.seen(within(SLOW, "start", call, missing).await)
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

    /// Docker takes 7 ms to tell its version, since it asks its runtime for theirs, and a fifth of one for this.
    async fn answers(&self) -> Result<()> {
        let client = self.client().await?;
        self.seen(within(QUICK, "ping", client.ping(), None).await).map(drop)
    }

    async fn memory(&self) -> Result<u64> {
        Ok(self.describe().await?.memory)
    }

    async fn prepare(&self) -> Result<IpAddr> {
        self.ensure_network().await
    }

    async fn images(&self) -> Result<Vec<String>> {
        self.tagged_images().await
    }

    async fn image(&self, image: &ImageRef) -> Result<ImageDetails> {
        self.image_details(image).await
    }

    async fn pull(&self, image: &ImageRef) -> Result<BoxStream<'static, Result<LayerProgress>>> {
        self.pull_image(image).await
    }

    async fn remove_image(&self, image: &ImageRef) -> Result<()> {
        self.untag(image).await
    }

    async fn containers_of(&self, id: &str) -> Result<usize> {
        let all = self.all_of_this_deployment().await?;
        let is_sandbox = |s: &&ContainerSummary| s.labels.as_ref().is_some_and(|l| l.contains_key(spec::ID));
        Ok(all.iter().filter(is_sandbox).filter(|s| s.image_id.as_deref() == Some(id)).count())
    }

    async fn create(&self, spec: &SandboxSpec) -> Result<ContainerId> {
        let client = self.client().await?;
        let directory = self.directory(&spec.sandbox.id);
        let key = spec.ssh_key.as_deref().unwrap_or_default();
        let secrets = [("token", spec.sandbox.token.reveal()), ("authorized_keys", key)];
        let secrets = secrets.map(|(name, text)| (name, text.to_owned()));
        written(&directory, &[spec::check_in_files(&spec.check_in).as_slice(), &secrets].concat())?;
        let options = CreateContainerOptionsBuilder::default().name(spec.sandbox.name.as_str()).build();
        let call = client.create_container(Some(options), spec::request(spec, &self.settings, &directory));
        let made = self.seen(within(SLOW, "create", call, EngineError::NoImage).await)?;
        ContainerId::parse(&made.id).ok_or_else(|| EngineError::Refused(format!("it made {:?}", made.id)))
    }

    async fn furnish(&self, sandbox: &Sandbox, check_in: &CheckIn) -> Result<()> {
        let directory = self.directory(&sandbox.id);
        let whole = ["token", "authorized_keys"].iter().all(|name| directory.join(name).is_file());
        let mut files = spec::check_in_files(check_in).to_vec();
        if let Some(container) = sandbox.container.as_ref().filter(|_| !whole) {
            let [_, token, key] = spec::files(&self.look(container).await?, sandbox);
            files.extend([token, key]);
        }
        written(&directory, &files)
    }

    async fn start(&self, container: &ContainerId) -> Result<()> {
        match self.try_start(container, EngineError::NoContainer).await {
            // Either the container is missing, or, if it is there, what it needs: its network was removed behind our
            // back, by a prune while nothing ran.
            Err(EngineError::NoContainer) => {
                self.look(container).await?;
                self.prepare().await?;
                self.reconnect(container).await?;
                self.try_start(container, None).await
            }
            other => other,
        }
    }

    async fn stop(&self, container: &ContainerId, grace: Duration) -> Result<()> {
        let client = self.client().await?;
        let options = StopContainerOptionsBuilder::default().t(grace.as_secs() as i32).build();
        let call = client.stop_container(container.as_str(), Some(options));
        self.seen(within(grace + SLOW, "stop", call, EngineError::NoContainer).await)
    }

    async fn remove(&self, sandbox: &SandboxId, container: Option<&ContainerId>) -> Result<()> {
        if let Some(container) = container
            && !self.remove_container(container).await?
        {
            self.remove_volumes(sandbox).await?;
        }
        match std::fs::remove_dir_all(self.directory(sandbox)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(EngineError::Refused(format!("the sandbox's directory cannot be removed: {e}")))
            }
            _ => Ok(()),
        }
    }

    async fn inspect(&self, container: &ContainerId) -> Result<Observed> {
        let shown = self.look(container).await?;
        let address = self.address(shown.network_settings.as_ref().and_then(|n| n.networks.as_ref()));
        Ok(Observed { address, ..observe::closely(container, shown) })
    }

    async fn last_words(&self, container: &ContainerId) -> Result<Vec<u8>> {
        let client = self.client().await?;
        let written = observe::written(client.logs(container.as_str(), Some(observe::last_logs())));
        self.seen(within(QUICK, "logs", written, EngineError::NoContainer).await)
    }

    async fn announce(&self, container: &ContainerId, text: &str) -> Result<Announced> {
        self.write_to_terminals(container, text).await
    }

    async fn cpu_time(&self, container: &ContainerId) -> Result<Duration> {
        self.total_cpu_time(container).await
    }

    async fn list(&self) -> Result<Vec<Observed>> {
        let shown = self.all_of_this_deployment().await?;
        Ok(shown.into_iter().filter_map(|s| self.observed(s)).collect())
    }

    async fn recover(&self, container: &ContainerId) -> Result<Sandbox> {
        let shown = self.look(container).await?;
        let stranger = || EngineError::Refused(format!("the labels of container {container} do not read as ours"));
        let mut sandbox = spec::recover(&shown, Token::from_bytes(random()?)).ok_or_else(stranger)?;
        let directory = self.directory(&sandbox.id);
        let kept = std::fs::read_to_string(directory.join("token")).ok().and_then(|t| Token::parse(t.trim()));
        match kept {
            Some(token) => sandbox.token = token,
            // The directory is lost too: it is made anew, and mounted at the sandbox's next start. Until then its
            // address identifies it, as it does without a token.
            None => written(&directory, &spec::files(&shown, &sandbox))?,
        }
        Ok(sandbox)
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

impl DockerEngine {
    async fn all_of_this_deployment(&self) -> Result<Vec<ContainerSummary>> {
        let client = self.client().await?;
        let filters = HashMap::from([("label", vec![format!("{}={}", spec::DEPLOYMENT, self.settings.deployment)])]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        let call = client.list_containers(Some(options));
        self.seen(within(QUICK, "list", call, EngineError::NoContainer).await)
    }

    fn observed(&self, shown: ContainerSummary) -> Option<Observed> {
        let networks = shown.network_settings.as_ref().and_then(|n| n.networks.as_ref());
        // An image that somebody made from a sandbox (`docker commit`) hands our labels on to containers that are
        // none of ours. What it cannot hand on is the mount of the sandbox's own directory.
        let sandbox = shown.labels.as_ref().and_then(|l| SandboxId::parse(l.get(spec::ID)?))?;
        let own = |m: &MountPoint| {
            let source = m.source.as_deref().map(Path::new).and_then(Path::file_name);
            m.destination.as_deref() == Some(spec::MOUNT) && source.is_some_and(|s| s == sandbox.as_str())
        };
        if !shown.mounts.iter().flatten().any(own) {
            return None;
        }
        let address = self.address(networks);
        let container = ContainerId::parse(shown.id.as_deref()?)?;
        Some(Observed { address, ..observe::from_afar(container, sandbox, &shown) })
    }
}

fn random() -> Result<[u8; 16]> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|e| EngineError::Refused(format!("no random numbers: {e}")))?;
    Ok(bytes)
}

fn written(directory: &Path, files: &[(&str, String)]) -> Result<()> {
    write_files(directory, files).map_err(|e| {
        EngineError::Refused(format!("the sandbox's directory {} cannot be written: {e}", directory.display()))
    })
}

/// Writes what the sandbox finds at `/run/spindle`. The parent directory is closed to other users of the
/// host; inside the sandbox everybody may read, because its reporter need not be root.
fn write_files(directory: &Path, files: &[(&str, String)]) -> io::Result<()> {
    let readable = |path: &Path, mode| std::fs::set_permissions(path, Permissions::from_mode(mode));
    if let Some(parent) = directory.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    std::fs::create_dir_all(directory)?;
    readable(directory, 0o755)?;
    for (name, text) in files {
        let path = directory.join(name);
        std::fs::write(&path, format!("{text}\n"))?;
        readable(&path, 0o644)?;
    }
    Ok(())
}
