//! What a learner at a terminal of the lab image sees of the idle stop.

use std::{
    io::Read,
    process::{Command, Stdio},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{
    clients::{self, Learner, text, wait_for_ssh},
    terminal::Terminal,
};
use crate::support::{
    World,
    docker::{Docker, docker, wait_for},
    id, is, uri,
};

const PATIENCE: Duration = Duration::from_secs(10);
const LIMIT: SignedDuration = SignedDuration::from_secs(8);

/// Beyond the limit: a pass, a grace and a telling of counts of a second each, and what the stop itself takes.
const LATE: SignedDuration = SignedDuration::from_secs(8);

fn instant(container: &Value, key: &str) -> Timestamp {
    text(container, key).parse().unwrap()
}

/// As [`clients::lab`], with a short limit.
async fn lab(extra: &[(&str, &str)]) -> (Docker, Learner) {
    clients::lab(&[&[("IDLE_TIMEOUT", "8")], extra].concat()).await
}

/// A session in a new sandbox of its own, made as `form` says.
async fn logged_in(world: &Docker, learner: &Learner, form: &str) -> (Value, Terminal) {
    let c = world.http().create(form).await;
    wait_for_ssh(&c);
    let terminal = Terminal::open(learner, &c);
    (c, terminal)
}

/// Makes it so that the last key was hit three minutes ago, at any terminal, which the image's reporter would otherwise
/// wait for.
fn age(container: &Value) {
    docker(&["exec", id(container), "sh", "-c", "touch -a -d '3 minutes ago' /dev/pts/[0-9]*"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_in_use_is_never_stopped_and_one_left_open_is() {
    let (world, learner) = lab(&[]).await;
    let (used, mut at_work) = logged_in(&world, &learner, "image=spindle/base").await;
    let (left, mut abandoned) = logged_in(&world, &learner, "image=spindle/base").await;
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
    wait_for("the end of the session left open", PATIENCE, || abandoned.is_over());
    let now = world.http().now(&used).await;
    assert_eq!((&now["status"], &now["started_at"]), (&used["status"], &used["started_at"]), "{now}");
    assert!(!at_work.is_over());
}

/// How often `text` stands in what the screen has shown.
fn times(terminal: &Terminal, text: &str) -> usize {
    terminal.screen().matches(text).count()
}

const WARNING: &str = "Spindle: this sandbox will be stopped in ";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_about_to_be_stopped_is_warned_once_and_on_every_terminal() {
    let (world, learner) = lab(&[("WARN_BEFORE", "4")]).await;
    let (c, mut terminal) = logged_in(&world, &learner, "image=spindle/base").await;
    // Beside it a program that somebody who can use Docker runs on a terminal, and that listens to nothing.
    let exec = ["exec", "-t", id(&c), "sleep", "60"];
    let mut beside = Command::new("docker").args(exec).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let is_there = ["exec", id(&c), "test", "-e", "/dev/pts/1"];
    wait_for("the other terminal", PATIENCE, || world.try_docker(&is_there).0);
    age(&c);
    terminal.wait_for(WARNING);
    assert_eq!(world.http().now(&c).await["status"], "running", "a warning comes before the stop");
    let stopped = world.until(&c, is("stopped")).await;
    assert_eq!(stopped["stopped_reason"], "idle");
    wait_for("the end of the session", PATIENCE, || terminal.is_over());
    let screen = terminal.screen();
    assert_eq!(times(&terminal, WARNING), 1, "{screen}");
    for said in ["UTC: idle since ", "To stay: use it, or spindle-keep ", "A stop deletes nothing."] {
        assert!(screen.contains(said), "{said:?} is not in {screen}");
    }
    let mut shown = String::new();
    beside.stdout.take().unwrap().read_to_string(&mut shown).unwrap();
    beside.wait().unwrap();
    assert_eq!(shown.matches(WARNING).count(), 1, "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_to_be_kept_is_kept_and_told_until_when() {
    let (world, learner) = lab(&[("WARN_BEFORE", "never"), ("KEEP_MAX", "20")]).await;
    let (c, mut terminal) = logged_in(&world, &learner, "image=spindle/base&tz=Asia/Kolkata").await;
    let (short, mut other) = logged_in(&world, &learner, "image=spindle/base&max_age=15").await;
    other.type_line("spindle-keep 1h; echo status $?");
    other.wait_for("status 1");
    other.wait_for("this container reaches its max_age at ");
    assert_eq!(world.http().now(&short).await["keep_until"], Value::Null);

    // More than anybody inside may ask for at a time.
    terminal.type_line("spindle-keep 1h; echo status $?");
    let asked = Timestamp::now();
    terminal.wait_for("status 0");
    let kept = world.http().now(&c).await;
    let until = instant(&kept, "keep_until");
    assert!(until <= Timestamp::now() + SignedDuration::from_secs(20), "{kept}");
    // In the time of those inside, as their own programs tell it.
    let there = until + SignedDuration::from_mins(330);
    let told = there.strftime("This sandbox is kept until %Y-%m-%d %H:%M:%S IST.").to_string();
    terminal.type_line("date +zone-%Z; TZ= date +zone-%Z");
    terminal.wait_for("zone-IST");
    age(&c);
    assert!(terminal.screen().contains(&told), "{told} is not in {}", terminal.screen());
    while Timestamp::now() < asked + LIMIT * 2 {
        assert_eq!(world.http().now(&c).await["status"], "running");
        world.moment().await;
    }
    let stopped = world.until(&c, is("stopped")).await;
    assert!(instant(&stopped, "stopped_at") >= until, "before it should: {stopped}");
    assert!(instant(&stopped, "stopped_at") < until + LATE, "too late: {stopped}");
}

/// Ctrl-S.
const STOP: u8 = 0x13;

/// Whoever is logged in and has stopped the terminal is not there for ever, and nothing waits for them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_that_was_stopped_keeps_nothing_and_delays_nothing() {
    let (world, learner) = lab(&[("WARN_BEFORE", "4")]).await;
    let (c, mut terminal) = logged_in(&world, &learner, "image=spindle/base").await;
    terminal.hit(STOP);
    // Whoever writes there waits, as a program of the learner's would.
    let is_open = ["exec", id(&c), "timeout", "0.3", "sh", "-c", "printf . >/dev/pts/0"];
    wait_for("the terminal to stop", PATIENCE, || !world.try_docker(&is_open).0);
    // The shell reads a key, and waits to show it.
    terminal.type_line("echo hello");
    age(&c);
    let last = Timestamp::now();
    let said = docker(&["exec", id(&c), "spindle-report", "-v"]);
    assert!(said.contains("0 of 1 terminals in use"), "{said}");
    let stopped = world.until(&c, is("stopped")).await;
    assert_eq!(stopped["stopped_reason"], "idle");
    assert!(instant(&stopped, "stopped_at") < last + LIMIT + LATE, "too late: {last} {stopped}");
    let activity = world.http().get(&format!("{}/activity", uri(&c))).await.expect(200).json();
    assert!(activity.to_string().contains("nobody could be told: 1 terminal stopped (Ctrl-S)"), "{activity}");
}
