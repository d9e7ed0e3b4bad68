//! The relay as a process of its own: an SSH session runs through all that can happen to the server, and through an
//! upgrade of the relay itself.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use serde_json::Value;

use super::clients::{Learner, echoes, port, wait_for_mimic, wait_for_ssh};
use crate::support::{
    World,
    docker::{Docker, wait_for},
    is,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// `spindle relay` with a world's configuration. Dropping it ends it.
struct RelayProcess(Child);

impl RelayProcess {
    fn start(world: &Docker) -> Self {
        let log = File::options().create(true).append(true).open(world.directory.join("relay.log")).unwrap();
        let mut command = world.command();
        let relay = Self(command.arg("relay").stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
        let pid = relay.0.id();
        wait_for("the relay carries", PATIENCE, || carrying(world).contains(&pid));
        relay
    }

    fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }
}

impl Drop for RelayProcess {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The relays that have begun to carry, oldest first, by what they log.
fn carrying(world: &Docker) -> Vec<u32> {
    let log = std::fs::read_to_string(world.directory.join("relay.log")).unwrap_or_default();
    let pid = |line: &str| line.split("pid=").nth(1)?.split_whitespace().next()?.parse().ok();
    log.lines().filter(|l| l.contains("carrying")).filter_map(pid).collect()
}

fn signal(name: &str, pid: u32) {
    assert!(Command::new("kill").args([format!("-{name}"), pid.to_string()]).status().unwrap().success());
}

/// An SSH session in which what is typed comes back.
struct Session {
    ssh: Child,
    typed: ChildStdin,
    shown: BufReader<ChildStdout>,
}

impl Session {
    fn open(learner: &Learner, container: &Value) -> Self {
        let mut ssh = learner.ssh(container, &["-T"], "student", &["cat"]);
        let mut ssh = ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let (typed, shown) = (ssh.stdin.take().unwrap(), BufReader::new(ssh.stdout.take().unwrap()));
        Self { ssh, typed, shown }
    }

    #[track_caller]
    fn works(&mut self, when: &str) {
        writeln!(self.typed, "{when}").unwrap();
        let mut line = String::new();
        self.shown.read_line(&mut line).unwrap();
        assert_eq!(line.trim_end(), when, "the session is gone");
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.ssh.kill();
        let _ = self.ssh.wait();
    }
}

fn world() -> Docker {
    let mut world = Docker::prepare(None, &[]);
    let socket = world.directory.join("relay.sock").display().to_string();
    world.set("RELAY_SOCKET", &socket);
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_runs_through_crash_restart_and_upgrade() {
    let mut world = world();
    let learner = Learner::new(&world.directory, "learner");
    world.set("DEFAULT_SSH_KEY", &learner.public_key());
    let mut relay = RelayProcess::start(&world);
    world.spawn();
    world.until_well().await;
    let c = world.http().create("image=spindle/base").await;
    wait_for_ssh(&c);
    let mut session = Session::open(&learner, &c);
    session.works("at the beginning");

    assert_eq!(world.end("KILL"), None);
    session.works("while the server is dead");
    assert_eq!(learner.run(&c, &["id", "-un"]), "student", "others come in meanwhile");
    world.spawn();
    world.until_well().await;
    session.works("after kill -9 of the server");
    world.restart().await;
    session.works("after a restart");
    let upgraded = world.directory.join("spindle-upgraded");
    std::fs::copy(&world.program, &upgraded).unwrap();
    world.program = upgraded;
    world.restart().await;
    session.works("after an upgrade of the server");

    let mut second = RelayProcess::start(&world);
    world.until_well().await;
    session.works("after an upgrade of the relay");
    assert_eq!(learner.run(&c, &["id", "-un"]), "student", "by the new relay");
    assert!(!relay.has_ended(), "it serves the session");
    let counted = world.until(&c, |c| c["traffic"][0]["connections"] == 1).await;
    assert!(counted["traffic"][0]["bytes_in"].as_u64() > Some(1_000), "counted through all of it: {counted}");
    drop(session);
    wait_for("the old relay has ended", PATIENCE, || relay.has_ended());
    world.until(&c, |c| c["traffic"][0]["connections"] == 0).await;
    assert!(!second.has_ended());
}

/// What `systemctl reload` does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_is_told_to_starts_its_own_successor() {
    let mut world = world();
    let mut relay = RelayProcess::start(&world);
    world.spawn();
    world.until_well().await;
    let c = world.http().create("image=spindle/mimic").await;
    wait_for_mimic(&c);
    signal("HUP", relay.0.id());
    wait_for("the successor carries", PATIENCE, || carrying(&world).len() == 2);
    wait_for("the old relay has ended", PATIENCE, || relay.has_ended());
    assert!(echoes(port(&c, "app_port")));
    world.until_well().await;
    let successor = carrying(&world)[1];
    signal("TERM", successor);
    wait_for("the successor has ended", PATIENCE, || !std::path::Path::new(&format!("/proc/{successor}")).exists());
}

/// While nobody can see the connections, nobody is stopped for not having any.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_relay_the_server_stops_nobody_and_says_so() {
    let mut world = world();
    world.set("IDLE_TIMEOUT", "4");
    let relay = RelayProcess::start(&world);
    world.spawn();
    world.until_well().await;
    let c = world.http().create("image=spindle/mimic").await;
    wait_for_mimic(&c);
    drop(relay);
    let deadline: jiff::Timestamp = c["stops_at"].as_str().unwrap().parse().unwrap();
    wait_for("the deadline is past", PATIENCE, || {
        jiff::Timestamp::now() > deadline + jiff::SignedDuration::from_secs(2)
    });
    assert_eq!(world.http().now(&c).await["status"], "running");
    let health = world.http().get("/v1/health").await.expect(503).json();
    assert_eq!(health["relay"]["status"], "unavailable", "{health}");
    let refused = world.http().send("POST", "/v1/containers", crate::support::Body::Form("image=spindle/mimic")).await;
    refused.expect_error(503, "relay_unavailable");
    let _relay = RelayProcess::start(&world);
    world.until_well().await;
    let said = |words: &str| world.log().lines().filter(|l| l.contains(words)).count();
    wait_for("it is said that it is back", PATIENCE, || said("the relay is back") == 1);
    let warnings: Vec<String> = world.log().lines().filter(|l| l.contains(" WARN ")).map(str::to_owned).collect();
    assert_eq!(warnings.iter().filter(|l| l.contains("relay")).count(), 1, "one, however many passes: {warnings:#?}");
    wait_for_mimic(&c);
    // Now it can be seen that nobody uses it.
    let stopped = world.until(&c, is("stopped")).await;
    assert_eq!(stopped["stopped_reason"], "idle");
}

/// Sends and hears until dropped.
struct Busy {
    enough: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Busy {
    fn start(port: u16) -> Self {
        let enough = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&enough);
        let thread = std::thread::spawn(move || {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let mut heard = [0; 2_000];
            while !until.load(Ordering::Relaxed) {
                stream.write_all(&[b'x'; 2_000]).unwrap();
                stream.read_exact(&mut heard).unwrap();
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        Self { enough, thread: Some(thread) }
    }

    fn works(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.enough.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// The first relay carries, the second has taken over and is dead, the third is asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_relay_carries_whose_successor_died_is_use_all_the_same() {
    let mut world = world();
    world.set("IDLE_TIMEOUT", "4");
    let mut first = RelayProcess::start(&world);
    world.spawn();
    world.until_well().await;
    let c = world.http().create("image=spindle/mimic").await;
    wait_for_mimic(&c);
    let busy = Busy::start(port(&c, "app_port"));
    drop(RelayProcess::start(&world));
    let _third = RelayProcess::start(&world);
    world.until_well().await;
    let well = jiff::Timestamp::now();
    wait_for("three limits are past", PATIENCE, || jiff::Timestamp::now() > well + jiff::SignedDuration::from_secs(12));
    assert_eq!(world.http().now(&c).await["status"], "running");
    assert!(busy.works() && !first.has_ended());
    drop(busy);
    wait_for("the first relay has ended", PATIENCE, || first.has_ended());
    world.until(&c, is("stopped")).await;
}
