//! Waking: who connects and speaks gets a sandbox that sleeps, once and with what was sent before it woke.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::clients::{host_ports, port, text, wait_for_mimic};
use crate::support::{
    Body, World,
    docker::{Docker, docker},
    id, is,
    talk::{Ending, Random, dial, drain, exchange, speak},
};

/// What the clients of a sandbox that sleeps connect to: where it listened when it ran.
fn app(container: &Value) -> u16 {
    let ports = container["ports"].as_array().unwrap();
    let mapping = ports.iter().find(|p| p["container_port"] == 8_000).unwrap();
    mapping["host_port"].as_u64().unwrap() as u16
}

async fn stop(world: &Docker, container: &Value) {
    world.http().patch(container, "status=stopped").await.expect(200);
    world.until(container, |c| c["status"] == "stopped").await;
}

/// A sandbox that was stopped on request.
async fn asleep(world: &Docker, form: &str) -> Value {
    let c = world.http().create(form).await;
    stop(world, &c).await;
    c
}

/// Asserts that who connects and speaks is turned away, and that the sandbox was not started.
async fn is_not_woken(world: &Docker, container: &Value) {
    let before = started_at(container);
    let refused = speak(app(container), 0).expect_err("it was woken");
    assert!([io::ErrorKind::ConnectionReset, io::ErrorKind::UnexpectedEof].contains(&refused.kind()), "{refused}");
    assert_eq!(world.http().now(container).await["status"], "stopped");
    assert_eq!(started_at(container), before);
}

fn started_at(container: &Value) -> String {
    docker(&["inspect", "-f", "{{.State.StartedAt}}", id(container)])
}

/// How often the engine has started a container since `since`, a time in its own notation.
fn starts(container: &Value, since: &str) -> usize {
    let until = jiff::Timestamp::now().to_string();
    let of = format!("container={}", id(container));
    let filters = ["--filter", &of, "--filter", "event=start", "--format", "{{.Action}}"];
    docker(&[&["events", "--since", since, "--until", &until], &filters[..]].concat()).lines().count()
}

fn in_background<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    thread::spawn(work)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_sandbox_is_woken_by_words_and_neither_by_a_scan_nor_by_silence() {
    let world = Docker::start(&[]).await;
    let c = world.http().create("image=spindle/mimic&idle_timeout=3").await;
    let other = asleep(&world, "image=spindle/mimic&wake=always").await;
    assert_eq!((text(&c, "wake"), text(&other, "wake")), ("idle", "always"));
    assert_eq!(world.until(&c, |c| c["status"] == "stopped").await["stopped_reason"], "idle");
    let before = started_at(&c);
    for port in host_ports(&c).into_iter().cycle().take(20) {
        drop(dial(port));
    }
    let silent: Vec<TcpStream> = (0..4).map(|_| dial(app(&c))).collect();
    // Whatever came of those is done when one who came after them has been through all of it.
    speak(app(&other), 0).unwrap();
    assert_eq!((world.http().now(&c).await["status"].clone(), started_at(&c)), (json!("stopped"), before));
    // Those who have kept still are let in as soon as one of them speaks, and with all that it said.
    let data = Random::new(3).bytes(300_000);
    exchange(&silent[0], &data, 0).unwrap();
    exchange(&silent[1], b"me too", 0).unwrap();
    let now = world.http().now(&c).await;
    assert_eq!((&now["status"], host_ports(&now)), (&json!("running"), host_ports(&c)));
    assert_eq!(now["stopped_reason"], Value::Null);
    wait_for_mimic(&now);
}

/// The crowd comes in waves, so that some find it sleeping, some starting and some awake; all that with as many
/// wakes as are needed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_clients_at_once_cause_one_start_and_are_all_served() {
    let world = Docker::start(&[("WAKES_PER_MINUTE", "1")]).await;
    let c = asleep(&world, "image=spindle/mimic&wake=always").await;
    let (port, since) = (app(&c), jiff::Timestamp::now().to_string());
    let crowd: Vec<_> = (0..100)
        .map(|number: u64| {
            if number % 25 == 24 {
                thread::sleep(Duration::from_millis(80));
            }
            in_background(move || {
                let data = Random::new(number).bytes(20_000);
                exchange(&dial(port), &data, 0).map_err(|e| format!("client {number}: {e}"))
            })
        })
        .collect();
    let failed: Vec<String> = crowd.into_iter().filter_map(|client| client.join().unwrap().err()).collect();
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(starts(&c, &since), 1);
    assert_eq!(world.log().matches("woken by a connection").count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_be_woken_is_said_at_the_creation_and_later() {
    let world = Docker::start(&[]).await;
    let never = world.http().create("image=spindle/mimic&wake=never&idle_timeout=3").await;
    let always = asleep(&world, "image=spindle/mimic&wake=always").await;
    speak(app(&always), 0).unwrap();
    let usual = asleep(&world, "image=spindle/mimic").await;
    is_not_woken(&world, &usual).await;
    world.http().patch(&usual, "wake=always").await.expect(200);
    assert_eq!(world.http().now(&usual).await["wake"], "always");
    speak(app(&usual), 0).unwrap();
    world.http().patch(&usual, "wake=idle").await.expect(200);
    stop(&world, &usual).await;
    is_not_woken(&world, &usual).await;
    assert_eq!(world.until(&never, |c| c["status"] == "stopped").await["stopped_reason"], "idle");
    is_not_woken(&world, &never).await;
    world.http().patch(&never, "wake=idle").await.expect(200);
    speak(app(&never), 0).unwrap();
}

/// As after a reboot: nothing runs, and what is recorded is of another start of the machine.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_reboot_ended_is_woken_by_whoever_connects() {
    let mut world = Docker::start(&[]).await;
    let c = world.http().create("image=spindle/mimic").await;
    world.end("KILL");
    docker(&["kill", id(&c)]);
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let database = rusqlite::Connection::open(world.setting("DATABASE")).unwrap();
    let of_another = "UPDATE sandboxes SET boot = 'of-another' WHERE boot = ?1";
    assert_eq!(database.execute(of_another, [boot.trim()]).unwrap(), 1);
    drop(database);
    world.spawn();
    world.until_well().await;
    let ended = world.until(&c, is("stopped")).await;
    assert_eq!(ended["stopped_reason"], "reboot");
    speak(app(&ended), 0).unwrap();
    assert_eq!(world.http().now(&c).await["status"], "running");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_server_speaks_first_a_connection_is_enough() {
    let world = Docker::start(&[]).await;
    let c = asleep(&world, "image=spindle/mimic:greeter&wake=always").await;
    let mut greeting = [0; 7];
    dial(app(&c)).read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"welcome");
    assert_eq!(world.http().now(&c).await["status"], "running");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wake_that_fails_closes_the_connection_and_says_why() {
    let world = Docker::start(&[("MAX_RUNNING", "1")]).await;
    let c = asleep(&world, "image=spindle/mimic&wake=always").await;
    assert_eq!((&c["wake_failed_at"], &c["wake_failure"]), (&Value::Null, &Value::Null));
    let other = world.http().create("image=spindle/mimic").await;
    let asked = Instant::now();
    let crowd: Vec<_> = (0..5).map(|_| app(&c)).map(|port| in_background(move || speak(port, 0).is_err())).collect();
    assert!(crowd.into_iter().all(|client| client.join().unwrap()), "it was woken");
    assert!(asked.elapsed() < Duration::from_secs(10), "who waits in vain is told at once");
    let now = world.http().now(&c).await;
    assert_eq!(now["status"], "stopped");
    assert!(text(&now, "wake_failure").contains("SPINDLE_MAX_RUNNING"), "{now}");
    assert!(text(&now, "wake_failed_at") >= text(&now, "stopped_at"), "{now}");
    world.http().delete(&other).await.expect(204);
    speak(app(&c), 0).unwrap();
    let now = world.http().now(&c).await;
    assert_eq!((&now["wake_failed_at"], &now["wake_failure"]), (&Value::Null, &Value::Null));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wakes_are_so_many_a_minute() {
    let world = Docker::start(&[("WAKES_PER_MINUTE", "1")]).await;
    let one = asleep(&world, "image=spindle/mimic&wake=always").await;
    let two = asleep(&world, "image=spindle/mimic&wake=always").await;
    speak(app(&one), 0).unwrap();
    is_not_woken(&world, &two).await;
    world.http().patch(&two, "status=running").await.expect(200);
    speak(app(&two), 0).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_longer_than_allowed_is_sent_away() {
    let world = Docker::start(&[("WAKE_TIMEOUT", "2")]).await;
    let body = json!({"image": "spindle/mimic", "wake": "always", "env": {"MIMIC_OPEN_AFTER": "600"}});
    let c = world.http().send("POST", "/v1/containers", Body::Json(body)).await.expect(201).json();
    stop(&world, &c).await;
    let asked = Instant::now();
    let mut stream = dial(port(&c, "app_port"));
    stream.write_all(b"is anybody there?").unwrap();
    assert_eq!(drain(&stream), (Vec::new(), Ending::Reset));
    let waited = asked.elapsed();
    assert!(waited >= Duration::from_secs(2) && waited < Duration::from_secs(8), "{waited:?}");
}
