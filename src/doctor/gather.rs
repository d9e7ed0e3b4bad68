//! Gathers the facts, all at once, each with a deadline. A fact that hangs delays no other.

use std::{io, path::PathBuf, time::Duration};

use super::{
    ask,
    facts::{Facts, SHARED, Seen, Server, Shown},
    places::{address, door},
};
use crate::{
    client::Client,
    clock::{Clock, SystemClock},
    config::Config,
    engine::{
        self,
        docker::{
            DockerEngine,
            diagnosis::{Description, Network},
            trial::Trial,
        },
    },
    host,
};

/// How long each fact may take. Only the container on trial has a deadline of its own.
const PATIENCE: Duration = Duration::from_secs(3);

/// What Docker tells.
struct Docker {
    engine: Seen<Description>,
    networks: Seen<Vec<Network>>,
    on_bridge: Seen<Option<u32>>,
    trial: engine::Result<Option<Trial>>,
    disk: Seen<host::Disk>,
    mount: Seen<host::Mount>,
}

/// Gathers all facts.
pub async fn facts(config: &Config, engine: &DockerEngine) -> Facts {
    let clock = SystemClock;
    let database = config.database.clone();
    let asked_at = clock.now();
    let (docker, (server, sandboxes), database_disk, firewall, host) = tokio::join!(
        docker(config, engine),
        asked(config),
        blocking(move || host::disk(&database)),
        within(async { host::firewall().await.map_err(|e| e.to_string()) }),
        blocking(|| Ok((host::routes(), host::is_clock_kept(), host::firewall_manager()))),
    );
    let (routes, clock_kept, firewall_manager) = match host {
        Ok((routes, kept, manager)) => (routes.map_err(|e| e.to_string()), kept.map_err(|e| e.to_string()), manager),
        Err(why) => (Err(why.clone()), Err(why), None),
    };
    Facts {
        engine_at: engine.at().to_owned(),
        engine: docker.engine,
        networks: docker.networks,
        on_bridge: docker.on_bridge,
        trial: docker.trial,
        server,
        sandboxes,
        routes,
        clients: host::lost_to_clients(&config.port_range).map(|r| (*r.start(), *r.end())),
        descriptors: host::descriptors(),
        shared: SHARED.map(|name| (name, host::kernel(name).map_err(|e| e.to_string()))).into(),
        memory: host::memory(),
        engine_disk: docker.disk,
        engine_mount: docker.mount,
        database_disk,
        firewall,
        firewall_manager,
        clock_kept,
        asked_at,
        now: clock.now(),
    }
}

/// What the server tells. The password is sent only after a Spindle has answered there.
async fn asked(config: &Config) -> (Seen<Server>, Seen<Vec<Shown>>) {
    let password = config.admin_password.plain();
    let client = Client::new(address(config), &config.admin_user, password.unwrap_or_default());
    let server = within(ask::server(&client)).await;
    let sandboxes = match &server {
        Ok(_) if password.is_none() => Err("the configuration has only a hash of the password".into()),
        Ok(_) => within(ask::sandboxes(&client)).await,
        Err(_) => Err("the server does not answer".into()),
    };
    (server, sandboxes)
}

async fn docker(config: &Config, engine: &DockerEngine) -> Docker {
    let described = within(async { engine.describe().await.map_err(told) }).await;
    let Ok(description) = &described else {
        let why = "the engine does not answer".to_owned();
        return Docker {
            engine: described,
            networks: Err(why.clone()),
            on_bridge: Err(why.clone()),
            trial: Err(engine::EngineError::Unavailable(why.clone())),
            disk: Err(why.clone()),
            mount: Err(why),
        };
    };
    let (disk, mount): (PathBuf, PathBuf) = (description.root.clone(), description.root.clone());
    let there =
        move |root: &PathBuf| if root.is_dir() { Ok(()) } else { Err(io::Error::other("it is not on this machine")) };
    let (networks, (on_bridge, trial), disk, mount) = tokio::join!(
        within(async { engine.networks().await.map_err(told) }),
        async {
            let on_bridge = within(async { engine.on_bridge().await.map_err(told) }).await;
            // Without the network the door cannot be tried.
            let door = door(config).filter(|_| matches!(on_bridge, Ok(Some(_))));
            let trial = engine.try_out(door, SystemClock.now()).await;
            (on_bridge, trial)
        },
        blocking(move || there(&disk).and_then(|()| host::disk(&disk))),
        blocking(move || there(&mount).and_then(|()| host::mount(&mount))),
    );
    Docker { engine: described, networks, on_bridge, trial, disk, mount }
}

async fn within<T>(seen: impl Future<Output = Seen<T>>) -> Seen<T> {
    let late = || format!("no answer within {} s", PATIENCE.as_secs());
    tokio::time::timeout(PATIENCE, seen).await.unwrap_or_else(|_| Err(late()))
}

/// Runs a look that may wait for a disk.
async fn blocking<T: Send + 'static>(look: impl FnOnce() -> io::Result<T> + Send + 'static) -> Seen<T> {
    within(async { tokio::task::spawn_blocking(look).await.map_err(|e| e.to_string())?.map_err(|e| e.to_string()) })
        .await
}

/// An error without our opening words about the engine's absence: every finding has its own.
fn told(error: engine::EngineError) -> String {
    match error {
        engine::EngineError::Unavailable(why) => why,
        // The answer "no container" to a question that is not about a container.
        engine::EngineError::NoContainer => "who answers there is no Docker Engine".to_owned(),
        other => other.to_string(),
    }
}
