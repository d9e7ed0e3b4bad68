//! The container engine as traits, in our words and with our ids.

mod altering;
mod amendment;
pub mod archive;
pub mod docker;
mod exec;
pub mod fake;
mod files;
mod logs;
mod looks;

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use jiff::Timestamp;

pub use altering::Altering;
pub use files::{Files, Stat};
pub use logs::{Logs, LogsWanted, Outlet, Said, Saying};
pub use looks::{Configuration, Figures, Looks, Mounted, Process};

use crate::domain::{ContainerId, ImageRef, Observed, PortSpec, Sandbox, SandboxId};

pub use exec::{Attached, Channel, Exec, Ran};

/// Why the engine did not do what it was asked. `Display` is written for an instructor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// Nobody answers at its address, or the connection broke. Whether the request was done is unknown.
    #[error("the container engine does not answer: {0}")]
    Unavailable(String),
    /// It did not answer in time, and may still be at it.
    #[error("the container engine did not answer within {} s ({call})", deadline.as_secs())]
    Timeout {
        /// What was asked.
        call: &'static str,
        /// How long we waited.
        deadline: Duration,
    },
    /// It has no such image.
    #[error("no such image")]
    NoImage,
    /// Containers were made from the image.
    #[error("{0}")]
    ImageInUse(String),
    /// It has no such container.
    #[error("no such container")]
    NoContainer,
    /// The container has nothing at that path.
    #[error("there is no such file or folder")]
    NoPath,
    /// At the path is a file where a folder is wanted, or a folder where a file is.
    #[error("a file would take the place of a folder, or a folder that of a file")]
    WrongKind,
    /// The path is on what is mounted for reading only.
    #[error("that place can only be read")]
    ReadOnly,
    /// The sandboxes' network is gone.
    #[error("the sandboxes' network is gone")]
    NoNetwork,
    /// One of the host ports is held by another program.
    #[error("a host port is in use by another program: {0}")]
    PortHeld(String),
    /// Somebody else is removing the container already.
    #[error("the container is being removed")]
    Removing,
    /// Another container has that name. The value is its id, if the engine tells it.
    #[error("another container has that name")]
    NameTaken(String),
    /// The machine has fewer cores.
    #[error("{0}")]
    TooManyCpus(String),
    /// It refused, and says why.
    #[error("{0}")]
    Refused(String),
}

/// The engine's result.
pub type Result<T> = std::result::Result<T, EngineError>;

/// What the engine is.
#[derive(Debug, Clone, PartialEq)]
pub struct EngineInfo {
    /// Its version, such as `20.10.24`.
    pub version: String,
    /// The version of its API that we speak with it.
    pub api_version: String,
}

/// What is known about an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageDetails {
    /// The engine's id for it: `sha256:` and 64 hex digits. Docker's own store and containerd's have different ones.
    pub id: String,
    /// Its names, as `repository:tag`.
    pub tags: Vec<String>,
    /// Its bytes, shared layers included: unpacked in Docker's own store, packed in containerd's.
    pub size: u64,
    /// When it was built, if it says so.
    pub created: Option<Timestamp>,
    /// The machines that it is for, such as `linux/amd64`.
    pub platform: String,
    /// The ports that it exposes, without duplicates; SCTP is left out.
    pub exposed: Vec<PortSpec>,
    /// The time zone that it gives its programs (`TZ`).
    pub tz: Option<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// The progress of pulling one layer of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerProgress {
    /// Which layer.
    pub layer: String,
    /// Whether it is here.
    pub done: bool,
    /// How many bytes are here, and how many there will be, while the engine counts them.
    pub bytes: Option<(u64, u64)>,
}

/// Where and how often a sandbox reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckIn {
    /// Where: a URL.
    pub url: String,
    /// How often: whole seconds.
    pub period: Duration,
}

/// How often the engine was asked something, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// What was asked, such as `create`.
    pub call: &'static str,
    /// `ok`, `refused`, `timeout` or `unavailable`.
    pub outcome: &'static str,
    /// How often.
    pub count: u64,
}

/// How many terminals an announcement reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Announced {
    /// Those that show it.
    pub reached: u32,
    /// Those that their reader has stopped (Ctrl-S): nothing can be written there.
    pub stopped: u32,
}

/// Everything that the engine needs to make a container.
#[derive(Debug, Clone)]
pub struct SandboxSpec {
    /// The sandbox, its ports reserved. Its recipe has all keys, variables and words.
    pub sandbox: Sandbox,
    /// Where and how often the sandbox checks in.
    pub check_in: CheckIn,
    /// Whether programs such as `sudo` are kept from gaining privileges.
    pub no_new_privileges: bool,
    /// Whether it is started at once. One that is not counts as [`Phase::Exited`](crate::domain::Phase) from the
    /// beginning: nobody cut its creation off.
    pub starts: bool,
}

/// Something that happened to a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// To which.
    pub container: ContainerId,
    /// What.
    pub what: Happening,
    /// When, by the engine's clock, if it says.
    pub at: Option<Timestamp>,
}

/// What may happen to a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happening {
    /// It was started.
    Started,
    /// The engine has sent it a signal that ends programs, or has stopped it by another signal.
    Signalled,
    /// It has ended.
    Ended,
    /// It was removed.
    Removed,
    /// Something else, which a look will show.
    Changed,
}

/// The containers of a deployment, each as a whole: they are made, started, stopped, removed and looked at.
#[async_trait]
pub trait Containers: Send + Sync {
    /// Makes a container and does not start it. The engine publishes only the ports that it carries. It carries labels
    /// from which [`Containers::recover`] rebuilds the sandbox, is amended as by [`Containers::amend`], and finds `check_in_url`, `report_period`, `token` and
    /// `authorized_keys` read-only at `/run/spindle`.
    async fn create(&self, spec: &SandboxSpec) -> Result<ContainerId>;

    /// Starts a container.
    ///
    /// # Errors
    /// [`EngineError::PortHeld`] if a published host port is not free.
    async fn start(&self, container: &ContainerId) -> Result<()>;

    /// Stops a container: SIGTERM, then SIGKILL after `grace`. Returns when it has stopped.
    async fn stop(&self, container: &ContainerId, grace: Duration) -> Result<()>;

    /// Removes a container, running or not, with its anonymous volumes and its files on the host.
    /// Returns when it is gone.
    async fn remove(&self, sandbox: &SandboxId, container: Option<&ContainerId>) -> Result<()>;

    /// Looks at one container closely: always tells `mark`, tells `exit` if it has ended, and `pid` if the engine knows
    /// it.
    async fn inspect(&self, container: &ContainerId) -> Result<Observed>;

    /// Looks at all containers of this deployment, running or not. A container that is not in the answer does not
    /// exist.
    async fn list(&self) -> Result<Vec<Observed>>;

    /// Writes down what may change of a sandbox after its creation (its name, labels, limits, policy, and until when it
    /// is kept), where [`Containers::recover`] finds it and nobody inside can read it. The sandbox need not run, and the
    /// engine need not answer. Writes nothing if the same is written already.
    ///
    /// # Errors
    /// [`EngineError::Refused`] if it cannot be written, [`EngineError::Timeout`]. What was written before then stays.
    async fn amend(&self, sandbox: &Sandbox) -> Result<()>;

    /// Rebuilds a sandbox from what was written down of it, and where nothing was, from what its container carries. Its
    /// state is left for the caller to set.
    ///
    /// # Errors
    /// [`EngineError::Refused`] if the labels do not read as ours.
    async fn recover(&self, container: &ContainerId) -> Result<Sandbox>;
}

/// The images that the engine has, and those that it can pull.
#[async_trait]
pub trait Images: Send + Sync {
    /// The tagged images, as flat `repository:tag` without duplicates (`CONTRACT.md` 7).
    async fn images(&self) -> Result<Vec<String>>;

    /// Looks at one image. Never pulls.
    async fn image(&self, image: &ImageRef) -> Result<ImageDetails>;

    /// How many containers of this deployment were made from an image; `id` as in [`ImageDetails`].
    async fn containers_of(&self, id: &str) -> Result<usize>;

    /// Pulls an image from its registry. The stream ends when the image is here. Dropping the stream breaks the pull
    /// off.
    ///
    /// # Errors
    /// [`EngineError::NoImage`] if the registry has none of that name; [`EngineError::Refused`] with why the pull
    /// failed.
    async fn pull(&self, image: &ImageRef) -> Result<BoxStream<'static, Result<LayerProgress>>>;

    /// Removes a name of an image; with its last name, the image too.
    ///
    /// # Errors
    /// [`EngineError::NoImage`]; [`EngineError::ImageInUse`] if a container was made from it, ours or not.
    async fn remove_image(&self, image: &ImageRef) -> Result<()>;
}

/// The inside of a container: the files in it, what its programs say and use, the terminals of its users.
#[async_trait]
pub trait Inside: Send + Sync {
    /// Makes sure that an existing sandbox, running or not, finds at `/run/spindle` what belongs there: where and how
    /// often it checks in from now on, and its token and its key if somebody removed them.
    async fn furnish(&self, sandbox: &Sandbox, check_in: &CheckIn) -> Result<()>;

    /// The end of what a container has written, unchanged: enough for some lines, and not much more.
    async fn last_words(&self, container: &ContainerId) -> Result<Vec<u8>>;

    /// Writes `text` to every terminal inside a running container, after a bell and on lines of its own. Returns how
    /// many terminals it reached. It leaves out control characters. It waits a second for a terminal whose reader has
    /// stopped.
    ///
    /// # Errors
    /// [`EngineError::Refused`] if the container does not run, is paused, has no process left or has nothing to write
    /// with. The answer comes from inside the container, so it never shows that the engine is away.
    async fn announce(&self, container: &ContainerId, text: &str) -> Result<Announced>;

    /// The cpu time that a running container has used since its start.
    ///
    /// # Errors
    /// [`EngineError::Refused`] if it does not run.
    async fn cpu_time(&self, container: &ContainerId) -> Result<Duration>;
}

/// An engine: its containers, their inside, programs in them, their logs, files and what there is to see of them, its
/// images, and here the engine itself. Every method has its own deadline; "already so" is success.
#[async_trait]
pub trait Engine: Containers + Images + Inside + Altering + Exec + Logs + Files + Looks {
    /// Asks the engine what it is.
    async fn info(&self) -> Result<EngineInfo>;

    /// Checks whether the engine answers, as cheaply as possible.
    async fn answers(&self) -> Result<()> {
        self.info().await.map(drop)
    }

    /// What it was asked since our start.
    fn calls(&self) -> Vec<Call> {
        Vec::new()
    }

    /// How many bytes of memory its machine has.
    async fn memory(&self) -> Result<u64>;

    /// Makes the sandboxes' network if it is absent, and tells its gateway's address.
    ///
    /// # Errors
    /// [`EngineError::Refused`] if a network of that name exists and does not fit.
    async fn prepare(&self) -> Result<IpAddr>;

    /// Tells what happened to the containers of this deployment from `since` on, in order. The stream may end at any
    /// time, without an error.
    async fn watch(&self, since: Timestamp) -> Result<BoxStream<'static, Result<Event>>>;
}
