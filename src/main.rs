//! The binary: reads the configuration, puts the parts together, serves, and ends in good order.

use std::{
    io::{IsTerminal, Write},
    net::TcpListener,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram, UnixListener},
        },
    },
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::{Parser, Subcommand};
use rocket::{Rocket, error::ErrorKind};
use spindle::{
    app::{App, CheckInDoor, Settings},
    clock::{Clock, SystemClock},
    config::{Config, LogFormat},
    doctor,
    engine::docker::{DockerEngine, DockerSettings},
    host,
    http::{self, ApiSettings, Credentials},
    loops::Loops,
    relay::{Ended, Process, Relay},
    store::{PortPool, Store},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

/// How long work that is under way at a shutdown is given.
const GRACE: Duration = Duration::from_secs(10);

/// How long answers may take from us to the kernel.
const FLUSH: Duration = Duration::from_millis(100);

/// How long to wait before the check-in door is tried again.
const DOOR_RETRY: Duration = Duration::from_secs(2);

type Sentence = Box<dyn std::error::Error + Send + Sync>;

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
    /// Say what is wrong with this machine, Docker and the server, why it matters and what mends it
    Doctor {
        /// For programs
        #[arg(long)]
        json: bool,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => code,
        Err(e) => {
            eprintln!("spindle: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode, Sentence> {
    let path = cli.config.clone().unwrap_or_else(|| PathBuf::from("spindle.toml"));
    let mut config = Config::load(&path, cli.config.is_some(), variables()?)?;
    if let Some(key) = &config.sandbox.default_ssh_key {
        config.sandbox.default_ssh_key = Some(http::ssh_keys("SPINDLE_DEFAULT_SSH_KEY", key)?);
    }
    match cli.command {
        Some(Command::CheckConfig) => {
            print!("{}", config.show());
        }
        None | Some(Command::Serve) => {
            start_log(&config)?;
            raise_descriptor_limit(&mut config);
            tokio::runtime::Runtime::new()?.block_on(serve(config))?;
        }
        Some(Command::Relay) => {
            start_log(&config)?;
            raise_descriptor_limit(&mut config);
            tokio::runtime::Runtime::new()?.block_on(relay(config))?;
        }
        Some(Command::Doctor { json }) => return diagnose(&config, json),
    }
    Ok(ExitCode::SUCCESS)
}

fn diagnose(config: &Config, json: bool) -> Result<ExitCode, Sentence> {
    let runtime = tokio::runtime::Runtime::new()?;
    let report = runtime.block_on(doctor::examine(config, &engine(config)?));
    // A disk that hangs is not waited for.
    runtime.shutdown_background();
    let text = if json { report.json() } else { report.text(std::io::stdout().is_terminal()) };
    // Whoever reads no further, as `head` does, has seen enough.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(if report.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Our variables. One that is not UTF-8 is refused: left out, a password would silently be the default one.
fn variables() -> Result<Vec<(String, String)>, Sentence> {
    let named = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    let ours = named.filter(|(name, _)| name.starts_with("SPINDLE_"));
    let text = |(name, value): (String, std::ffi::OsString)| match value.into_string() {
        Ok(value) => Ok((name, value)),
        Err(_) => Err(format!("{name}: the value is not UTF-8").into()),
    };
    ours.map(text).collect()
}

fn start_log(config: &Config) -> Result<(), Sentence> {
    // The scheduler's own chatter is not ours, unless somebody asks for it.
    let quiet = "tokio_cron_scheduler=warn";
    let filter = tracing_subscriber::EnvFilter::try_new(format!("{quiet},{}", config.log))
        .map_err(|e| format!("SPINDLE_LOG: {:?} is not allowed; {e}", config.log))?;
    let colours = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours);
    // Not `init`, which hands on what is said through the crate `log`: there Rocket complains of each request that is refused, in
    // the name of our own modules, so that no filter tells the two apart.
    match config.log_format {
        LogFormat::Text => tracing::subscriber::set_global_default(log.with_target(false).finish())?,
        LogFormat::Json => tracing::subscriber::set_global_default(log.json().flatten_event(true).finish())?,
    }
    Ok(())
}

/// Every connection takes two descriptors, every port of a sandbox one; the soft limit of 1,024 is too few for a class.
/// Where there are too few all the same, fewer connections are let in: the rest is for the API and the check-in door.
fn raise_descriptor_limit(config: &mut Config) {
    let (limit, raised) = host::raise_descriptors();
    if let Err(e) = raised {
        tracing::warn!(error = %e, "the limit on file descriptors stays as it is");
    }
    let Some(limit) = limit else { return };
    let room = host::room_for_connections(limit);
    let connections = &mut config.relay.limits.connections;
    if room < u64::from(*connections) {
        tracing::warn!(
            limit,
            wanted = *connections,
            allowed = room,
            "too few file descriptors for SPINDLE_CONNECTIONS; raise LimitNOFILE or ulimit -n"
        );
        *connections = room as u32;
    }
}

/// A range that overlaps with the kernel's own for outgoing connections loses ports to it now and then.
fn warn_of_client_range(config: &Config) {
    if let Some(clients) = host::lost_to_clients(&config.port_range) {
        let (low, high) = (clients.start(), clients.end());
        tracing::warn!(low, high, "SPINDLE_PORT_RANGE overlaps with the kernel's range for outgoing connections");
    }
}

fn engine(config: &Config) -> Result<DockerEngine, Sentence> {
    let docker = DockerSettings {
        deployment: config.deployment.clone(),
        network: config.deployment.clone(),
        subnet: config.subnet,
        files: config.files.clone(),
        pids_limit: config.sandbox.pids_limit,
        open_files_limit: config.sandbox.open_files_limit,
        terminals_limit: config.sandbox.terminals_limit,
        capabilities: config.sandbox.capabilities.clone(),
        log_max_size: config.sandbox.log_max_size.clone(),
        log_max_files: config.sandbox.log_max_files,
    };
    let host = std::env::var("DOCKER_HOST").ok().filter(|h| !h.is_empty());
    if let Some(host) = host.as_ref().filter(|h| !["unix://", "tcp://", "http://"].iter().any(|s| h.starts_with(s))) {
        return Err(format!("DOCKER_HOST: {host:?} is not allowed; it begins with unix:// or tcp://").into());
    }
    Ok(DockerEngine::new(docker, host))
}

async fn build(config: &Config, relay: Arc<Relay>) -> Result<Arc<App>, Sentence> {
    let store = Store::open(&config.database)?;
    store.belong_to(&config.deployment).await?;
    let engine = engine(config)?;
    let settings = Settings {
        policy: config.policy.policy,
        keep_max: config.policy.keep_max,
        wake: config.relay.wake,
        report_period: config.report_period,
        resume_grace: config.resume_grace,
        converge_every: config.converge_every,
        pool: PortPool { host: config.publish_address, range: config.port_range.clone() },
        max_running: config.max_running,
        start_concurrency: config.start_concurrency,
        stop_grace: config.stop_grace,
        memory: config.sandbox.memory,
        cpus: config.sandbox.cpus,
        zone: config.sandbox.zone.clone(),
        default_ssh_key: config.sandbox.default_ssh_key.clone(),
        default_ssh_key_always: config.sandbox.default_ssh_key_always,
        check_in_address: config.check_in_address,
        check_in_port: config.check_in_port,
    };
    Ok(App::new(Arc::new(store), Arc::new(engine), relay, Arc::new(SystemClock), settings))
}

async fn serve(config: Config) -> Result<(), Sentence> {
    // HTTP has no date before it, nor has the schedule: no request could be answered.
    let now = SystemClock.now();
    if now < jiff::Timestamp::UNIX_EPOCH {
        return Err(format!("the clock shows {now:.0}, and must show a time after 1970; set it, then start").into());
    }
    let listen = config.listen();
    // Tried before anything is started, so that a second server ends with a sentence and has touched nothing.
    TcpListener::bind(listen).map_err(|e| cannot_listen(listen, &e, "SPINDLE_ADDRESS and SPINDLE_PORT"))?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // An address that this machine does not have would fail at every single create.
    TcpListener::bind((config.publish_address, 0)).map_err(|e| {
        let address = config.publish_address;
        format!("cannot publish ports on {address}: {e}; set SPINDLE_PUBLISH_ADDRESS to an address of this machine")
    })?;
    let _only_one = claim_deployment(&config.deployment)?;
    warn_of_client_range(&config);
    let relay = match config.relay.socket.clone() {
        Some(at) => Arc::new(Relay::there(at, &config.deployment)),
        None => Arc::new(Relay::here(config.relay.limits, Arc::new(SystemClock))),
    };
    let app = build(&config, Arc::clone(&relay)).await?;
    let credentials = Credentials::new(config.admin_user.clone(), config.admin_password.clone());
    let grace = GRACE.as_secs() as u32;
    let settings = ApiSettings { listen, credentials, sandboxes: config.subnet, lenient: config.lenient, grace };
    let api = http::api(Arc::clone(&app), settings).ignite().await.map_err(|e| e.to_string())?;
    let stop_api = api.shutdown();
    let loops = Loops::start(&app, config.converge_every).await?;
    let closing = CancellationToken::new();
    let door = tokio::spawn(keep_door(Arc::clone(&app), config.check_in_port, closing.clone()));
    let mut api = tokio::spawn(launch(api));
    let database = config.database.display();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), %listen, deployment = config.deployment, %database, "serving");
    let ended_early = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        ended = &mut api => Some(ended),
    };
    tracing::info!("shutting down; containers keep running");
    stop_api.notify();
    closing.cancel();
    let api_ends = async {
        match ended_early {
            Some(Ok(Err(e))) => Err(cannot_listen(listen, e.as_ref(), "SPINDLE_ADDRESS and SPINDLE_PORT").into()),
            Some(_) => Err("the server ended by itself".into()),
            None => {
                finish(api).await;
                Ok(())
            }
        }
    };
    tokio::join!(app.drain(GRACE), loops.stop(GRACE));
    relay.close().await;
    let ((), ended) = tokio::join!(finish(door), api_ends);
    tracing::info!("ended");
    ended
}

/// Carries the sandboxes' ports until it is told to end, or until a newer relay has taken over and the last connection
/// of this one has ended.
async fn relay(config: Config) -> Result<(), Sentence> {
    let at =
        config.relay.socket.ok_or("SPINDLE_RELAY_SOCKET is not set; it is the path at which the server finds this")?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut reload = signal(SignalKind::hangup())?;
    let failed = |e| format!("cannot listen at {}: {e}; SPINDLE_RELAY_SOCKET chooses another place", at.display());
    if let Some(parent) = at.parent() {
        std::fs::create_dir_all(parent).map_err(failed)?;
    }
    let process = Process::start(&at, &config.deployment, config.relay.limits, Arc::new(SystemClock));
    let process = process.await.map_err(failed)?;
    let pid = std::process::id();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), at = %at.display(), pid, "carrying");
    tell_systemd(&format!("READY=1\nMAINPID={pid}"));
    let stop = async {
        loop {
            tokio::select! {
                _ = terminate.recv() => return,
                _ = interrupt.recv() => return,
                _ = reload.recv() => start_successor(),
            }
        }
    };
    if process.run(stop).await == Ended::Replaced {
        tracing::info!("the last connection has ended");
    }
    Ok(())
}

/// Starts the program anew as it was started, which takes over. If it cannot, this one goes on.
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

/// Tells systemd, if it started us, what it wants to know.
fn tell_systemd(state: &str) {
    let Some(at) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let told = || {
        let address = match at.as_encoded_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            path => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(path))?,
        };
        UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address)
    };
    if let Err(e) = told() {
        tracing::warn!(error = %e, "systemd cannot be told that this runs");
    }
}

/// Makes sure that no other server of this machine looks after the same containers: of two, one would hear no
/// check-ins, and stop what is in use. The kernel releases the name with the process, however it ends.
fn claim_deployment(deployment: &str) -> Result<UnixListener, Sentence> {
    let name = SocketAddr::from_abstract_name(format!("spindle/{deployment}"))?;
    UnixListener::bind_addr(&name).map_err(|_| {
        format!(
            "another Spindle server looks after the deployment {deployment:?}; set SPINDLE_DEPLOYMENT to another name"
        )
        .into()
    })
}

/// Lets a server send the answers that are ready. It would wait out its grace for clients that keep an idle
/// connection; those are cut off, as all that was asked has been answered by now.
async fn finish<T>(task: JoinHandle<T>) {
    let _ = tokio::time::timeout(FLUSH, task).await;
}

fn cannot_listen(at: std::net::SocketAddr, why: &dyn std::error::Error, settings: &str) -> String {
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

/// Keeps the check-in door open from the moment that the network is there until `closing`.
async fn keep_door(app: Arc<App>, port: u16, closing: CancellationToken) {
    while !closing.is_cancelled() {
        let wait = match app.vitals.door_address() {
            None => Duration::from_millis(50),
            Some(address) => {
                let listen = std::net::SocketAddr::new(address, port);
                if let Err(why) = http::keep_door(Arc::clone(&app), listen, closing.clone()).await {
                    let why = cannot_listen(listen, &why, "SPINDLE_CHECK_IN_ADDRESS and SPINDLE_CHECK_IN_PORT");
                    app.vitals.set_door(CheckInDoor::Shut(why));
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
