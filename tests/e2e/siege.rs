//! One learner against all: from inside a sandbox, what the kernel shares and what others log in through.

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::Value;

use super::clients::{Learner, lab, text, wait_for_ssh};
use crate::support::{
    World,
    docker::{Docker, wait_for},
    id,
};

const SOON: Duration = Duration::from_secs(45);

/// Opens terminals until it gets no more, says how many, and keeps them.
const TERMINALS: &str =
    r#"while exec {fd}<>/dev/ptmx; do count=$((count + 1)); done 2>/dev/null; echo "$count"; exec sleep 60"#;

/// Asks for watches on files (`inotify_init1`, by the kernel's number for it) until it gets no more, says how many, and
/// keeps them.
const WATCHES: &str = if cfg!(target_arch = "x86_64") {
    r#"$| = 1; $n++ while syscall(294, 0) >= 0; print "$n\n"; sleep 60"#
} else {
    r#"$| = 1; $n++ while syscall(26, 0) >= 0; print "$n\n"; sleep 60"#
};

/// Connects so often, says nothing, says how many were greeted, and keeps them.
const SILENT: &str = r#"
    for _ in {1..120}; do exec {fd}<>"/dev/tcp/$0/$1" && fds+=($fd); done
    for fd in "${fds[@]}"; do read -r -t 2 -u "$fd" greeting && [[ $greeting == SSH-* ]] && count=$((count + 1)); done
    echo "${count:-0}"; exec sleep 60"#;

/// A program that a learner runs in the background. Dropping it ends it.
struct Attack(Child);

impl Attack {
    /// Starts `words` in a sandbox as its learner, and hears the number that they print.
    #[track_caller]
    fn start(container: &Value, words: &[&str]) -> (Self, u32) {
        let mut command = Command::new("docker");
        command.args(["exec", "-u", "student", id(container)]).args(words).stderr(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut printed = std::io::BufReader::new(child.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut printed, &mut line).unwrap();
        (Self(child), line.trim().parse().unwrap_or_else(|_| panic!("{words:?} printed {line:?}")))
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Mallory and alice, who can be logged in to.
async fn two(world: &Docker) -> (Value, Value) {
    let mallory = world.http().create("image=spindle/base").await;
    let alice = world.http().create("image=spindle/base").await;
    wait_for_ssh(&alice);
    (mallory, alice)
}

/// What the kernel has of something for a user or for the machine.
fn kernel(name: &str) -> u32 {
    std::fs::read_to_string(format!("/proc/sys/{name}")).unwrap().trim().parse().unwrap_or(u32::MAX)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_learner_who_takes_all_terminals_and_watches_takes_none_from_others() {
    let (world, learner) = lab(&[("OPEN_FILES_LIMIT", "2000"), ("TERMINALS_LIMIT", "20")]).await;
    let (mallory, alice) = two(&world).await;
    let (_held, count) = Attack::start(&mallory, &["bash", "-c", TERMINALS]);
    assert!((16..=20).contains(&count), "{count} terminals of 20");
    let terminal = world.docker(&["exec", "-t", "-u", "student", id(&alice), "tty"]);
    assert_eq!(terminal, "/dev/pts/0", "the engine has one for her");
    assert_eq!(Attack::start(&alice, &["bash", "-c", TERMINALS]).1 / 16, 1, "and she has her own share");
    let limits = learner.run(&alice, &["ulimit -Sn; ulimit -Hn"]);
    assert_eq!(limits.split_whitespace().collect::<Vec<_>>(), ["2000", "2000"]);

    // Of each user id, so it is the machine's setup that must have made them many.
    assert!(kernel("fs/inotify/max_user_instances") >= 100_000, "scripts/test.sh raises it, to what sysctl.conf says");
    let (_held, count) = Attack::start(&mallory, &["perl", "-e", WATCHES]);
    assert!((1_900..2_000).contains(&count), "{count}: the limit of the process came first");
    assert!(Attack::start(&alice, &["perl", "-e", WATCHES]).1 > 1_900);
}

/// Whether the learner gets in and is greeted by the right shell.
fn gets_in(learner: &Learner, container: &Value) -> bool {
    let output = learner.ssh(container, &[], "student", &["hostname"]).stdin(Stdio::null()).output().unwrap();
    text(container, "container_id").starts_with(String::from_utf8_lossy(&output.stdout).trim())
        && output.status.success()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_learner_who_besieges_anothers_ssh_is_refused_and_if_allowed_does_not_lock_her_out() {
    let (mut world, learner) = lab(&[("PUBLISH_ADDRESS", "0.0.0.0"), ("RESUME_GRACE", "600")]).await;
    let (mallory, alice) = two(&world).await;
    let besiege = |world: &Docker| {
        let (gateway, port) = (world.gateway(), text(&alice, "ssh_port"));
        Attack::start(&mallory, &["bash", "-c", SILENT, &gateway, port])
    };
    let (held, greeted) = besiege(&world);
    assert_eq!(greeted, 0, "nobody of another sandbox is let in");
    assert!(gets_in(&learner, &alice));
    let said = world.log().lines().filter(|l| l.contains("SPINDLE_CONNECTIONS_FROM_SANDBOXES=allow")).count();
    assert_eq!(said, 1, "once of each source: {}", world.log());
    drop(held);

    world.set("CONNECTIONS_FROM_SANDBOXES", "allow");
    world.restart().await;
    assert!(gets_in(&learner, &alice));
    let (_held, greeted) = besiege(&world);
    assert!(greeted > 40, "{greeted}");
    let shown = world.http().now(&alice).await;
    assert!(shown["traffic"][0]["connections"].as_u64() > Some(20), "they are open: {shown}");
    let why = shown["why"].as_str().unwrap();
    let named = why.split(" connections on port").next().and_then(|w| w.split(' ').next_back()?.parse::<u32>().ok());
    assert!(named.is_none_or(|n| n < 5), "they are no reason for anything: {why}");
    wait_for("alice gets in all the same", SOON, || gets_in(&learner, &alice));
}
