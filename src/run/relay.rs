//! `spindle relay`: the relay in a process of its own.

use std::sync::Arc;

use super::{
    Sentence,
    signals::{Ending, Reloading},
    systemd,
};
use spindle::{
    clock::SystemClock,
    config::Config,
    relay::{Ended, Process},
};

/// Carries the sandboxes' ports until a signal ends it, or until a newer relay has taken over and this one's last
/// connection has ended.
pub async fn relay(config: Config) -> Result<(), Sentence> {
    let at =
        config.relay.socket.ok_or("SPINDLE_RELAY_SOCKET is not set; it is the path at which the server finds this")?;
    let mut ending = Ending::listen()?;
    let mut reload = Reloading::listen()?;
    let failed = |e| format!("cannot listen at {}: {e}; SPINDLE_RELAY_SOCKET chooses another place", at.display());
    if let Some(parent) = at.parent() {
        std::fs::create_dir_all(parent).map_err(failed)?;
    }
    let process = Process::start(&at, &config.deployment, config.relay.limits, Arc::new(SystemClock));
    let process = process.await.map_err(failed)?;
    let pid = std::process::id();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), at = %at.display(), pid, "carrying");
    systemd::tell(&format!("READY=1\nMAINPID={pid}"));
    let stop = async {
        loop {
            tokio::select! {
                () = ending.told() => return,
                () = reload.told() => start_successor(),
            }
        }
    };
    if process.run(stop).await == Ended::Replaced {
        tracing::info!("the last connection has ended");
    }
    Ok(())
}

/// Starts the program again with the same arguments. The new process takes over; if it cannot, this one goes on.
fn start_successor() {
    let mut words = std::env::args_os();
    let Some(program) = words.next() else { return };
    match tokio::process::Command::new(&program).args(words).spawn() {
        Ok(mut successor) => drop(tokio::spawn(async move {
            if let Ok(status) = successor.wait().await {
                tracing::warn!(%status, "the relay that this one started has ended");
            }
        })),
        Err(e) => tracing::error!(?program, error = %e, "no relay can be started that would take over"),
    }
}
