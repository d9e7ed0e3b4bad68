//! What a learner at a terminal of the lab image sees of the idle stop.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{
    clients::{Learner, text, wait_for_ssh},
    terminal::Terminal,
};
use crate::support::{
    World,
    docker::{Docker, docker, wait_for},
    id, is,
};

const LIMIT: SignedDuration = SignedDuration::from_secs(8);

/// Beyond the limit: a pass, a grace and a telling of counts of a second each, and what the stop itself takes.
const LATE: SignedDuration = SignedDuration::from_secs(8);

fn instant(container: &Value, key: &str) -> Timestamp {
    text(container, key).parse().unwrap()
}

/// A server of which `learner` can enter every sandbox of the lab image, `extra` set besides.
async fn lab(extra: &[(&str, &str)]) -> (Docker, Learner) {
    let mut world = Docker::prepare(None, &[&[("IDLE_TIMEOUT", "8")], extra].concat());
    let learner = Learner::new(&world.directory, "learner");
    world.set("DEFAULT_SSH_KEY", &learner.public_key());
    world.spawn();
    world.until_well().await;
    (world, learner)
}

/// A session in a new sandbox of its own.
async fn logged_in(world: &Docker, learner: &Learner) -> (Value, Terminal) {
    let c = world.http().create("image=spindle/base").await;
    wait_for_ssh(&c);
    let terminal = Terminal::open(learner, &c);
    (c, terminal)
}

/// Makes it so that the last key was hit three minutes ago, which the image's reporter would otherwise wait for.
fn age(container: &Value) {
    docker(&["exec", id(container), "touch", "-a", "-d", "3 minutes ago", "/dev/pts/0"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_in_use_is_never_stopped_and_one_left_open_is() {
    let (world, learner) = lab(&[]).await;
    let (used, mut at_work) = logged_in(&world, &learner).await;
    let (left, mut abandoned) = logged_in(&world, &learner).await;
    age(&left);
    let last = Timestamp::now();
    let mut stopped_at = None;
    while Timestamp::now() < last + LIMIT * 4 {
        at_work.type_line("seq 100");
        if stopped_at.is_none() {
            let now = world.http().now(&left).await;
            if now["status"] == "running" {
                // Each report finds a terminal that nobody uses. It may be stopped by now.
                let (_, said) = world.try_docker(&["exec", id(&left), "spindle-report", "-v"]);
                assert!(!said.contains("1 of 1"), "{said}");
            } else {
                stopped_at = Some(instant(&world.until(&left, is("stopped")).await, "stopped_at"));
            }
        }
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    let stopped_at = stopped_at.expect("who left is stopped");
    assert!(stopped_at >= last + LIMIT - SignedDuration::from_secs(2), "too early: {last} {stopped_at}");
    assert!(stopped_at < last + LIMIT + LATE, "too late: {last} {stopped_at}");
    assert_eq!(world.http().now(&left).await["stopped_reason"], "idle");
    wait_for("the end of the session left open", Duration::from_secs(10), || abandoned.is_over());
    let now = world.http().now(&used).await;
    assert_eq!((&now["status"], &now["started_at"]), (&used["status"], &used["started_at"]), "{now}");
    assert!(!at_work.is_over());
}
