//! `spindle doctor`: looks once at everything, and prints one report.

use std::{
    io::{IsTerminal, Write},
    process::ExitCode,
};

use spindle::{config::Config, doctor};
use tokio::runtime::Runtime;

use super::{Sentence, parts};

/// Examines this machine, Docker and the server, and prints what was found.
///
/// # Errors
/// If the examination cannot begin.
pub fn doctor(config: &Config, json: bool) -> Result<ExitCode, Sentence> {
    let runtime = Runtime::new()?;
    let report = runtime.block_on(doctor::examine(config, &parts::engine(config)?));
    // Do not wait for a disk that hangs.
    runtime.shutdown_background();
    let text = if json { report.json() } else { report.text(std::io::stdout().is_terminal()) };
    // A reader that stops early, as `head` does, has seen enough.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(if report.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
