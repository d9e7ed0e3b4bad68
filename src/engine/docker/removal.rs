//! Removes a container with all that belongs to it, even if somebody else is removing it too.

use std::collections::HashMap;

use bollard::{
    errors::Error,
    query_parameters::{
        ListVolumesOptionsBuilder, RemoveContainerOptionsBuilder, RemoveVolumeOptions, WaitContainerOptionsBuilder,
    },
};
use futures_util::StreamExt;

use super::{DockerEngine, QUICK, SLOW, errors::within, spec};
use crate::{
    domain::{ContainerId, SandboxId},
    engine::{EngineError, Result},
};

impl DockerEngine {
    /// Removes a container and its volumes; false if there was none.
    pub(super) async fn remove_container(&self, container: &ContainerId) -> Result<bool> {
        let client = self.client().await?;
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        let call = client.remove_container(container.as_str(), Some(options));
        match self.seen(within(SLOW, "remove", call, EngineError::NoContainer).await) {
            Ok(()) => Ok(true),
            Err(EngineError::NoContainer) => Ok(false),
            Err(EngineError::Removing) => self.wait_until_removed(container).await.map(|()| true),
            Err(e) => Err(e),
        }
    }

    /// Waits until somebody else has removed a container.
    async fn wait_until_removed(&self, container: &ContainerId) -> Result<()> {
        let client = self.client().await?;
        let options = WaitContainerOptionsBuilder::default().condition("removed").build();
        let mut waited = client.wait_container(container.as_str(), Some(options));
        let gone = async {
            match waited.next().await {
                // Its exit code does not matter.
                None | Some(Ok(_) | Err(Error::DockerContainerWaitError { .. })) => Ok(()),
                Some(Err(e)) => Err(e),
            }
        };
        match self.seen(within(SLOW, "wait for a removal", gone, EngineError::NoContainer).await) {
            Err(EngineError::NoContainer) => Ok(()),
            other => other,
        }
    }

    /// Removes the volumes of a sandbox if others removed its container without them, as `docker rm` does.
    pub(super) async fn remove_volumes(&self, sandbox: &SandboxId) -> Result<()> {
        let client = self.client().await?;
        let filters = HashMap::from([("label", vec![format!("{}={sandbox}", spec::ID)])]);
        let options = ListVolumesOptionsBuilder::default().filters(&filters).build();
        let listed = self.seen(within(QUICK, "list volumes", client.list_volumes(Some(options)), None).await)?;
        for volume in listed.volumes.unwrap_or_default() {
            let call = client.remove_volume(&volume.name, None::<RemoveVolumeOptions>);
            self.seen(within(SLOW, "remove volume", call, None).await)?;
        }
        Ok(())
    }
}
