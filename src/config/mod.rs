//! The configuration: one struct, parsed once from `spindle.toml` and `SPINDLE_*` variables; the variables win.
//! Every value is read as text and parsed by its own type, so that a password of digits stays as it is. Contradictions
//! are refused here, not found out in class.

mod gate;
mod password;
mod policy;
mod relay;
mod sandbox;
mod show;
mod transfer;
mod values;

use std::{
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use figment::{
    Figment,
    providers::{Format, Serialized, Toml},
};
use ipnet::Ipv4Net;

use crate::domain::{Password, Who, limits::BRIDGE};
pub use gate::{GateConfig, PublicUrl};
pub use password::is_default;
pub use policy::PolicyConfig;
pub use relay::RelayConfig;
pub use sandbox::SandboxConfig;
pub use transfer::TransferConfig;
use values::{Values, log_filter, log_format, port_range, stop_grace, subnet, word};

/// The default password of spin-docker (`CONTRACT.md` 1).
pub const DEFAULT_PASSWORD: &str = "spindocker";

/// Variables that begin with `SPINDLE_` and do not configure the server.
const NOT_OURS: [&str; 2] = ["config", "check_in_url"];

/// The form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// The whole configuration.
/// Its fields are the settings, one for each.
#[derive(Debug, Clone)]
pub struct Config {
    /// `SPINDLE_ADDRESS`: where the API listens.
    pub address: IpAddr,
    /// `SPINDLE_PORT`: its port.
    pub port: u16,
    /// How it is reached.
    pub gate: GateConfig,
    /// `SPINDLE_ADMIN_USER`: who may use it.
    pub admin_user: String,
    /// `SPINDLE_ADMIN_PASSWORD` or `SPINDLE_ADMIN_PASSWORD_HASH`: the user's password.
    pub admin_password: Password,
    /// `SPINDLE_DATABASE`: the database file.
    pub database: PathBuf,
    /// `SPINDLE_FILES`: the directory in which each sandbox has its `/run/spindle` and its amendment; absolute.
    pub files: PathBuf,
    /// `SPINDLE_DEPLOYMENT`: what tells this server's containers and network from others'.
    pub deployment: String,
    /// When sandboxes are stopped.
    pub policy: PolicyConfig,
    /// `SPINDLE_REPORT_PERIOD`: how often images report, in seconds.
    pub report_period: Duration,
    /// `SPINDLE_RESUME_GRACE`: how many seconds nothing is stopped after a time in which sandboxes could not report.
    pub resume_grace: Duration,
    /// `SPINDLE_CONVERGE_EVERY`: how often the pass runs at least, in seconds.
    pub converge_every: Duration,
    /// `SPINDLE_STOP_GRACE`: seconds from SIGTERM to SIGKILL.
    pub stop_grace: Duration,
    /// `SPINDLE_CHECK_IN_ADDRESS`: where the check-in door listens; `auto`: the network's gateway.
    pub check_in_address: Option<IpAddr>,
    /// `SPINDLE_CHECK_IN_PORT`: its port.
    pub check_in_port: u16,
    /// `SPINDLE_PUBLISH_ADDRESS`: on which address the sandboxes' ports are published.
    pub publish_address: IpAddr,
    /// `SPINDLE_PORT_RANGE`: the host ports that it takes.
    pub port_range: RangeInclusive<u16>,
    /// `SPINDLE_SUBNET`: the sandboxes' network.
    pub subnet: Ipv4Net,
    /// `SPINDLE_MAX_RUNNING`: how many sandboxes may run at once.
    pub max_running: u32,
    /// `SPINDLE_START_CONCURRENCY`: how many are created or started at once, and how many removed.
    pub start_concurrency: usize,
    /// `SPINDLE_ACTIONS_KEEP`: for how many days actions are kept.
    pub actions_keep: Duration,
    /// How files go in and out.
    pub transfer: TransferConfig,
    /// What every sandbox is given.
    pub sandbox: SandboxConfig,
    /// How their ports are carried.
    pub relay: RelayConfig,
    /// `SPINDLE_LENIENT`: whether the API ignores fields that do not exist.
    pub lenient: bool,
    /// `SPINDLE_LOG`: the level, or a filter in `tracing`'s notation.
    pub log: String,
    /// `SPINDLE_LOG_FORMAT`: its form.
    pub log_format: LogFormat,
}

/// Why a configuration is refused, as sentences for the person who starts Spindle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl Config {
    /// Reads the file at `path`, which must exist if `required`, and the variables.
    ///
    /// # Errors
    /// One sentence that names the variable, the value and what is allowed.
    pub fn load(
        path: &Path,
        required: bool,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut figment = Figment::new();
        if path.is_file() {
            figment = figment.merge(Toml::file_exact(path));
        } else if required {
            return Err(ConfigError(format!("the configuration file {} is not there", path.display())));
        }
        for (name, value) in variables {
            let Some(key) = name.strip_prefix("SPINDLE_").map(str::to_ascii_lowercase) else { continue };
            // An empty variable counts as not set. An empty password is a mistake, and must not become the default.
            if !NOT_OURS.contains(&key.as_str()) && (!value.is_empty() || key.starts_with("admin_password")) {
                figment = figment.merge(Serialized::default(&key, value));
            }
        }
        let values = figment.extract().map_err(|e| ConfigError(format!("the configuration cannot be read: {e}")))?;
        let mut values = Values::new(values);
        let config = Self::from_values(&mut values)?;
        if let Some((key, meant)) = values.left_over() {
            let meant = meant.map(|key| format!("; did you mean {key:?} (SPINDLE_{})?", key.to_ascii_uppercase()));
            let help = meant.unwrap_or_else(|| "; docs/CONFIGURATION.md has them all".into());
            let message = format!("there is no setting {key:?} (SPINDLE_{}){help}", key.to_ascii_uppercase());
            return Err(ConfigError(message));
        }
        config.check()?;
        Ok(config)
    }

    fn from_values(v: &mut Values) -> Result<Self, ConfigError> {
        let port = "it is a port, 1 to 65535";
        let nonzero = |t: &str| t.parse().ok().filter(|p: &u16| *p != 0);
        let text = |t: &str| (!t.is_empty()).then(|| t.to_owned());
        let database: PathBuf = v.plain("database", "spindle.db", "it is a path")?;
        let files = Self::files(v, &database)?;
        let report_period = v.seconds("report_period", "60", 1)?;
        let subnet = v.take("subnet", "10.213.0.0/22", "it is an IPv4 network, such as 10.213.0.0/22", subnet)?;
        Ok(Self {
            address: v.plain("address", "127.0.0.1", "it is an IP address")?,
            port: v.take("port", "8080", port, nonzero)?,
            gate: GateConfig::from_values(v, subnet)?,
            admin_user: v.take("admin_user", "admin", "it is a name without a colon, other than \"inside\"", |t| {
                text(t).filter(|t| !t.contains(':') && t != Who::INSIDE)
            })?,
            admin_password: password::password(v)?,
            deployment: v.take(
                "deployment",
                "spindle",
                "it is a word of letters, digits, - and _, none of Docker's own",
                word,
            )?,
            policy: PolicyConfig::from_values(v, report_period)?,
            resume_grace: v.seconds("resume_grace", "300", 0)?,
            converge_every: v.seconds("converge_every", "5", 1)?,
            stop_grace: v.take("stop_grace", "10", "it is whole seconds, 0 to 100", stop_grace)?,
            check_in_address: v.take("check_in_address", "auto", "it is an IP address, or \"auto\"", |t| {
                if t == "auto" { Some(None) } else { t.parse().ok().map(Some) }
            })?,
            check_in_port: v.take("check_in_port", "80", port, nonzero)?,
            publish_address: v.plain("publish_address", "127.0.0.1", "it is an IP address")?,
            port_range: v.take(
                "port_range",
                "20000-29999",
                "it is two ports from 1024 on, such as 20000-29999",
                port_range,
            )?,
            subnet,
            max_running: v.at_least_one("max_running", "1000")?,
            start_concurrency: usize::from(v.at_least_one::<u16>("start_concurrency", "4")?),
            actions_keep: v.days("actions_keep", "400")?,
            lenient: v.flag("lenient", "false")?,
            log: v.take(
                "log",
                "info",
                "it is off, error, warn, info, debug or trace, or a filter such as info,spindle=debug",
                log_filter,
            )?,
            log_format: v.take("log_format", "text", "it is \"text\" or \"json\"", log_format)?,
            sandbox: SandboxConfig::from_values(v)?,
            relay: RelayConfig::from_values(v, subnet)?,
            transfer: TransferConfig::from_values(v, &database)?,
            database,
            files,
            report_period,
        })
    }

    #[expect(clippy::unnecessary_debug_formatting, reason = "quotes show where a path ends")]
    fn files(v: &mut Values, database: &Path) -> Result<PathBuf, ConfigError> {
        let beside = database.parent().map(|p| p.join("sandboxes")).unwrap_or_default();
        let files: PathBuf = v.plain("files", &beside.to_string_lossy(), "it is a path")?;
        let absolute = std::path::absolute(&files).ok().filter(|p| !p.to_string_lossy().contains(':'));
        absolute.ok_or_else(|| ConfigError(format!("SPINDLE_FILES: {files:?} must be a path without :")))
    }

    /// Refuses settings that contradict each other (`IDLENESS.md`, rule 12).
    fn check(&self) -> Result<(), ConfigError> {
        let refuse = |sentence: String| Err(ConfigError(sentence));
        if !self.address.is_loopback() && is_default(&self.admin_password) {
            return refuse(format!(
                "SPINDLE_ADDRESS is {}, which others can reach, and the password is the default one; set SPINDLE_ADMIN_PASSWORD",
                self.address
            ));
        }
        if self.resume_grace < self.report_period {
            return refuse(format!(
                "SPINDLE_RESUME_GRACE ({} s) is shorter than SPINDLE_REPORT_PERIOD ({} s): sandboxes could not report in it",
                self.resume_grace.as_secs(),
                self.report_period.as_secs()
            ));
        }
        self.policy.check()?;
        let same_host = self.publish_address == self.address
            || self.publish_address.is_unspecified()
            || self.address.is_unspecified();
        if self.port_range.contains(&self.port) && same_host {
            return refuse(format!("SPINDLE_PORT ({}) lies in SPINDLE_PORT_RANGE", self.port));
        }
        if self.check_in_address.is_some_and(|a| a.is_loopback()) {
            return refuse("SPINDLE_CHECK_IN_ADDRESS is on loopback, which sandboxes cannot reach".into());
        }
        let same_address = self.address.is_unspecified() || self.check_in_address == Some(self.address);
        if same_address && self.port == self.check_in_port {
            return refuse(format!(
                "SPINDLE_PORT and SPINDLE_CHECK_IN_PORT are both {}; the API and the check-in door need one each",
                self.port
            ));
        }
        let room = self.addresses().min(BRIDGE);
        if u64::from(self.max_running) > room {
            return refuse(format!(
                "SPINDLE_MAX_RUNNING ({}) is more than SPINDLE_SUBNET ({}) and one bridge hold: {room}",
                self.max_running, self.subnet
            ));
        }
        Ok(())
    }

    /// How many addresses the subnet has for sandboxes, without its gateway, its own address and the broadcast address.
    pub fn addresses(&self) -> u64 {
        (1_u64 << (32 - self.subnet.prefix_len())).saturating_sub(3)
    }

    /// Where the API listens.
    pub fn listen(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.port)
    }
}

#[cfg(test)]
mod tests;
