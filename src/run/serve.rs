//! `spindle serve`: the API, the check-in door and the loops, from the first check to an end in good order.

use std::{
    error::Error,
    net::{SocketAddr, TcpListener},
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr as UnixAddr, UnixListener},
    },
    sync::Arc,
    time::Duration,
};

use rocket::{Rocket, error::ErrorKind};
use spindle::{
    app::{App, CheckInDoor},
    clock::{Clock, SystemClock},
    config::Config,
    host,
    http::{self, ApiSettings},
    loops::Loops,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Sentence, parts, signals::Ending};

/// How long a shutdown waits for work under way.
const GRACE: Duration = Duration::from_secs(10);

/// How long a server may take to hand its last answers to the kernel.
const FLUSH: Duration = Duration::from_millis(100);

/// How long to wait before the check-in door is tried again.
const DOOR_RETRY: Duration = Duration::from_secs(2);

/// The settings that say where the API listens.
const API_SETTINGS: &str = "SPINDLE_ADDRESS and SPINDLE_PORT";

/// The settings that say where the check-in door is.
const DOOR_SETTINGS: &str = "SPINDLE_CHECK_IN_ADDRESS and SPINDLE_CHECK_IN_PORT";

/// Serves until a signal comes, then finishes the work under way.
pub async fn serve(config: Config) -> Result<(), Sentence> {
    check_clock()?;
    check_addresses(&config)?;
    let mut ending = Ending::listen()?;
    let _only_one = claim_deployment(&config.deployment)?;
    warn_of_client_range(&config);
    let listen = config.listen();
    let relay = parts::relay(&config);
    let app = parts::app(&config, Arc::clone(&relay)).await?;
    let grace = GRACE.as_secs() as u32;
    let settings = ApiSettings { listen, sandboxes: config.subnet, lenient: config.lenient, grace };
    let api = http::api(Arc::clone(&app), settings).ignite().await.map_err(|e| e.to_string())?;
    let stop_api = api.shutdown();
    let loops = Loops::start(&app, config.converge_every).await?;
    let closing = CancellationToken::new();
    let door = tokio::spawn(keep_door(Arc::clone(&app), config.check_in_port, closing.clone()));
    let mut api = tokio::spawn(launch(api));
    let database = config.database.display();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), %listen, deployment = config.deployment, %database, "serving");
    let ended_early = tokio::select! {
        () = ending.told() => None,
        ended = &mut api => Some(ended),
    };
    tracing::info!("shutting down; containers keep running");
    stop_api.notify();
    closing.cancel();
    let api_ends = async {
        match ended_early {
            Some(Ok(Err(e))) => Err(cannot_listen(listen, e.as_ref(), API_SETTINGS).into()),
            Some(_) => Err("the server ended by itself".into()),
            None => {
                flush(api).await;
                Ok(())
            }
        }
    };
    tokio::join!(app.drain(GRACE), loops.stop(GRACE));
    relay.close().await;
    let ((), ended) = tokio::join!(flush(door), api_ends);
    tracing::info!("ended");
    ended
}

/// HTTP and the schedule have no dates before 1970: no request could be answered.
fn check_clock() -> Result<(), Sentence> {
    let now = SystemClock.now();
    if now < jiff::Timestamp::UNIX_EPOCH {
        return Err(format!("the clock shows {now:.0}, and must show a time after 1970; set it, then start").into());
    }
    Ok(())
}

/// Tries the addresses before anything starts, so that a second server ends with a sentence and touches nothing.
fn check_addresses(config: &Config) -> Result<(), Sentence> {
    let listen = config.listen();
    TcpListener::bind(listen).map_err(|e| cannot_listen(listen, &e, API_SETTINGS))?;
    // An address that this machine does not have would make every create fail.
    let address = config.publish_address;
    TcpListener::bind((address, 0)).map_err(|e| {
        format!("cannot publish ports on {address}: {e}; set SPINDLE_PUBLISH_ADDRESS to an address of this machine")
    })?;
    Ok(())
}

/// Makes sure that no other server on this machine manages the same containers: one of the two would hear no check-ins,
/// and stop containers in use. The kernel releases the name when the process ends, in whatever way.
fn claim_deployment(deployment: &str) -> Result<UnixListener, Sentence> {
    let name = UnixAddr::from_abstract_name(format!("spindle/{deployment}"))?;
    UnixListener::bind_addr(&name).map_err(|_| {
        format!(
            "another Spindle server looks after the deployment {deployment:?}; set SPINDLE_DEPLOYMENT to another name"
        )
        .into()
    })
}

/// A range that overlaps with the kernel's range for outgoing connections sometimes loses ports to it.
fn warn_of_client_range(config: &Config) {
    if let Some(clients) = host::lost_to_clients(&config.port_range) {
        let (low, high) = (clients.start(), clients.end());
        tracing::warn!(low, high, "SPINDLE_PORT_RANGE overlaps with the kernel's range for outgoing connections");
    }
}

/// Gives a server a moment to send the answers that are ready. It would wait its whole grace for clients that keep an
/// idle connection. They are cut off: every request is answered by now.
async fn flush<T>(server: JoinHandle<T>) {
    let _ = tokio::time::timeout(FLUSH, server).await;
}

fn cannot_listen(at: SocketAddr, why: &dyn Error, settings: &str) -> String {
    format!("cannot listen on {at}: {why}; {settings} choose another place")
}

/// Launches a server; the error is why it could not listen.
async fn launch(server: Rocket<rocket::Ignite>) -> Result<(), Sentence> {
    match server.launch().await {
        Ok(_) => Ok(()),
        Err(e) => match e.kind() {
            ErrorKind::Bind(io) => Err(io.to_string().into()),
            other => Err(other.to_string().into()),
        },
    }
}

/// Keeps the check-in door open, from the time that the network exists until `closing`.
async fn keep_door(app: Arc<App>, port: u16, closing: CancellationToken) {
    while !closing.is_cancelled() {
        let wait = match app.vitals.door_address() {
            None => Duration::from_millis(50),
            Some(address) => {
                let listen = SocketAddr::new(address, port);
                if let Err(why) = http::keep_door(Arc::clone(&app), listen, closing.clone()).await {
                    app.vitals.set_door(CheckInDoor::Shut(cannot_listen(listen, &why, DOOR_SETTINGS)));
                }
                DOOR_RETRY
            }
        };
        tokio::select! {
            () = closing.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}
