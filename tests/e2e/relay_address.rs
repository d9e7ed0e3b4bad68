//! An address that one sandbox had and another has: whatever the server knows of it, a port never leads astray.

use std::{
    io::ErrorKind,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::{
    io::copy_bidirectional,
    net::{UnixListener, UnixStream},
    task::JoinSet,
};

use super::{clients::port, relay_data::mimic_with_voice};
use crate::support::{
    World,
    docker::{Docker, docker, engine_socket, try_docker, wait_for},
    id,
    talk::{dial, exchange, speak},
};

const SOON: Duration = Duration::from_secs(10);

/// The engine of the tests behind a socket that can be cut.
struct Wire {
    at: PathBuf,
    task: Option<tokio::task::JoinHandle<()>>,
    /// What would stay behind if a test failed while the wire is cut.
    deployment: Option<String>,
}

impl Wire {
    fn new() -> Self {
        let at = std::env::temp_dir().join(format!("spindle-test-{}-engine.sock", std::process::id()));
        let mut wire = Self { at, task: None, deployment: None };
        wire.mend();
        wire
    }

    fn host(&self) -> String {
        format!("unix://{}", self.at.display())
    }

    fn mend(&mut self) {
        let socket = UnixListener::bind(&self.at).unwrap();
        let engine = engine_socket();
        self.task = Some(tokio::spawn(async move {
            // Dropped with everything that goes through it.
            let mut through = JoinSet::new();
            while let Ok((mut near, _)) = socket.accept().await {
                let engine = engine.clone();
                through.spawn(async move {
                    if let Ok(mut far) = UnixStream::connect(engine).await {
                        let _ = copy_bidirectional(&mut near, &mut far).await;
                    }
                });
            }
        }));
    }

    async fn cut(&mut self) {
        let task = self.task.take().unwrap();
        task.abort();
        let _ = task.await;
        std::fs::remove_file(&self.at).unwrap();
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.at);
        let Some(deployment) = &self.deployment else { return };
        let (_, rest) = try_docker(&["ps", "-aq", "--filter", &format!("label=spindle.deployment={deployment}")]);
        for container in rest.split_whitespace() {
            try_docker(&["rm", "-fv", container]);
        }
        try_docker(&["network", "rm", deployment]);
    }
}

/// Clients that come to a port again and again, and know whom they mean to reach.
struct Clients {
    done: Arc<AtomicBool>,
    answered: Arc<AtomicU32>,
    threads: Vec<JoinHandle<()>>,
}

impl Clients {
    fn of(port: u16, voice: u8) -> Self {
        let (done, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let client = |_| {
            let (done, answered) = (Arc::clone(&done), Arc::clone(&answered));
            thread::spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    match speak(port, voice) {
                        Ok(()) => drop(answered.fetch_add(1, Ordering::Relaxed)),
                        Err(e) if e.kind() == ErrorKind::InvalidData => panic!("another has answered"),
                        Err(_) => {}
                    }
                    thread::sleep(Duration::from_millis(1));
                }
            })
        };
        let threads = (0..4).map(client).collect();
        Self { done, answered, threads }
    }

    fn answered(&self) -> u32 {
        self.answered.load(Ordering::Relaxed)
    }

    fn end(self) {
        self.done.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|client| client.join().unwrap());
    }
}

/// A mimic of nobody's, at an address of the sandboxes' network.
struct Thief(String);

impl Thief {
    fn at(world: &Docker, address: &str) -> Self {
        let label = format!("spindle.deployment={}-thief", world.deployment);
        let place = ["run", "-d", "--label", &label, "--network", &world.deployment, "--ip", address];
        let thief = Self(docker(&[&place[..], &["-e", "MIMIC_XOR=2", "spindle/mimic"]].concat()));
        let answers = ["exec", &thief.0, "mimic", "reach", address, "8000"];
        wait_for("the thief listens", SOON, || docker(&answers) == "open");
        thief
    }
}

impl Drop for Thief {
    fn drop(&mut self) {
        try_docker(&["rm", "-fv", &self.0]);
    }
}

/// Its address, also while the server's way to the engine is cut.
fn address_of(sandbox: &Value) -> String {
    docker(&["inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", id(sandbox)])
}

/// Takes the address from under a sandbox that stops, while `clients` come to its port; and starts it elsewhere.
async fn rob(world: &Docker, sandbox: &Value, clients: &Clients) {
    let app = port(sandbox, "app_port");
    let address = address_of(sandbox);
    let old = dial(app);
    exchange(&old, b"hello", 1).unwrap();
    docker(&["stop", "-t", "0", id(sandbox)]);
    let thief = Thief::at(world, &address);
    assert!(exchange(&old, b"is it still you?", 1).is_err(), "what was connected belongs to who has gone");
    let (before, began) = (clients.answered(), Instant::now());
    while began.elapsed() < Duration::from_secs(1) {
        world.moment().await;
    }
    assert_eq!(clients.answered(), before);
    docker(&["start", id(sandbox)]);
    assert_ne!(address_of(sandbox), address);
    drop(thief);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_never_leads_to_whoever_has_the_old_address() {
    let world = Docker::start(&[]).await;
    let c = mimic_with_voice(&world, 1).await;
    let app = port(&c, "app_port");
    let clients = Clients::of(app, 1);
    for _ in 0..2 {
        rob(&world, &c, &clients).await;
        wait_for("it is reached at its new address", SOON, || speak(app, 1).is_ok());
    }
    assert!(clients.answered() > 0);
    clients.end();
}

/// The engine does not answer, so that the server cannot know of the robbery before it is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn not_even_while_nobody_tells_the_server() {
    let mut wire = Wire::new();
    let mut world = Docker::prepare(Some(&wire.host()), &[("WAKE_TIMEOUT", "1")]);
    wire.deployment = Some(world.deployment.clone());
    world.spawn();
    world.until_well().await;
    let c = mimic_with_voice(&world, 1).await;
    let clients = Clients::of(port(&c, "app_port"), 1);
    wire.cut().await;
    rob(&world, &c, &clients).await;
    wire.mend();
    world.until_well().await;
    let before = clients.answered();
    wait_for("it is reached at its new address", SOON, || clients.answered() > before);
    clients.end();
}
