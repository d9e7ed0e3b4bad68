//! What the contract of the engines stands on: a spec, an ear for events, a deployment of its own on Docker.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt, stream::BoxStream};
use spindle::{
    domain::{
        Carrier, ContainerId, Cpus, Endpoint, ImageRef, Label, Launch, Limit, Memory, OwnPolicy, PortMapping, PortSpec,
        Recipe, Sandbox, SandboxId, SandboxName, Token, Traffic, Wake,
    },
    engine::{
        CheckIn, Containers, Engine, EngineError, Event, Happening, SandboxSpec,
        docker::{DockerEngine, DockerSettings},
    },
};

use crate::support::docker::{engine_host, try_docker};

pub const GRACE: Duration = Duration::from_secs(2);
pub const BRIEFLY: Duration = Duration::from_secs(10);

/// A sandbox of an image, with one port.
pub fn spec(number: u8, image: &str, port: u16) -> SandboxSpec {
    let id = SandboxId::from_bytes([number; 16]);
    let outside = Endpoint { host: "127.0.0.1".parse().unwrap(), port };
    let ports = vec![PortMapping { inside: PortSpec::parse("8000").unwrap(), outside, carrier: Carrier::Engine }];
    let recipe = Recipe {
        app_port: PortSpec::parse("8000"),
        own: OwnPolicy { idle_limit: Some(Limit::After(Duration::from_mins(10))), ..OwnPolicy::default() },
        labels: vec![Label::parse("course", "db").unwrap()],
        wake: Some(Wake::Always),
        traffic: Traffic::parse("connect", "http", "8000").unwrap(),
        ssh_key: Some(String::new()),
        launch: Some(Launch { env: vec![("A".into(), "b".into())], ..Launch::default() }.into()),
        ..Recipe::of(ImageRef::parse(image).unwrap(), Memory::parse("64m").unwrap(), Cpus::parse("0.5").unwrap())
    };
    let name = SandboxName::parse(&format!("story-{}-{number}", std::process::id())).unwrap();
    let created_at = "2026-11-20T09:00:00.123Z".parse().unwrap();
    let sandbox = Sandbox { ports, ..Sandbox::new(id, name, Token::from_bytes([number; 16]), created_at, recipe) };
    let check_in = CheckIn { url: "http://10.0.0.1/v1/check-in".into(), period: Duration::from_mins(1) };
    SandboxSpec { sandbox, check_in, no_new_privileges: true, starts: true }
}

/// What an engine tells.
pub type Events = BoxStream<'static, Result<Event, EngineError>>;

async fn next(events: &mut Events) -> (ContainerId, Happening) {
    let heard = tokio::time::timeout(BRIEFLY, events.next()).await.expect("an event").unwrap().unwrap();
    (heard.container, heard.what)
}

/// Asserts that this is what is told next.
pub async fn hears(events: &mut Events, container: &ContainerId, what: Happening) {
    assert_eq!(next(events).await, (container.clone(), what));
}

/// Asserts that a stop is told next. Engine 28 may tell that it has worked before it tells of the end.
pub async fn hears_of_a_stop(events: &mut Events, container: &ContainerId) {
    hears(events, container, Happening::Signalled).await;
    let mut then = next(events).await;
    if then.1 == Happening::Signalled {
        then = next(events).await;
    }
    assert_eq!(then, (container.clone(), Happening::Ended));
}

/// A deployment of this test's own on Docker, cleaned up after.
pub struct Own {
    pub engine: Arc<DockerEngine>,
    pub deployment: String,
    pub files: PathBuf,
}

impl Own {
    pub fn new(name: &str, subnet: u8) -> Self {
        let deployment = format!("test-{name}-{}", std::process::id());
        let files = std::env::temp_dir().join(format!("spindle-{deployment}"));
        let settings = DockerSettings {
            deployment: deployment.clone(),
            network: deployment.clone(),
            subnet: format!("10.191.{subnet}.0/24").parse().unwrap(),
            files: files.clone(),
            pids_limit: 64,
            open_files_limit: 4_096,
            terminals_limit: 8,
            capabilities: vec!["KILL".into()],
            log_max_size: "1m".into(),
            log_max_files: 1,
        };
        Self { engine: Arc::new(DockerEngine::new(settings, engine_host())), deployment, files }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let label = format!("label=spindle.deployment={}", self.deployment);
        for container in try_docker(&["ps", "-aq", "--filter", &label]).1.split_whitespace() {
            try_docker(&["rm", "-fv", container]);
        }
        try_docker(&["network", "rm", &self.deployment]);
        let _ = std::fs::remove_dir_all(&self.files);
    }
}

/// A container of the test's own that runs.
pub async fn started(own: &Own, number: u8) -> ContainerId {
    own.engine.prepare().await.unwrap();
    let mut spec = spec(number, "spindle/mimic", 0);
    spec.sandbox.ports.clear();
    let container = own.engine.create(&spec).await.unwrap();
    own.engine.start(&container).await.unwrap();
    container
}

/// Runs perl on a terminal of its own inside, and waits until it says that it is ready.
pub fn on_a_terminal(container: &ContainerId, code: &str) -> (Child, BufReader<ChildStdout>) {
    let code = format!("$| = 1; use POSIX; {code}");
    let mut exec = Command::new("docker");
    exec.args(["exec", "-t", container.as_str(), "perl", "-e", &code]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut exec = exec.spawn().unwrap();
    let mut screen = BufReader::new(exec.stdout.take().unwrap());
    let mut ready = Vec::new();
    screen.read_until(b'!', &mut ready).unwrap();
    (exec, screen)
}
