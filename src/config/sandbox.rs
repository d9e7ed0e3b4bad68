//! The settings of what every sandbox is given.

use super::{
    ConfigError,
    values::{Values, capabilities, log_size},
};
use crate::domain::{Cpus, Memory, Zone};

/// What every sandbox is given, unless its creator says otherwise.
#[derive(Debug, Clone)]
pub struct SandboxConfig {
    /// `SPINDLE_MEMORY`: the memory limit of a sandbox whose creator sets none.
    pub memory: Memory,
    /// `SPINDLE_CPUS`: the cpu limit of a sandbox whose creator sets none.
    pub cpus: Cpus,
    /// `SPINDLE_PIDS_LIMIT`: the most processes in a sandbox.
    pub pids_limit: u32,
    /// `SPINDLE_OPEN_FILES_LIMIT`: the most descriptors of each process in a sandbox.
    pub open_files_limit: u32,
    /// `SPINDLE_TERMINALS_LIMIT`: the most terminals of a sandbox.
    pub terminals_limit: u32,
    /// `SPINDLE_CAPABILITIES`: the capabilities that sandboxes keep.
    pub capabilities: Vec<String>,
    /// `SPINDLE_LOG_MAX_SIZE`: the size at which a container's log is rotated.
    pub log_max_size: String,
    /// `SPINDLE_LOG_MAX_FILES`: how many of its log files are kept.
    pub log_max_files: u32,
    /// `SPINDLE_TZ`: the time zone of sandboxes whose creator and image name none; `None`: UTC.
    pub zone: Option<Zone>,
    /// `SPINDLE_DEFAULT_SSH_KEY`: public keys, one per line, for sandboxes whose creator gives none, or for all.
    pub default_ssh_key: Option<String>,
    /// `SPINDLE_DEFAULT_SSH_KEY_ALWAYS`: whether they are added to the keys that a creator gives.
    pub default_ssh_key_always: bool,
}

impl SandboxConfig {
    pub(super) fn from_values(v: &mut Values) -> Result<Self, ConfigError> {
        Ok(Self {
            memory: v.take("memory", "512m", "it is a size of at least 16m, such as 512m or 2g", |t| {
                Memory::parse(t).ok()
            })?,
            cpus: v.take("cpus", "1", "it is a number of cores, at least 0.01", |t| Cpus::parse(t).ok())?,
            pids_limit: v.at_least_one("pids_limit", "256")?,
            open_files_limit: v.take("open_files_limit", "16384", "it is a whole number, 256 to 1048576", |t| {
                t.parse().ok().filter(|n| (256..=1 << 20).contains(n))
            })?,
            terminals_limit: v.take("terminals_limit", "64", "it is a whole number, 4 to 1048576", |t| {
                t.parse().ok().filter(|n| (4..=1 << 20).contains(n))
            })?,
            capabilities: v.take(
                "capabilities",
                "AUDIT_WRITE,CHOWN,DAC_OVERRIDE,FOWNER,FSETID,KILL,NET_BIND_SERVICE,SETGID,SETUID,SYS_CHROOT",
                "it is a list of capabilities, such as CHOWN,SETUID",
                capabilities,
            )?,
            log_max_size: v.take("log_max_size", "10m", "it is a size, such as 10m", log_size)?,
            log_max_files: v.at_least_one("log_max_files", "2")?,
            zone: v.take(
                "tz",
                "",
                Zone::ALLOWED,
                |t| if t.is_empty() { Some(None) } else { Zone::read(t).map(Some) },
            )?,
            default_ssh_key: Some(v.lines("default_ssh_key")).filter(|keys| !keys.is_empty()),
            default_ssh_key_always: v.flag("default_ssh_key_always", "true")?,
        })
    }

    /// The settings in force, as lines of a TOML file.
    pub(super) fn lines(&self) -> Vec<(&'static str, String)> {
        let quoted = |t: &dyn std::fmt::Display| format!("{:?}", t.to_string());
        vec![
            ("memory", quoted(&self.memory)),
            ("cpus", quoted(&self.cpus)),
            ("pids_limit", self.pids_limit.to_string()),
            ("open_files_limit", self.open_files_limit.to_string()),
            ("terminals_limit", self.terminals_limit.to_string()),
            ("capabilities", format!("{:?}", self.capabilities)),
            ("log_max_size", quoted(&self.log_max_size)),
            ("log_max_files", self.log_max_files.to_string()),
            ("tz", quoted(&self.zone.as_ref().map_or("", Zone::name))),
            ("default_ssh_key", quoted(&self.default_ssh_key.as_deref().unwrap_or_default())),
            ("default_ssh_key_always", self.default_ssh_key_always.to_string()),
        ]
    }
}
