//! What learners and instructors sit at: curl, ssh, and programs that connect to a host port.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use serde_json::Value;

use crate::support::docker::{Docker, wait_for};

/// How long a sandbox may take until its ports answer. Generous: the other tests load the machine.
const BOOT: Duration = Duration::from_secs(30);

/// Runs curl as the documentation does, with the default credentials; the status and the body.
#[track_caller]
pub fn curl(world: &Docker, arguments: &[&str], path: &str) -> (u16, String) {
    let url = format!("http://127.0.0.1:{}{path}", world.setting("PORT"));
    let mut command = Command::new("curl");
    command.args(["-s", "-m", "60", "--noproxy", "*", "-w", "\n%{http_code}", "-u", "admin:spindocker"]);
    let output = command.args(arguments).arg(url).output().expect("curl is installed");
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, status) = text.rsplit_once('\n').unwrap();
    (status.parse().unwrap(), body.to_owned())
}

/// As [`curl`], for an answer of `status` that is JSON.
#[track_caller]
pub fn curl_json(world: &Docker, arguments: &[&str], path: &str, status: u16) -> Value {
    let (shown, body) = curl(world, arguments, path);
    assert_eq!(shown, status, "{body}");
    serde_json::from_str(&body).unwrap_or_else(|e| panic!("{e}: {body}"))
}

/// A server, with `extra` variables, of which the learner can enter every sandbox of a lab image.
pub async fn lab(extra: &[(&str, &str)]) -> (Docker, Learner) {
    let mut world = Docker::prepare(None, extra);
    let learner = Learner::new(&world.directory, "learner");
    world.set("DEFAULT_SSH_KEY", &learner.public_key());
    world.spawn();
    world.until_well().await;
    (world, learner)
}

/// Somebody with a key pair and a memory for host keys.
pub struct Learner {
    key: PathBuf,
    known_hosts: PathBuf,
}

impl Learner {
    /// A learner with a new key, whose files lie in `directory`.
    pub fn new(directory: &Path, name: &str) -> Self {
        Self::with(directory, name, &["-t", "ed25519"])
    }

    /// The same with a key of another kind.
    pub fn with(directory: &Path, name: &str, kind: &[&str]) -> Self {
        let key = directory.join(name);
        let mut keygen = Command::new("ssh-keygen");
        keygen.arg("-q").args(kind).args(["-N", "", "-C", name, "-f"]).arg(&key).stdin(Stdio::null());
        let made = keygen.output().expect("ssh-keygen is installed");
        assert!(made.status.success(), "{made:?}");
        Self { key, known_hosts: directory.join(format!("{name}.hosts")) }
    }

    /// Where the public key is.
    pub fn public_key_file(&self) -> String {
        format!("{}.pub", self.key.display())
    }

    /// The public key.
    pub fn public_key(&self) -> String {
        std::fs::read_to_string(self.public_key_file()).unwrap().trim().to_owned()
    }

    /// An ssh that asks nobody anything and ends before long, come what may; SIGTERM ends it at once.
    pub fn ssh(&self, container: &Value, options: &[&str], user: &str, words: &[&str]) -> Command {
        let mut command = Command::new("timeout");
        command.args(["100", "ssh", "-F", "/dev/null", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"]);
        command.args(["-o", "ConnectTimeout=20", "-o", "StrictHostKeyChecking=accept-new", "-o", "LogLevel=ERROR"]);
        command.arg("-o").arg(format!("UserKnownHostsFile={}", self.known_hosts.display())).arg("-i").arg(&self.key);
        command.args(["-p", text(container, "ssh_port")]).args(options);
        command.arg(format!("{user}@127.0.0.1")).args(words);
        command
    }

    /// Logs in as `student` and runs something; what it printed.
    #[track_caller]
    pub fn run(&self, container: &Value, words: &[&str]) -> String {
        let output = self.ssh(container, &[], "student", words).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Tries to log in, and is refused; what ssh says.
    #[track_caller]
    pub fn refused(&self, container: &Value, options: &[&str], user: &str) -> String {
        let output = self.ssh(container, options, user, &["id"]).stdin(Stdio::null()).output().unwrap();
        assert_eq!(output.status.code(), Some(255), "{}", said(&output));
        said(&output)
    }
}

/// All that a program said.
pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A key of the container that is a string.
#[track_caller]
pub fn text<'a>(container: &'a Value, key: &str) -> &'a str {
    container[key].as_str().unwrap_or_else(|| panic!("{key} is no string in {container}"))
}

/// A key of the container that is a port.
#[track_caller]
pub fn port(container: &Value, key: &str) -> u16 {
    text(container, key).parse().unwrap_or_else(|_| panic!("{key} is no port in {container}"))
}

/// All host ports that are reserved for the container.
pub fn host_ports(container: &Value) -> Vec<u16> {
    container["ports"].as_array().unwrap().iter().map(|p| p["host_port"].as_u64().unwrap() as u16).collect()
}

fn connect(port: u16) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    Ok(stream)
}

/// What an SSH server at that host port says first; empty if nothing answers.
fn banner(port: u16) -> String {
    let mut line = String::new();
    let read = connect(port).and_then(|stream| BufReader::new(stream).read_line(&mut line));
    read.map(|_| line).unwrap_or_default()
}

/// Whether what is sent to that host port comes back.
pub fn echoes(port: u16) -> bool {
    let exchange = || -> std::io::Result<bool> {
        let mut stream = connect(port)?;
        let word = format!("hello {port}\n");
        stream.write_all(word.as_bytes())?;
        let mut back = vec![0; word.len()];
        stream.read_exact(&mut back)?;
        Ok(back == word.as_bytes())
    };
    exchange().unwrap_or(false)
}

/// Waits until a container's SSH port answers.
#[track_caller]
pub fn wait_for_ssh(container: &Value) {
    let port = port(container, "ssh_port");
    wait_for("an SSH server", BOOT, || banner(port).starts_with("SSH-2.0-"));
}

/// Waits until a mimic's two ports answer, each in its own way.
#[track_caller]
pub fn wait_for_mimic(container: &Value) {
    let (ssh, app) = (port(container, "ssh_port"), port(container, "app_port"));
    wait_for("the mimic's ports", BOOT, || banner(ssh) == "SSH-2.0-mimic\r\n" && echoes(app));
}
