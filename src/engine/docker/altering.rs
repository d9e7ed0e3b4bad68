//! Changes of Docker's containers.

use async_trait::async_trait;
use bollard::{models::ContainerUpdateBody, query_parameters::RenameContainerOptionsBuilder};

use super::{DockerEngine, QUICK, directory, errors::within, spec};
use crate::{
    domain::{ContainerId, Cpus, Memory, SandboxId, SandboxName},
    engine::{Altering, EngineError, Result},
};

#[async_trait]
impl Altering for DockerEngine {
    async fn rename(&self, container: &ContainerId, name: &SandboxName) -> Result<()> {
        // Docker refuses the name that a container has already.
        let shown = self.look(container).await?.name.unwrap_or_default();
        if shown.trim_start_matches('/') == name.as_str() {
            return Ok(());
        }
        let client = self.client().await?;
        let options = RenameContainerOptionsBuilder::default().name(name.as_str()).build();
        let call = client.rename_container(container.as_str(), options);
        self.seen(within(QUICK, "rename", call, EngineError::NoContainer).await)
    }

    async fn limit(&self, container: &ContainerId, memory: Memory, cpus: Cpus) -> Result<()> {
        let client = self.client().await?;
        let limits = ContainerUpdateBody {
            memory: Some(memory.bytes() as i64),
            memory_swap: Some(memory.bytes() as i64),
            nano_cpus: Some(cpus.nano()),
            ..ContainerUpdateBody::default()
        };
        let call = client.update_container(container.as_str(), limits);
        self.seen(within(QUICK, "update", call, EngineError::NoContainer).await)
    }

    async fn admit(&self, sandbox: &SandboxId, keys: &str) -> Result<()> {
        let (folder, keys) = (self.directory(sandbox), keys.to_owned());
        let written = tokio::task::spawn_blocking(move || directory::replace(&folder, spec::KEYS, &keys));
        match tokio::time::timeout(QUICK, written).await {
            Ok(written) => written.expect("it does not panic"),
            Err(_) => Err(EngineError::Timeout { call: "admit", deadline: QUICK }),
        }
    }
}
