//! Changes of scripted containers.

use async_trait::async_trait;

use super::{FakeEngine, or_lie};
use crate::{
    domain::{ContainerId, Cpus, Memory, SandboxId, SandboxName},
    engine::{Altering, EngineError, Happening, Result},
};

#[async_trait]
impl Altering for FakeEngine {
    async fn rename(&self, container: &ContainerId, name: &SandboxName) -> Result<()> {
        let lie = self.enter("rename").await?;
        {
            let mut inner = self.inner();
            if let Some((other, _)) =
                inner.containers.iter().find(|(id, c)| c.name == name.as_str() && *id != container)
            {
                return Err(EngineError::NameTaken(other.to_string()));
            }
            let c = inner.containers.get_mut(container).ok_or(EngineError::NoContainer)?;
            if c.name == name.as_str() {
                return or_lie((), lie);
            }
            c.name = name.as_str().to_owned();
        }
        self.tell(container, Happening::Changed);
        or_lie((), lie)
    }

    async fn limit(&self, container: &ContainerId, memory: Memory, cpus: Cpus) -> Result<()> {
        let lie = self.enter("limit").await?;
        {
            let mut inner = self.inner();
            let c = inner.containers.get_mut(container).ok_or(EngineError::NoContainer)?;
            if memory.bytes() < c.inside.memory_used {
                return Err(EngineError::Refused("more memory is in use (scripted)".into()));
            }
            (c.sandbox.recipe.memory, c.sandbox.recipe.cpus) = (memory, cpus);
        }
        self.tell(container, Happening::Changed);
        or_lie((), lie)
    }

    async fn admit(&self, sandbox: &SandboxId, keys: &str) -> Result<()> {
        let lie = self.enter("admit").await?;
        if let Some(c) = self.inner().containers.values_mut().find(|c| c.sandbox.id == *sandbox) {
            c.ssh_key = Some(keys.to_owned()).filter(|keys| !keys.is_empty());
        }
        or_lie((), lie)
    }
}

impl FakeEngine {
    /// Sets how much memory a container uses: no limit can be set below that.
    pub fn use_memory(&self, container: &ContainerId, bytes: u64) {
        if let Some(c) = self.inner().containers.get_mut(container) {
            c.inside.memory_used = bytes;
        }
    }
}
