//! Docker's containers, each as a whole: makes, starts, stops, removes and looks at them.

use std::{collections::HashMap, net::IpAddr, path::Path, time::Duration};

use async_trait::async_trait;
use bollard::{
    models::{ContainerInspectResponse, ContainerSummary, EndpointSettings, MountPoint},
    query_parameters::{
        CreateContainerOptionsBuilder, InspectContainerOptions, ListContainersOptionsBuilder, StartContainerOptions,
        StopContainerOptionsBuilder,
    },
};

use super::{DockerEngine, QUICK, SLOW, directory, errors::within, observe, random, spec};
use crate::{
    domain::{ContainerId, Observed, Reach, Sandbox, SandboxId, Token},
    engine::{Containers, Engine, EngineError, Result, SandboxSpec, amendment},
};

#[async_trait]
impl Containers for DockerEngine {
    async fn create(&self, spec: &SandboxSpec) -> Result<ContainerId> {
        let client = self.client().await?;
        let directory = self.directory(&spec.sandbox.id);
        let key = spec.sandbox.recipe.ssh_key.as_deref().unwrap_or_default();
        let secrets = [("token", spec.sandbox.token.reveal()), (spec::KEYS, key)];
        let secrets = secrets.map(|(name, text)| (name, text.to_owned()));
        directory::write(&directory, &[spec::check_in_files(&spec.check_in).as_slice(), &secrets].concat())?;
        self.amend(&spec.sandbox).await?;
        let options = CreateContainerOptionsBuilder::default().name(spec.sandbox.name.as_str()).build();
        let call = client.create_container(Some(options), spec::request(spec, &self.settings, &directory));
        let made = self.seen(within(SLOW, "create", call, EngineError::NoImage).await)?;
        ContainerId::parse(&made.id).ok_or_else(|| EngineError::Refused(format!("it made {:?}", made.id)))
    }

    async fn start(&self, container: &ContainerId) -> Result<()> {
        match self.try_start(container, EngineError::NoContainer).await {
            // The container is missing. If it is there, its network is missing: somebody pruned networks while nothing
            // ran.
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
        directory::remove(&self.directory(sandbox), &self.amendment(sandbox))
    }

    async fn inspect(&self, container: &ContainerId) -> Result<Observed> {
        let shown = self.look(container).await?;
        let address = self.address(shown.network_settings.as_ref().and_then(|n| n.networks.as_ref()));
        let shown = observe::closely(container, shown);
        Ok(Observed { reach: Reach { address, ..shown.reach }, ..shown })
    }

    async fn list(&self) -> Result<Vec<Observed>> {
        let shown = self.all_of_this_deployment().await?;
        Ok(shown.iter().filter_map(|s| self.observed(s)).collect())
    }

    async fn amend(&self, sandbox: &Sandbox) -> Result<()> {
        let (path, text) = (self.amendment(&sandbox.id), amendment::of(sandbox));
        // The disk may be slow, and others must not wait for it.
        let written = tokio::task::spawn_blocking(move || directory::amend(&path, &text));
        match tokio::time::timeout(QUICK, written).await {
            Ok(written) => written.expect("it does not panic"),
            Err(_) => Err(EngineError::Timeout { call: "amend", deadline: QUICK }),
        }
    }

    async fn recover(&self, container: &ContainerId) -> Result<Sandbox> {
        let shown = self.look(container).await?;
        let stranger = || EngineError::Refused(format!("the labels of container {container} do not read as ours"));
        let mut sandbox = spec::recover(&shown, Token::from_bytes(random()?)).ok_or_else(stranger)?;
        if let Some(text) = directory::amended(&self.amendment(&sandbox.id)) {
            amendment::put_over(&mut sandbox, &text);
        }
        let directory = self.directory(&sandbox.id);
        let kept = std::fs::read_to_string(directory.join("token")).ok().and_then(|t| Token::parse(t.trim()));
        match kept {
            Some(token) => sandbox.token = token,
            // The directory is lost too. Make it anew: the sandbox's next start mounts it. Until then the sandbox's
            // address identifies it, as it does without a token.
            None => directory::write(&directory, &spec::files(&shown, &sandbox))?,
        }
        Ok(sandbox)
    }
}

impl DockerEngine {
    /// Everything that Docker shows of one container.
    pub(super) async fn look(&self, container: &ContainerId) -> Result<ContainerInspectResponse> {
        let client = self.client().await?;
        let call = client.inspect_container(container.as_str(), None::<InspectContainerOptions>);
        self.seen(within(QUICK, "inspect", call, EngineError::NoContainer).await)
    }

    /// The address on the sandboxes' network.
    fn address(&self, networks: Option<&HashMap<String, EndpointSettings>>) -> Option<IpAddr> {
        networks?.get(&self.settings.network)?.ip_address.as_deref()?.parse().ok()
    }

    /// Starts a container; a 404 means that `missing` is missing.
    async fn try_start(&self, container: &ContainerId, missing: impl Into<Option<EngineError>>) -> Result<()> {
        let client = self.client().await?;
        let call = client.start_container(container.as_str(), None::<StartContainerOptions>);
        self.seen(within(SLOW, "start", call, missing).await)
    }

    /// Every container with this deployment's label, as the list shows it.
    pub(super) async fn all_of_this_deployment(&self) -> Result<Vec<ContainerSummary>> {
        let client = self.client().await?;
        let filters = HashMap::from([("label", vec![format!("{}={}", spec::DEPLOYMENT, self.settings.deployment)])]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        let call = client.list_containers(Some(options));
        self.seen(within(QUICK, "list", call, EngineError::NoContainer).await)
    }

    /// One container of the list in our words, if it is a sandbox.
    fn observed(&self, shown: &ContainerSummary) -> Option<Observed> {
        let networks = shown.network_settings.as_ref().and_then(|n| n.networks.as_ref());
        // An image made from a sandbox (`docker commit`) hands our labels on to containers that are not ours. It cannot
        // hand on the mount of the sandbox's own directory.
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
        let shown = observe::from_afar(container, sandbox, shown);
        Some(Observed { reach: Reach { address, ..shown.reach }, ..shown })
    }
}
