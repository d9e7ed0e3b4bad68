//! A Docker Engine of the test's own, that it can stop and start without disturbing anybody.

use std::{
    fs::File,
    io,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::support::docker::{docker, try_docker, wait_for};

const PATIENCE: Duration = Duration::from_secs(30);

/// dockerd with its own data, socket and containerd. Dropping it leaves nothing behind.
pub struct PrivateEngine {
    /// `test-` and the process, for whatever must have a name.
    name: String,
    directory: PathBuf,
    child: Option<Child>,
    /// Whether its containers outlive it. If not they are ended when it starts again, as by a reboot.
    pub live_restore: bool,
}

impl PrivateEngine {
    /// An engine that is not started yet; none, and a line that says why, where it cannot be.
    pub fn new() -> Option<Self> {
        let root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
        let program = Command::new("dockerd").arg("--version").output().is_ok();
        if !root || !program {
            println!("skipped: a private engine needs root and dockerd on this machine");
            return None;
        }
        let name = format!("test-{}-engine", std::process::id());
        let directory = std::env::temp_dir().join(format!("spindle-{name}"));
        std::fs::create_dir_all(&directory).unwrap();
        // Without it the machine's own settings would apply, and contradict the options below.
        std::fs::write(directory.join("daemon.json"), "{}").unwrap();
        let engine = Self { name, directory, child: None, live_restore: true };
        engine.make_bridge();
        Some(engine)
    }

    /// A default bridge of its own, made by the machine's engine. An engine that is told to have none removes
    /// `docker0` from under the other.
    fn make_bridge(&self) {
        let bridge = format!("com.docker.network.bridge.name={}", bridge());
        let label = format!("spindle.deployment={}", self.name);
        let subnet = format!("10.208.{}.0/28", std::process::id() % 256);
        docker(&["network", "create", "--label", &label, "--subnet", &subnet, "--opt", &bridge, &self.name]);
    }

    /// Where it listens, in `DOCKER_HOST`'s notation.
    pub fn host(&self) -> String {
        format!("unix://{}", self.directory.join("docker.sock").display())
    }

    fn path(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }

    /// Starts it and waits until it answers.
    pub fn start(&mut self) {
        assert!(self.child.is_none());
        self.spawn().unwrap();
        wait_for("the private engine", PATIENCE, || self.answers());
    }

    fn answers(&self) -> bool {
        self.docker(&["info", "-f", "{{.ID}}"]).0
    }

    /// Starts it. It stays away from the machine's firewall.
    fn spawn(&mut self) -> io::Result<()> {
        let log = File::options().create(true).append(true).open(self.path("log"))?;
        let mut command = Command::new("dockerd");
        command.args(["--config-file", &self.path("daemon.json"), "--data-root", &self.path("data")]);
        command.args(["--exec-root", &self.path("exec"), "--pidfile", &self.path("pid"), "--host", &self.host()]);
        command.args(["--iptables=false", "--ip-masq=false", "--bridge", &bridge()]);
        command.arg(format!("--live-restore={}", self.live_restore));
        // Where the machine has one containerd for all, names of its own keep it apart.
        let plugins = format!("{}-plugins", self.name);
        command.args(["--containerd-namespace", &self.name, "--containerd-plugins-namespace", &plugins]);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.child = Some(command.spawn()?);
        Ok(())
    }

    /// Ends it in good order.
    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let asked = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
        let started = Instant::now();
        while child.try_wait().is_ok_and(|ended| ended.is_none()) {
            if asked.is_err() || started.elapsed() > PATIENCE {
                let _ = child.kill();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Gives it an image that the machine's own engine has.
    pub fn load(&self, image: &str) {
        let mut save = Command::new("docker").args(["save", image]).stdout(Stdio::piped()).spawn().unwrap();
        let archive = save.stdout.take().unwrap();
        let loaded = Command::new("docker").args(["-H", &self.host(), "load", "-q"]).stdin(archive).output().unwrap();
        assert!(save.wait().unwrap().success() && loaded.status.success(), "{loaded:?}");
    }

    fn docker(&self, arguments: &[&str]) -> (bool, String) {
        try_docker(&[&["-H", &self.host()], arguments].concat())
    }

    /// The processes that name its directory: what would stay behind if it did not end in good order.
    fn processes(&self) -> Vec<String> {
        let ours = self.path("exec");
        let names_it = |pid: &String| {
            let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.contains(&ours)
        };
        let all = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        all.filter_map(|entry| entry.file_name().into_string().ok()).filter(names_it).collect()
    }

    /// Removes containers and networks, which needs the engine.
    fn empty(&mut self) {
        let (_, containers) = self.docker(&["ps", "-aq"]);
        for container in containers.split_whitespace() {
            self.docker(&["rm", "-fv", container]);
        }
        let (_, networks) = self.docker(&["network", "ls", "-q", "--filter", "type=custom"]);
        for network in networks.split_whitespace() {
            self.docker(&["network", "rm", network]);
        }
    }
}

impl Drop for PrivateEngine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.path("log")).unwrap_or_default();
            let last: Vec<&str> = log.lines().rev().take(20).collect();
            eprintln!("--- the private engine's log, last line first\n{}\n---", last.join("\n"));
        }
        // Only a running engine can remove what it has made. Nothing here may panic: a test may be failing.
        let needed = self.child.is_none() && self.directory.join("data").exists();
        let started = Instant::now();
        if needed && self.spawn().is_ok() {
            while !self.answers() && started.elapsed() < PATIENCE {
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        self.empty();
        self.stop();
        for pid in self.processes() {
            let _ = Command::new("kill").args(["-KILL", &pid]).status();
        }
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let ours = self.directory.display().to_string();
        // The last mounted lies on top.
        for at in mounts.lines().rev().filter_map(|l| l.split(' ').nth(1)).filter(|at| at.starts_with(&ours)) {
            let _ = Command::new("umount").args(["-l", at]).status();
        }
        let _ = std::fs::remove_dir_all(&self.directory);
        try_docker(&["network", "rm", &self.name]);
    }
}

fn bridge() -> String {
    // The kernel takes 15 characters.
    format!("br-t{}", std::process::id())
}
