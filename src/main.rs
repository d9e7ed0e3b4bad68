//! The binary: parses the command line and runs the command.

mod run;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use run::Sentence;

#[derive(Parser)]
#[command(version, about = "One container per learner, stopped when nobody uses it and never when somebody does.")]
struct Cli {
    /// The configuration file; without it ./spindle.toml is read if it is there. SPINDLE_* variables win.
    #[arg(long, env = "SPINDLE_CONFIG", global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the API (the default)
    Serve,
    /// Carry the sandboxes' ports in a process of its own, at SPINDLE_RELAY_SOCKET, through restarts of the server
    Relay,
    /// Print the configuration in force, secrets masked, and refuse contradictions
    CheckConfig,
    /// Read a password, and write the hash that SPINDLE_ADMIN_PASSWORD_HASH takes
    HashPassword,
    /// Make a user an admin with a new password, on this machine, whoever is locked out; the server may run
    ResetAdmin {
        /// The user's name; the user is made if there is none
        #[arg(default_value = "rescue")]
        name: String,
    },
    /// Say what is wrong with this machine, Docker and the server, why it matters and what mends it
    Doctor {
        /// For programs
        #[arg(long)]
        json: bool,
    },
}

fn main() -> ExitCode {
    match dispatch(&Cli::parse()) {
        Ok(code) => code,
        Err(e) => {
            eprintln!("spindle: {e}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(cli: &Cli) -> Result<ExitCode, Sentence> {
    if let Some(Command::HashPassword) = cli.command {
        return run::hash_password().map(|()| ExitCode::SUCCESS);
    }
    let config = run::config(cli.config.as_deref())?;
    match &cli.command {
        None | Some(Command::Serve) => run::serve(config)?,
        Some(Command::Relay) => run::relay(config)?,
        Some(Command::HashPassword) => {}
        Some(Command::ResetAdmin { name }) => run::reset_admin(&config, name)?,
        Some(Command::CheckConfig) => print!("{}", config.show()),
        Some(Command::Doctor { json }) => return run::doctor(&config, *json),
    }
    Ok(ExitCode::SUCCESS)
}
