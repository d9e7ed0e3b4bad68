//! What the doctor has seen, before anybody judges it.

use jiff::Timestamp;

use crate::{
    engine::{
        self,
        docker::{
            diagnosis::{Description, Network},
            trial::Trial,
        },
    },
    host::{Disk, Firewall, Mount, Route},
};

/// What was seen, or why nothing could be seen.
pub type Seen<T> = Result<T, String>;

/// Kernel limits that all sandboxes share, by the kernel's names.
pub const SHARED: [&str; 5] =
    ["kernel.pty.max", "fs.inotify.max_user_instances", "fs.inotify.max_user_watches", "fs.aio-max-nr", "fs.file-max"];

/// Everything.
/// It has as many fields as there are things to look at.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Where the engine listens.
    pub engine_at: String,
    pub engine: Seen<Description>,
    pub networks: Seen<Vec<Network>>,
    /// How many containers are on the sandboxes' network; none if there is no such network.
    pub on_bridge: Seen<Option<u32>>,
    /// What a container on trial said; `None` if there is no image for it.
    pub trial: engine::Result<Option<Trial>>,
    /// What the server says about itself.
    pub server: Seen<Server>,
    /// The sandboxes that exist.
    pub sandboxes: Seen<Vec<Shown>>,
    pub routes: Seen<Vec<Route>>,
    /// The kernel's range for outgoing connections, if it overlaps with our ports.
    pub clients: Option<(u16, u16)>,
    /// How many descriptors a process that we start may have; `None`: no limit.
    pub descriptors: Option<u64>,
    /// The kernel's values for [`SHARED`], by their names.
    pub shared: Vec<(&'static str, Seen<u64>)>,
    /// This machine's memory in bytes.
    pub memory: Option<u64>,
    /// Where the engine keeps everything.
    pub engine_disk: Seen<Disk>,
    pub engine_mount: Seen<Mount>,
    /// Where the database is.
    pub database_disk: Seen<Disk>,
    pub firewall: Seen<Firewall>,
    /// Who manages the firewall. Seeing that takes no rights.
    pub firewall_manager: Option<&'static str>,
    /// Whether a time service keeps the clock.
    pub clock_kept: Seen<bool>,
    /// What time it was when the engine was asked.
    pub asked_at: Timestamp,
    pub now: Timestamp,
}

/// What `/v1/health` says, as far as the doctor looks at it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Server {
    pub version: String,
    /// What is not well, with why.
    pub troubles: Vec<String>,
    /// Whether the check-in door is open, by its own account.
    pub door_is_open: bool,
    /// Sandboxes' ports that cannot be opened.
    pub ports_not_open: Vec<String>,
    /// How many sandboxes the engine fails to stop, start or remove.
    pub failing: u64,
    /// Descriptors of the process that carries the connections: in use, and the limit.
    pub descriptors: Option<(u64, u64)>,
}

/// A sandbox as the API shows it, as far as the doctor looks at it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shown {
    pub image: String,
    pub is_running: bool,
    pub started_at: Option<Timestamp>,
    pub has_reported: bool,
    /// The seconds between its reports, as seen.
    pub report_period: Option<u64>,
    /// The idle limit that is set for it, in seconds.
    pub idle_limit: Option<u64>,
    /// Whether reports count as evidence for it.
    pub reports_count: bool,
    /// The host ports that it holds.
    pub ports: Vec<u16>,
}
