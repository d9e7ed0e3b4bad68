//! What of a container changes while it is there, running or not.

use async_trait::async_trait;

use super::Result;
use crate::domain::{ContainerId, Cpus, Memory, SandboxId, SandboxName};

/// Changes of containers.
#[async_trait]
pub trait Altering: Send + Sync {
    /// Gives a container another name.
    ///
    /// # Errors
    /// [`EngineError::NameTaken`](super::EngineError::NameTaken) if another container has it.
    async fn rename(&self, container: &ContainerId, name: &SandboxName) -> Result<()>;

    /// Gives a container other limits, at once if it runs. Memory and swap together have the same limit, as at the
    /// creation.
    ///
    /// # Errors
    /// [`EngineError::Refused`](super::EngineError::Refused), for example if more memory is in use;
    /// [`EngineError::TooManyCpus`](super::EngineError::TooManyCpus).
    async fn limit(&self, container: &ContainerId, memory: Memory, cpus: Cpus) -> Result<()>;

    /// Says who may log in from now on: public keys, one a line. The engine need not answer. Whoever reads meanwhile
    /// reads the old keys or the new ones.
    async fn admit(&self, sandbox: &SandboxId, keys: &str) -> Result<()>;
}
