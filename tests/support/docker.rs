//! The Docker world: the real binary on a real engine, in a deployment of its own, so that tests disturb
//! neither each other nor a server that is up.

use std::{
    fs::File,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use serde_json::Value;
use spindle::engine::docker::diagnosis::USUAL;

use super::{Http, Meddling, World, free_port, id};

static COUNTER: AtomicU16 = AtomicU16::new(0);

/// A server of its own, with its network, ports and data. Dropping it leaves nothing behind.
pub struct Docker {
    pub deployment: String,
    pub directory: PathBuf,
    pub subnet: String,
    /// The program, as it was built or as an upgrade has replaced it.
    pub program: PathBuf,
    /// What `DOCKER_HOST` says to the server; none: what it says to the tests.
    engine: Option<String>,
    variables: Vec<(String, String)>,
    /// What else is in the server's environment.
    pub environment: Vec<(String, String)>,
    http: Http,
    child: Option<Child>,
}

/// Runs the docker client and gives its output; fails with what it says.
#[track_caller]
pub fn docker(arguments: &[&str]) -> String {
    let (ok, text) = try_docker(arguments);
    assert!(ok, "docker {arguments:?}: {text}");
    text
}

/// Runs the docker client; whether it succeeded, and what it said.
pub fn try_docker(arguments: &[&str]) -> (bool, String) {
    let output = Command::new("docker").args(arguments).output().expect("the docker client is installed");
    let text = if output.status.success() { output.stdout } else { output.stderr };
    (output.status.success(), String::from_utf8_lossy(&text).trim().to_owned())
}

/// On which engine the tests run, if not on the machine's usual one: what `DOCKER_HOST` says, to the docker client as well.
pub fn engine_host() -> Option<String> {
    std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty())
}

/// That engine's socket.
#[track_caller]
pub fn engine_socket() -> PathBuf {
    let host = engine_host().unwrap_or_else(|| USUAL.to_owned());
    host.strip_prefix("unix://").unwrap_or_else(|| panic!("{host} is no socket of this machine")).into()
}

/// Waits until `holds`, looking every 20 ms; fails after `deadline`.
#[track_caller]
pub fn wait_for(what: &str, deadline: Duration, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < deadline, "not within {deadline:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Docker {
    /// A server with quick reports, and `extra` variables (without the prefix).
    pub async fn start(extra: &[(&str, &str)]) -> Self {
        let mut world = Self::prepare(None, extra);
        world.spawn();
        world.until_well().await;
        world
    }

    /// What [`Docker::start`] starts, not started, on the engine of the tests or the one at `engine`, which is in
    /// `DOCKER_HOST`'s notation and need not be there.
    pub fn prepare(engine: Option<&str>, extra: &[(&str, &str)]) -> Self {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let random = std::process::id().wrapping_mul(31) as u16 ^ number;
        let deployment = format!("test-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(format!("spindle-{deployment}"));
        std::fs::create_dir_all(&directory).unwrap();
        let port = free_port();
        let subnet = format!("10.{}.{}.0/24", 192 + random / 256 % 16, random % 256);
        // Slices of the range in which `make run` has its first ports last.
        let low = 22_000 + number % 75 * 100;
        let variables: Vec<(String, String)> = [
            ("PORT", port.to_string()),
            ("DATABASE", directory.join("spindle.db").display().to_string()),
            ("DEPLOYMENT", deployment.clone()),
            ("SUBNET", subnet.clone()),
            ("MAX_RUNNING", "200".into()),
            ("PORT_RANGE", format!("{low}-{}", low + 99)),
            ("REPORT_PERIOD", "1".into()),
            ("RESUME_GRACE", "1".into()),
            ("CONVERGE_EVERY", "1".into()),
        ]
        .map(|(k, v)| (k.to_owned(), v))
        .into();
        let http = Http::new(format!("http://127.0.0.1:{port}"));
        let engine = engine.map(str::to_owned);
        let program = env!("CARGO_BIN_EXE_spindle").into();
        let environment = Vec::new();
        let mut world =
            Self { deployment, directory, subnet, program, engine, variables, environment, http, child: None };
        for (key, value) in extra {
            world.set(key, value);
        }
        world
    }

    /// Changes a setting; the server reads it when it starts.
    pub fn set(&mut self, key: &str, value: &str) {
        self.variables.retain(|(k, _)| k != key);
        self.variables.push((key.to_owned(), value.to_owned()));
    }

    /// The program with this world's configuration and nothing of the tests' own environment.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        for (key, _) in std::env::vars().filter(|(k, _)| k.starts_with("SPINDLE_")) {
            command.env_remove(key);
        }
        command.envs(self.variables.iter().map(|(k, v)| (format!("SPINDLE_{k}"), v)));
        command.envs(self.engine.iter().map(|host| ("DOCKER_HOST", host)));
        command.envs(self.environment.iter().map(|(k, v)| (k, v)));
        command.current_dir(&self.directory).stdin(Stdio::null());
        command
    }

    /// Starts the server process, which must not run.
    pub fn spawn(&mut self) {
        assert!(self.child.is_none());
        let log = File::options().create(true).append(true).open(self.log_path()).unwrap();
        let mut command = self.command();
        self.child = Some(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
    }

    /// As the function of that name, on this world's engine.
    #[track_caller]
    pub fn docker(&self, arguments: &[&str]) -> String {
        let (ok, text) = self.try_docker(arguments);
        assert!(ok, "docker {arguments:?}: {text}");
        text
    }

    /// As the function of that name, on this world's engine.
    pub fn try_docker(&self, arguments: &[&str]) -> (bool, String) {
        let host = self.engine.iter().flat_map(|host| ["-H", host]);
        try_docker(&host.chain(arguments.iter().copied()).collect::<Vec<_>>())
    }

    /// What `docker inspect` says of a container.
    #[track_caller]
    pub fn inspect(&self, container: &Value) -> Value {
        let shown: Value = serde_json::from_str(&self.docker(&["inspect", id(container)])).unwrap();
        shown[0].clone()
    }

    /// One of the settings, such as `PORT`.
    pub fn setting(&self, key: &str) -> &str {
        &self.variables.iter().find(|(k, _)| k == key).unwrap().1
    }

    pub fn log_path(&self) -> PathBuf {
        self.directory.join("log")
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// The server's process id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Sends the server a signal (`TERM`, `KILL`) and waits for its end; its exit code, if it had one.
    pub fn end(&mut self, signal: &str) -> Option<i32> {
        let mut child = self.child.take()?;
        let pid = child.id().to_string();
        let sent = Command::new("kill").args([&format!("-{signal}"), &pid]).status().unwrap();
        assert!(sent.success());
        let started = Instant::now();
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status.code();
            }
            if started.elapsed() > Duration::from_secs(20) {
                child.kill().unwrap();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until `/v1/health` says that all is well.
    pub async fn until_well(&self) {
        let started = Instant::now();
        loop {
            let request = self.http.client.get(format!("{}/v1/health", self.http.base)).send().await;
            if request.as_ref().is_ok_and(|r| r.status() == 200) {
                return;
            }
            if started.elapsed() > Duration::from_secs(30) {
                let said = match request {
                    Ok(response) => response.text().await.unwrap_or_default(),
                    Err(e) => e.to_string(),
                };
                panic!("the server is not well: {said}\n{}", self.log());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The address at which this world's sandboxes check in.
    pub fn gateway(&self) -> String {
        self.subnet.replace(".0/24", ".1")
    }

    /// Removes the network, if there is one. An engine under load may take a moment to see that nobody is on
    /// it any more.
    fn remove_network(&self) {
        let started = Instant::now();
        loop {
            let (removed, said) = self.try_docker(&["network", "rm", &self.deployment]);
            if removed || said.contains("not found") || said.contains("No such network") {
                return;
            }
            if started.elapsed() > Duration::from_secs(10) {
                eprintln!("the network {} stays behind: {said}", self.deployment);
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn clean(&mut self) {
        self.end("TERM");
        let label = format!("label=spindle.deployment={}", self.deployment);
        let (_, containers) = self.try_docker(&["ps", "-aq", "--filter", &label]);
        for container in containers.split_whitespace() {
            self.try_docker(&["rm", "-fv", container]);
        }
        // Of containers that were removed behind our back.
        let (_, volumes) = self.try_docker(&["volume", "ls", "-q", "--filter", &label]);
        for volume in volumes.split_whitespace() {
            self.try_docker(&["volume", "rm", volume]);
        }
        self.remove_network();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the server's log\n{}---", self.log());
        }
        self.clean();
    }
}

#[async_trait]
impl World for Docker {
    fn http(&self) -> &Http {
        &self.http
    }

    async fn moment(&self) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    async fn check_in_at(&self, container: &Value, path: &str, body: &str, header: &str) -> (u16, String) {
        let url = format!("http://{}{path}", self.gateway());
        let mut arguments = vec!["exec", id(container), "mimic", "http", "POST", &url, body];
        if body.starts_with('{') {
            arguments.push("Content-Type: application/json");
        }
        if !header.is_empty() {
            arguments.push(header);
        }
        let output = self.docker(&arguments);
        let (status, body) = output.split_once('\n').unwrap_or((&output, ""));
        (status.trim().parse().unwrap_or_else(|_| panic!("{output}")), body.trim().to_owned())
    }

    async fn address(&self, container: &Value) -> String {
        self.docker(&["inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", id(container)])
    }

    async fn token(&self, container: &Value) -> String {
        self.docker(&["exec", id(container), "cat", "/run/spindle/token"])
    }

    async fn stop_behind_back(&self, container: &Value) {
        self.docker(&["stop", "-t", "1", id(container)]);
    }

    async fn start_behind_back(&self, container: &Value) {
        self.docker(&["start", id(container)]);
    }

    async fn remove_behind_back(&self, container: &Value) {
        self.docker(&["rm", "-f", id(container)]);
    }

    async fn meddle(&self, container: &Value, how: Meddling) {
        let id = id(container);
        match how {
            // It may end before the one who told it to is told.
            Meddling::Crash(code) => drop(self.try_docker(&["exec", id, "mimic", "die", &code.to_string()])),
            Meddling::Kill => drop(self.docker(&["kill", id])),
            Meddling::Pause => drop(self.docker(&["pause", id])),
            Meddling::Unpause => drop(self.docker(&["unpause", id])),
            Meddling::Rename(name) => drop(self.docker(&["rename", id, name])),
            Meddling::Limit => {
                drop(self.docker(&["update", "--memory", "64m", "--memory-swap", "64m", "--cpus", "0.5", id]));
            }
        }
    }

    async fn held(&self) -> Vec<String> {
        let label = format!("label=spindle.deployment={}", self.deployment);
        self.docker(&["ps", "-aq", "--no-trunc", "--filter", &label]).split_whitespace().map(str::to_owned).collect()
    }

    async fn begin_anew(&mut self) {
        assert_eq!(self.end("TERM"), Some(0), "{}", self.log());
        self.spawn();
        let started = Instant::now();
        while self.http.client.get(format!("{}/v1/health", self.http.base)).send().await.is_err() {
            assert!(started.elapsed() < Duration::from_secs(30), "it does not answer: {}", self.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn restart(&mut self) {
        self.begin_anew().await;
        self.until_well().await;
    }
}
