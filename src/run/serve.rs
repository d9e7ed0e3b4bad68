//! `spindle serve`: the API, the check-in door and the loops, from the first check to an end in good order.

use std::{
    net::{SocketAddr, TcpListener},
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr as UnixAddr, UnixListener},
    },
    sync::Arc,
    time::Duration,
};

use spindle::{
    app::{App, CheckInDoor},
    clock::{Clock, SystemClock},
    config::Config,
    host,
    http::{self, Api, ApiSettings, Certificates, Times},
    loops::Loops,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{
    Sentence, descriptors, parts,
    signals::{Ending, Reloading},
};

/// How long a shutdown waits for work under way.
const GRACE: Duration = Duration::from_secs(10);

/// How long a server may take to hand its last answers to the kernel.
const FLUSH: Duration = Duration::from_millis(100);

/// How long to wait before the check-in door is tried again.
const DOOR_RETRY: Duration = Duration::from_secs(2);

/// How often the certificate's files are looked at.
const LOOK_AT_FILES: Duration = Duration::from_secs(10);

/// The settings that say where the API listens.
const API_SETTINGS: &str = "SPINDLE_ADDRESS and SPINDLE_PORT";

/// The settings that say where the check-in door is.
const DOOR_SETTINGS: &str = "SPINDLE_CHECK_IN_ADDRESS and SPINDLE_CHECK_IN_PORT";

/// Serves until a signal comes, then finishes the work under way.
pub async fn serve(config: Config) -> Result<(), Sentence> {
    check_clock()?;
    check_addresses(&config)?;
    let (mut ending, reloading) = (Ending::listen()?, Reloading::listen()?);
    let certificates = certificates(&config)?;
    let _only_one = claim_deployment(&config.deployment)?;
    warn_of_client_range(&config);
    warn_of_readable_passwords(&config);
    let listen = config.listen();
    let relay = parts::relay(&config);
    let app = parts::app(&config, Arc::clone(&relay)).await?;
    let (at_api, at_door) = descriptors::at_gates();
    let settings = api_settings(&config, certificates.clone(), at_api);
    let api = Api::open(Arc::clone(&app), settings).map_err(|e| cannot_listen(listen, &e, API_SETTINGS))?;
    let loops = Loops::start(&app, config.converge_every).await?;
    let closing = CancellationToken::new();
    let door = tokio::spawn(keep_door(Arc::clone(&app), config.check_in_port, at_door, closing.clone()));
    let mut api = tokio::spawn(api.serve(closing.clone()));
    let fresh = tokio::spawn(keep_fresh(certificates, reloading, closing.clone()));
    let database = config.database.display();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), %listen, deployment = config.deployment, %database, "serving");
    let ended_early = tokio::select! {
        () = ending.told() => None,
        ended = &mut api => Some(ended),
    };
    tracing::info!("shutting down; containers keep running");
    closing.cancel();
    let api_ends = async {
        match ended_early {
            Some(Ok(Err(e))) => Err(format!("the API ended: {e}").into()),
            Some(_) => Err("the server ended by itself".into()),
            None => {
                flush(api).await;
                Ok(())
            }
        }
    };
    tokio::join!(app.drain(GRACE), loops.stop(GRACE));
    relay.close().await;
    let ((), (), ended) = tokio::join!(flush(door), flush(fresh), api_ends);
    tracing::info!("ended");
    ended
}

/// The name that a `Host` must have. Whoever listens on loopback alone, for no proxy, is asked under its names: another
/// name is a foreign page's, which now leads here. Such a page has no certificate of ours.
fn public_name(config: &Config) -> Option<String> {
    let named = config.gate.public_url.as_ref().map(|public| public.name.clone());
    let is_local = config.address.is_loopback() && config.gate.proxies.is_empty() && config.gate.tls.is_none();
    named.or_else(|| is_local.then(|| "localhost".to_owned()))
}

fn api_settings(config: &Config, certificates: Option<Arc<Certificates>>, connections: u32) -> ApiSettings {
    ApiSettings {
        listen: config.listen(),
        sandboxes: config.subnet,
        proxies: config.gate.proxies.clone(),
        public_name: public_name(config),
        public_url: config.gate.public_url.as_ref().map(|public| public.url.clone()),
        certificates,
        connections,
        times: Times::default(),
        lenient: config.lenient,
        grace: GRACE.as_secs() as u32,
    }
}

/// The certificate, if the API speaks TLS.
fn certificates(config: &Config) -> Result<Option<Arc<Certificates>>, Sentence> {
    let files = config.gate.tls.clone();
    Ok(files.map(|(certificate, key)| Certificates::load(certificate, key)).transpose()?)
}

/// Has the certificate loaded anew on SIGHUP and when its files change, until `closing`. Without one the signal does
/// nothing.
async fn keep_fresh(certificates: Option<Arc<Certificates>>, mut reloading: Reloading, closing: CancellationToken) {
    loop {
        let must = tokio::select! {
            () = closing.cancelled() => return,
            () = reloading.told() => true,
            () = tokio::time::sleep(LOOK_AT_FILES), if certificates.is_some() => false,
        };
        if let Some(certificates) = certificates.clone() {
            // The certificate that is shown stays, whatever becomes of the thread.
            let _ = tokio::task::spawn_blocking(move || certificates.refresh(must)).await;
        }
    }
}

/// Whoever carries what is sent to an address other than loopback without TLS reads the password.
fn warn_of_readable_passwords(config: &Config) {
    if !config.address.is_loopback() && config.gate.tls.is_none() {
        tracing::warn!(address = %config.address, "the API has no TLS: whoever carries a request can read its password");
    }
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

fn cannot_listen(at: SocketAddr, why: &std::io::Error, settings: &str) -> String {
    format!("cannot listen on {at}: {why}; {settings} choose another place")
}

/// Keeps the check-in door open for at most so many `connections`, from the time that the network exists until `closing`.
async fn keep_door(app: Arc<App>, port: u16, connections: u32, closing: CancellationToken) {
    while !closing.is_cancelled() {
        let wait = match app.vitals.door_address() {
            None => Duration::from_millis(50),
            Some(address) => {
                let listen = SocketAddr::new(address, port);
                if let Err(why) = http::keep_door(Arc::clone(&app), listen, connections, closing.clone()).await {
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
