//! The bare engine, asked for just what Spindle asks for.

use std::time::Duration;

use spindle::{
    domain::{
        Carrier, ContainerId, Cpus, Endpoint, ImageRef, Memory, PortMapping, PortSpec, Recipe, Sandbox, SandboxId,
        SandboxName, Token,
    },
    engine::{
        CheckIn, Containers, SandboxSpec,
        docker::{DockerEngine, DockerSettings},
    },
};

use crate::support::docker::{Docker, try_docker};

/// An engine in a deployment of its own; dropping it leaves none of its containers behind.
pub struct Bare {
    pub engine: DockerEngine,
    deployment: String,
    made: u8,
}

impl Bare {
    pub fn new(world: &Docker) -> Self {
        // Another deployment, so that the server does not adopt what is not its own; the same network.
        let deployment = format!("{}-bare", world.deployment);
        let settings = DockerSettings {
            deployment: deployment.clone(),
            network: world.deployment.clone(),
            subnet: world.subnet.parse().unwrap(),
            files: world.directory.join("bare"),
            pids_limit: 256,
            open_files_limit: 4_096,
            terminals_limit: 8,
            capabilities: vec!["KILL".into(), "SETUID".into(), "SETGID".into()],
            log_max_size: "10m".into(),
            log_max_files: 2,
        };
        Self { engine: DockerEngine::new(settings, std::env::var("DOCKER_HOST").ok()), deployment, made: 0 }
    }

    /// The next sandbox, with two ports that the engine publishes.
    pub fn spec(&mut self) -> SandboxSpec {
        self.made += 1;
        let id = SandboxId::from_bytes([self.made; 16]);
        let port = |inside: &str, offset: u16| PortMapping {
            inside: PortSpec::parse(inside).unwrap(),
            outside: Endpoint { host: "127.0.0.1".parse().unwrap(), port: 29_800 + 2 * u16::from(self.made) + offset },
            carrier: Carrier::Engine,
        };
        let ports = vec![port("22", 0), port("8000", 1)];
        let image = ImageRef::parse("spindle/mimic").unwrap();
        let recipe = Recipe::of(image, Memory::parse("512m").unwrap(), Cpus::parse("1").unwrap());
        let name = SandboxName::parse(&format!("bare-{}-{}", std::process::id(), self.made)).unwrap();
        let token = Token::from_bytes([self.made; 16]);
        let sandbox = Sandbox { ports, ..Sandbox::new(id, name, token, jiff::Timestamp::UNIX_EPOCH, recipe) };
        let check_in = CheckIn { url: "http://10.0.0.1/v1/check-in".into(), period: Duration::from_mins(1) };
        SandboxSpec { sandbox, check_in, no_new_privileges: true, starts: true }
    }

    pub async fn create(&self, spec: &SandboxSpec) -> ContainerId {
        let container = self.engine.create(spec).await.unwrap();
        self.engine.start(&container).await.unwrap();
        self.engine.inspect(&container).await.unwrap();
        container
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let label = format!("label=spindle.deployment={}", self.deployment);
        let (_, containers) = try_docker(&["ps", "-aq", "--filter", &label]);
        for container in containers.split_whitespace() {
            try_docker(&["rm", "-fv", container]);
        }
    }
}
