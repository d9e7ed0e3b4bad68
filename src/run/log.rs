//! Starts the log: its level, its filter, its form.

use std::io::IsTerminal;

use spindle::config::{Config, LogFormat};
use tracing::subscriber::set_global_default;
use tracing_subscriber::EnvFilter;

use super::Sentence;

/// The scheduler's own messages are left out, unless somebody asks for them.
const QUIET: &str = "tokio_cron_scheduler=warn";

/// Begins to log on standard error.
///
/// # Errors
/// If `SPINDLE_LOG` is no filter.
pub fn start(config: &Config) -> Result<(), Sentence> {
    let filter = EnvFilter::try_new(format!("{QUIET},{}", config.log))
        .map_err(|e| format!("SPINDLE_LOG: {:?} is not allowed; {e}", config.log))?;
    let colours = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours);
    // Not `init`: it also shows messages of the crate `log`. There Rocket complains of each refused request in the name
    // of our own modules, and no filter tells the two apart.
    match config.log_format {
        LogFormat::Text => set_global_default(log.with_target(false).finish())?,
        LogFormat::Json => set_global_default(log.json().flatten_event(true).finish())?,
    }
    Ok(())
}
