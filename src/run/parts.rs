//! Makes the parts of a server, as the configuration says.

use std::sync::Arc;

use spindle::{
    app::{AdminLogin, App, ReachSettings, Settings},
    clock::SystemClock,
    config::Config,
    engine::docker::{DockerEngine, DockerSettings},
    relay::Relay,
    store::{PortPool, Store},
};

use super::Sentence;

/// Docker, at the place that `DOCKER_HOST` names.
///
/// # Errors
/// If `DOCKER_HOST` is in a notation that we do not know.
pub fn engine(config: &Config) -> Result<DockerEngine, Sentence> {
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

/// The relay: in its own process if a socket is set, else in this one.
pub fn relay(config: &Config) -> Arc<Relay> {
    Arc::new(match config.relay.socket.clone() {
        Some(at) => Relay::there(at, &config.deployment),
        None => Relay::here(config.relay.limits, Arc::new(SystemClock)),
    })
}

/// The app, on this deployment's store.
///
/// # Errors
/// If the store cannot be opened or belongs to another deployment; if `DOCKER_HOST` is wrong.
pub async fn app(config: &Config, relay: Arc<Relay>) -> Result<Arc<App>, Sentence> {
    let store = Store::open(&config.database)?;
    store.belong_to(&config.deployment).await?;
    if store.user(&config.admin_user).await?.is_some() {
        // That user's tokens would be an admin's.
        let name = &config.admin_user;
        return Err(format!("SPINDLE_ADMIN_USER: {name:?} is another user's name; choose one that nobody has").into());
    }
    let engine = engine(config)?;
    let app = App::new(Arc::new(store), Arc::new(engine), relay, Arc::new(SystemClock), settings(config));
    app.actions.take_over(config.lines()).await;
    Ok(app)
}

fn settings(config: &Config) -> Settings {
    Settings {
        admin: AdminLogin { user: config.admin_user.clone(), password: config.admin_password.clone() },
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
        reach: ReachSettings { exec_timeout: config.policy.exec_timeout, ..ReachSettings::default() },
        spool: config.transfer.spool.clone(),
        transfer_max: config.transfer.most.bytes(),
        actions_keep: config.actions_keep,
    }
}
