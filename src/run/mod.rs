//! The wiring of each command. Only here are the parts put together.

mod descriptors;
mod doctor;
mod log;
mod parts;
mod people;
mod relay;
mod serve;
mod signals;
mod systemd;

use std::{error::Error, ffi::OsString, path::Path};

use spindle::{config::Config, host, http};
use tokio::runtime::Runtime;

pub use doctor::doctor;
pub use people::{hash_password, reset_admin};

/// Why a command fails, for the person who ran it.
pub type Sentence = Box<dyn Error + Send + Sync>;

/// Reads the configuration from `path`; without a `path`, from the file in this directory, if there is one.
///
/// # Errors
/// One sentence that names the setting and what is allowed.
pub fn config(path: Option<&Path>) -> Result<Config, Sentence> {
    let at = path.unwrap_or(Path::new("spindle.toml"));
    let mut config = Config::load(at, path.is_some(), variables()?)?;
    if let Some(key) = &config.sandbox.default_ssh_key {
        config.sandbox.default_ssh_key = Some(http::ssh_keys("SPINDLE_DEFAULT_SSH_KEY", key)?);
    }
    Ok(config)
}

/// Serves the API until a signal ends it.
///
/// # Errors
/// Why it could not begin, or why it ended by itself.
pub fn serve(config: Config) -> Result<(), Sentence> {
    to_its_end(config, serve::serve)
}

/// Carries the sandboxes' ports until a signal ends it or a newer relay has replaced it.
///
/// # Errors
/// Why it could not begin.
pub fn relay(config: Config) -> Result<(), Sentence> {
    to_its_end(config, relay::relay)
}

/// Runs a long command, with a log and enough descriptors for its connections.
fn to_its_end<F>(mut config: Config, command: impl FnOnce(Config) -> F) -> Result<(), Sentence>
where
    F: Future<Output = Result<(), Sentence>>,
{
    log::start(&config)?;
    descriptors::raise_limit(&mut config);
    host::return_big_blocks();
    Runtime::new()?.block_on(command(config))
}

/// Our variables. One that is not UTF-8 is refused: if it were left out, the password would silently be the default.
fn variables() -> Result<Vec<(String, String)>, Sentence> {
    let named = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    let ours = named.filter(|(name, _)| name.starts_with("SPINDLE_"));
    let text = |(name, value): (String, OsString)| match value.into_string() {
        Ok(value) => Ok((name, value)),
        Err(_) => Err(format!("{name}: the value is not UTF-8").into()),
    };
    ours.map(text).collect()
}
