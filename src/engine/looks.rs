//! What there is to see of a container: how much it uses, which processes run in it, what the engine has made of it.

use std::time::Duration;

use async_trait::async_trait;

use super::Result;
use crate::domain::ContainerId;

/// How much a running container uses. What the machine does not count is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// The cpu time since its start.
    pub cpu: Duration,
    /// The bytes of memory, without what the kernel would drop if others needed it.
    pub memory: u64,
    /// The most that it may have.
    pub memory_limit: Option<u64>,
    /// The most that it has had, with everything.
    pub memory_peak: Option<u64>,
    /// How many processes and threads.
    pub processes: u64,
    /// The bytes that came and went over its network, but for those that it sent to itself.
    pub network: Option<(u64, u64)>,
    /// The bytes that it has written to disks.
    pub written: Option<u64>,
}

/// A process in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its number on the machine.
    pub pid: u32,
    /// The number of the user as whom it runs.
    pub user: u32,
    /// The cpu time that it has used, in whole seconds.
    pub cpu: Duration,
    /// Its program and arguments.
    pub command: String,
}

/// What is mounted in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mounted {
    /// Where.
    pub at: String,
    /// Of which kind, such as `bind` or `volume`.
    pub kind: String,
    /// Whether it can be written to.
    pub is_writable: bool,
}

/// What the engine has made of a sandbox's recipe and its image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Configuration {
    /// The variables of its programs: the image's and the caller's.
    pub env: Vec<(String, String)>,
    /// What is run.
    pub entrypoint: Vec<String>,
    /// Its arguments.
    pub command: Vec<String>,
    /// As whom; empty: as root.
    pub user: String,
    /// In which folder; empty: `/`.
    pub workdir: String,
    /// The name of its system.
    pub hostname: String,
    /// The engine's id of its image.
    pub image: String,
    /// Its networks, each with its address there.
    pub networks: Vec<(String, Option<String>)>,
    /// What is mounted in it.
    pub mounts: Vec<Mounted>,
    /// The most processes and threads.
    pub processes_limit: Option<u64>,
    /// Its capabilities, besides those that every container loses.
    pub capabilities: Vec<String>,
    /// Whether programs such as `sudo` are kept from gaining privileges.
    pub no_new_privileges: bool,
}

/// What there is to see of a container.
#[async_trait]
pub trait Looks: Send + Sync {
    /// How much a running container uses. `pid` is its first process on this machine, if it is known: then the engine
    /// need not be asked.
    ///
    /// # Errors
    /// [`EngineError::Refused`](super::EngineError::Refused) if it does not run.
    async fn figures(&self, container: &ContainerId, pid: Option<u32>) -> Result<Figures>;

    /// The processes of a running container.
    ///
    /// # Errors
    /// [`EngineError::Refused`](super::EngineError::Refused) if it does not run.
    async fn processes(&self, container: &ContainerId) -> Result<Vec<Process>>;

    /// What the engine has made of a sandbox.
    async fn configuration(&self, container: &ContainerId) -> Result<Configuration>;
}
