//! How sandboxes end that nobody asked Spindle to stop, who of them is woken, and those that stand still.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::clients::{port, text};
use crate::support::{
    Body, Meddling, World,
    docker::{Docker, docker, wait_for},
    id, is,
    talk::speak,
};

async fn created(world: &Docker, env: Value) -> Value {
    let body = json!({"image": "spindle/mimic", "memory": "64m", "env": env});
    world.http().send("POST", "/v1/containers", Body::Json(body)).await.expect(201).json()
}

fn started_at(container: &Value) -> String {
    docker(&["inspect", "-f", "{{.State.StartedAt}}", id(container)])
}

/// How often the engine has started it so far.
fn starts(container: &Value) -> usize {
    let (until, of) = (jiff::Timestamp::now().to_string(), format!("container={}", id(container)));
    let created = text(container, "created_at");
    let filters = ["--filter", &of, "--filter", "event=start", "--format", "{{.Action}}"];
    docker(&[&["events", "--since", created, "--until", &until], &filters[..]].concat()).lines().count()
}

/// Who crashed, for want of memory or otherwise, is there again for whoever connects; whom somebody stopped is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ended_by_itself_is_woken_and_what_somebody_stopped_is_not() {
    let mut world = Docker::start(&[]).await;
    let c = created(&world, json!({})).await;
    let app = port(&c, "app_port");
    speak(app, 0).unwrap();
    // A program inside goes beyond the limit first, and is killed; then the first process ends of its own.
    let hog = "my @all; push @all, 'x' x 1_000_000 while 1";
    assert!(!world.try_docker(&["exec", id(&c), "perl", "-e", hog]).0, "it was not killed");
    let running = world.http().now(&c).await;
    assert_eq!((text(&running, "status"), &running["oom_killed"]), ("running", &Value::Null), "the lab goes on");
    world.meddle(&c, Meddling::Crash(3)).await;
    let ended = world.until(&c, is("stopped")).await;
    assert_eq!((&ended["exit_code"], &ended["oom_killed"]), (&json!(3), &json!(true)), "{ended}");
    speak(app, 0).expect("it is woken");
    assert_eq!(text(&world.http().now(&c).await, "status"), "running");

    world.meddle(&c, Meddling::Kill).await;
    let ended = world.until(&c, |c| text(c, "why").contains("somebody stopped or killed it")).await;
    assert_eq!((text(&ended, "stopped_reason"), &ended["exit_code"]), ("exited", &json!(137)));
    let before = started_at(&c);
    speak(app, 0).expect_err("it was woken");
    assert_eq!(started_at(&c), before);
    world.http().patch(&c, "status=running").await.expect(200);
    speak(app, 0).unwrap();

    // Of what ends while no server listens nobody knows whether somebody stopped it.
    world.end("KILL");
    world.meddle(&c, Meddling::Crash(0)).await;
    docker(&["wait", id(&c)]);
    world.spawn();
    world.until_well().await;
    let ended = world.until(&c, is("stopped")).await;
    assert!(text(&ended, "why").contains("could not hear"), "{ended}");
    speak(app, 0).expect_err("it was woken");
}

/// It is woken twice in vain, by one connection that waits or by two; then it says why it stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_keeps_ending_at_once_stays_and_says_so() {
    let world = Docker::start(&[]).await;
    let c = world.http().create("image=spindle/mimic:empty").await;
    let app = port(&c, "app_port");
    let ended = |c: &Value| c["status"] == "stopped" && text(c, "why").contains("its program ended");
    let mut stays = world.until(&c, ended).await;
    for _ in 0..2 {
        if stays["wake_failure"].is_null() {
            let before = starts(&c);
            speak(app, 0).expect_err("nothing listens there");
            wait_for("another start", Duration::from_secs(20), || starts(&c) > before);
            stays = world.until(&c, ended).await;
        }
    }
    assert_eq!(starts(&c), 3);
    for key in ["why", "wake_failure"] {
        assert!(text(&stays, key).contains("3 times in a row within 1 min of its start"), "{stays}");
    }
    let before = started_at(&c);
    speak(app, 0).expect_err("it stays");
    assert_eq!(started_at(&c), before);
    let again = world.http().patch(&c, "status=running").await.expect(200).json();
    assert_eq!(again["wake_failure"], Value::Null, "who asks for it is not refused");
}

/// A paused sandbox runs, says that it is paused, lets whoever connects wait, and is stopped like any other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_sandbox_says_so_and_is_stopped_when_its_time_has_come() {
    let world = Docker::start(&[]).await;
    let c = created(&world, json!({})).await;
    let app = port(&c, "app_port");
    speak(app, 0).unwrap();
    world.meddle(&c, Meddling::Pause).await;
    world.until(&c, |c| c["paused"] == true).await;
    let waits = std::thread::spawn(move || speak(app, 0));
    let sent = |c: &Value| c["traffic"].as_array().unwrap().iter().any(|t| t["connections"] == 1);
    let began = Instant::now();
    while !sent(&world.http().now(&c).await) {
        assert!(began.elapsed() < Duration::from_secs(10), "nobody is connected");
        world.moment().await;
    }
    world.meddle(&c, Meddling::Unpause).await;
    waits.join().unwrap().expect("it is answered once the sandbox goes on");
    world.until(&c, |c| c["paused"] == false).await;

    world.meddle(&c, Meddling::Pause).await;
    world.http().patch(&c, "idle_timeout=3").await.expect(200);
    let stopped = world.until(&c, is("stopped")).await;
    assert_eq!((text(&stopped, "stopped_reason"), &stopped["paused"]), ("idle", &json!(false)));
    assert_eq!(stopped["exit_code"], json!(0), "it ended by SIGTERM, though it stood still");
    speak(app, 0).expect("it is woken");
    assert_eq!(world.http().now(&c).await["paused"], json!(false));
}
