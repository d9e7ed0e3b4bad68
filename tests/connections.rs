//! What connections do to a sandbox's life: the real relay and the real pass, against a scripted engine and a manual
//! clock.

mod support;

use std::{net::SocketAddr, time::Duration};

use serde_json::Value;
use spindle::{
    clock::Clock,
    domain::{ContainerId, Limit, Phase},
};
use support::{
    Body, World, id,
    scripted::{LIMIT, Scripted, TestApp, settle, world},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

const CAP: u64 = 300;

/// A program inside a sandbox that echoes, until dropped.
struct Inside(JoinHandle<()>);

impl Inside {
    async fn start(w: &Scripted, container: &Value) -> Self {
        let address = w.engine.address(&ContainerId::parse(id(container)).unwrap()).unwrap();
        let socket = TcpListener::bind(SocketAddr::new(address, 8000)).await.unwrap();
        Self(tokio::spawn(async move {
            loop {
                let (mut stream, _) = socket.accept().await.unwrap();
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    tokio::io::copy(&mut read, &mut write).await
                });
            }
        }))
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn connect(container: &Value) -> TcpStream {
    let port = container["ports"][1]["host_port"].as_u64().unwrap() as u16;
    TcpStream::connect(("127.0.0.1", port)).await.unwrap()
}

/// Sends so many bytes and hears them again.
async fn use_it(stream: &mut TcpStream, bytes: usize) {
    let sent = vec![7; bytes];
    stream.write_all(&sent).await.unwrap();
    let mut heard = vec![0; bytes];
    stream.read_exact(&mut heard).await.unwrap();
    assert!(heard == sent);
}

/// A world in which only the test makes passes, with a cap.
async fn capped() -> Scripted {
    let mut app = TestApp { loops: false, ..TestApp::default() };
    app.settings.policy.idle_limit = Limit::After(Duration::from_secs(LIMIT));
    app.settings.policy.connection_cap = Limit::After(Duration::from_secs(CAP));
    app.settings.resume_grace = Duration::from_secs(5);
    app.start().await
}

#[tokio::test]
async fn bytes_on_a_connection_keep_a_sandbox_up_to_the_cap() {
    let w = capped().await;
    let c = w.http().create("image=spindle/mimic").await;
    let _inside = Inside::start(&w, &c).await;
    let mut stream = connect(&c).await;
    for _ in 0..CAP / LIMIT * 2 - 1 {
        use_it(&mut stream, 2_000).await;
        w.pass_seconds(LIMIT / 2).await;
        assert_eq!(w.http().now(&c).await["status"], "running");
    }
    use_it(&mut stream, 2_000).await;
    w.pass_seconds(LIMIT / 2 + 1).await;
    let stopped = settle(&w, &c, "stopped").await;
    assert_eq!(stopped["stopped_reason"], "idle", "a tab that stays open does not keep it for ever");
    let why = stopped["why"].as_str().unwrap();
    assert!(why.contains("only bytes on a connection kept it since its start at 09:00:00 UTC"), "{why}");
    w.check().await;
}

#[tokio::test]
async fn a_report_moves_the_cap() {
    let w = capped().await;
    let c = w.http().create("image=spindle/mimic").await;
    let _inside = Inside::start(&w, &c).await;
    let mut stream = connect(&c).await;
    for round in 0..CAP / LIMIT * 4 {
        use_it(&mut stream, 2_000).await;
        if round % 8 == 0 {
            w.check_in(&c, "active-connections=1").await;
        }
        w.pass_seconds(LIMIT / 2).await;
        assert_eq!(w.http().now(&c).await["status"], "running");
    }
}

#[tokio::test]
async fn an_open_connection_is_no_use_by_itself_and_keepalives_are_none() {
    let w = world().await;
    let c = w.http().create("image=spindle/mimic").await;
    let _inside = Inside::start(&w, &c).await;
    let (_silent, mut trickle) = (connect(&c).await, connect(&c).await);
    for _ in 0..5 {
        w.pass_seconds(LIMIT / 5).await;
        use_it(&mut trickle, 40).await;
    }
    w.pass_seconds(2).await;
    settle(&w, &c, "stopped").await;
}

/// Who listens on its ports carries its connections and tells nobody: a relay of before, perhaps.
#[tokio::test]
async fn what_cannot_be_seen_is_not_stopped_for_being_idle() {
    let mut w = world().await;
    let c = w.http().create("image=spindle/mimic").await;
    w.relay.close().await;
    let port = c["ports"][1]["host_port"].as_u64().unwrap() as u16;
    let other = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    w.settings.policy.idle_limit = Limit::After(Duration::from_secs(LIMIT));
    w.restart().await;
    w.pass_seconds(3 * LIMIT).await;
    assert_eq!(w.http().now(&c).await["status"], "running");
    let health = w.http().get("/v1/health").await.json();
    assert_eq!(health["relay"]["status"], "impaired", "{health}");
    drop(other);
    w.pass_seconds(5).await;
    settle(&w, &c, "stopped").await;
}

/// Rule 14: what moved until the very pass counts in it, told or not.
#[tokio::test]
async fn the_pass_sees_what_moved_a_moment_before() {
    let w = world().await;
    let c = w.http().create("image=spindle/mimic").await;
    let _inside = Inside::start(&w, &c).await;
    let mut stream = connect(&c).await;
    w.pass_seconds(LIMIT - 1).await;
    use_it(&mut stream, 3_000).await;
    w.clock.advance(Duration::from_secs(1));
    w.app.pass.converge().await;
    let now = w.http().now(&c).await;
    assert_eq!(now["status"], "running");
    assert_eq!((&now["traffic"][1]["bytes_in"], &now["traffic"][1]["bytes_out"]), (&3_000.into(), &3_000.into()));
    assert!(now["last_active_at"].is_string(), "{now}");
    assert_eq!(w.engine.calls("stop"), 0);
}

/// A world whose loops run, with a sandbox that was stopped for being idle.
async fn sleeping(create: &str) -> (Scripted, Value) {
    let mut app = TestApp::default();
    app.settings.policy.idle_limit = Limit::After(Duration::from_secs(LIMIT));
    let w = app.start().await;
    let c = w.http().create(&format!("image=spindle/mimic{create}")).await;
    for _ in 0..=LIMIT {
        w.pass_seconds(1).await;
    }
    let stopped = settle(&w, &c, "stopped").await;
    assert_eq!(stopped["stopped_reason"], "idle");
    (w, c)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_connections_to_one_that_sleeps_cause_one_start() {
    let (w, c) = sleeping("").await;
    let starts = w.engine.calls("start");
    let _inside = Inside::start(&w, &c).await;
    let clients: Vec<_> = (0..100)
        .map(|_| {
            let c = c.clone();
            tokio::spawn(async move { use_it(&mut connect(&c).await, 10).await })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(w.engine.calls("start") - starts, 1);
    let now = w.http().now(&c).await;
    assert_eq!((&now["status"], &now["active"]), (&"running".into(), &"0".into()));
    w.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_stopped_on_request_sleeps_on_until_it_is_allowed() {
    let w = TestApp::default().start().await;
    let c = w.http().create("image=spindle/mimic").await;
    assert_eq!(c["wake"], "idle");
    w.http().patch(&c, "status=stopped").await.expect(200);
    settle(&w, &c, "stopped").await;
    let mut refused = connect(&c).await;
    refused.write_all(b"x").await.unwrap();
    assert!(refused.read(&mut [0]).await.is_err());
    assert_eq!(w.http().patch(&c, "wake=always").await.expect(200).json()["wake"], "always");
    let _inside = Inside::start(&w, &c).await;
    use_it(&mut connect(&c).await, 10).await;
    assert_eq!(w.http().now(&c).await["status"], "running");
    let message = w.http().patch(&c, "wake=sometimes").await.expect_error(400, "invalid_field");
    assert!(message.contains("wake") && message.contains("sometimes") && message.contains("\"always\""), "{message}");
}

/// A person's stop of what is stopped already for being idle is a stop all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_on_request_of_one_that_sleeps_keeps_it_asleep() {
    let (w, c) = sleeping("").await;
    let stopped = w.http().patch(&c, "status=stopped").await.expect(200).json();
    assert_eq!((&stopped["status"], &stopped["stopped_reason"]), (&"stopped".into(), &"requested".into()));
    let mut refused = connect(&c).await;
    refused.write_all(b"x").await.unwrap();
    assert!(refused.read(&mut [0]).await.is_err());
    assert_eq!(w.http().now(&c).await["status"], "stopped");
}

/// The idle stop takes its whole grace; somebody connects, and somebody else wants it stopped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_on_request_during_an_idle_stop_wins_over_a_wake() {
    let mut app = TestApp::default();
    app.settings.policy.idle_limit = Limit::After(Duration::from_secs(LIMIT));
    let w = app.start().await;
    let c = w.http().create("image=spindle/mimic").await;
    w.engine.ignore_term(&ContainerId::parse(id(&c)).unwrap());
    w.pass_seconds(LIMIT + 1).await;
    settle(&w, &c, "stopping").await;
    let mut waits = connect(&c).await;
    waits.write_all(b"x").await.unwrap();
    w.http().patch(&c, "status=stopped").await.expect(200);
    while w.http().now(&c).await["status"] != "stopped" {
        w.engine.release();
        tokio::task::yield_now().await;
    }
    assert!(waits.read(&mut [0]).await.is_err());
    let now = w.http().now(&c).await;
    assert_eq!((&now["status"], &now["stopped_reason"]), (&"stopped".into(), &"requested".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn never_is_never() {
    let (w, c) = sleeping("&wake=never").await;
    let mut refused = connect(&c).await;
    refused.write_all(b"x").await.unwrap();
    assert!(refused.read(&mut [0]).await.is_err());
    assert_eq!(w.http().now(&c).await["status"], "stopped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wake_that_fails_says_why_and_the_next_start_forgets_it() {
    let (w, c) = sleeping("").await;
    w.engine
        .next("start", spindle::engine::fake::Fault::Fail(spindle::engine::EngineError::Refused("no memory".into())));
    let mut refused = connect(&c).await;
    refused.write_all(b"x").await.unwrap();
    assert!(refused.read(&mut [0]).await.is_err());
    let now = w.http().now(&c).await;
    assert_eq!(now["status"], "stopped");
    assert!(now["wake_failure"].as_str().unwrap().contains("no memory"), "{now}");
    let _inside = Inside::start(&w, &c).await;
    use_it(&mut connect(&c).await, 10).await;
    assert_eq!(w.http().now(&c).await["wake_failure"], Value::Null);
}

#[tokio::test]
async fn use_counts_on_after_the_clock_was_set_back() {
    let w = world().await;
    let c = w.http().create("image=spindle/mimic").await;
    let _inside = Inside::start(&w, &c).await;
    let mut stream = connect(&c).await;
    use_it(&mut stream, 2_000).await;
    w.pass_seconds(1).await;
    w.clock.set(w.clock.now() - Duration::from_hours(1));
    for _ in 0..4 {
        use_it(&mut stream, 2_000).await;
        w.pass_seconds(LIMIT / 2).await;
        assert_eq!(w.http().now(&c).await["status"], "running");
    }
    w.pass_seconds(LIMIT / 2 + 1).await;
    settle(&w, &c, "stopped").await;
}

/// A reboot ends what ran, as no person and no program inside did.
#[tokio::test]
async fn a_reboot_is_told_from_an_end_and_what_it_stopped_may_be_woken() {
    let w = world().await;
    let c = w.http().create("image=spindle/mimic").await;
    let ended = w.http().create("image=spindle/mimic").await;
    let parse = |c: &Value| ContainerId::parse(id(c)).unwrap();
    w.engine.force(&parse(&ended), Phase::Exited);
    assert_eq!(settle(&w, &ended, "stopped").await["stopped_reason"], "exited");
    // The clock of a machine that has just begun may be anywhere.
    w.clock.set(w.clock.now() - Duration::from_hours(1));
    w.clock.reboot();
    w.engine.force(&parse(&c), Phase::Exited);
    assert_eq!(settle(&w, &c, "stopped").await["stopped_reason"], "reboot");
}

#[tokio::test]
async fn an_images_labels_say_how_it_is_woken() {
    let w = world().await;
    w.engine.label_image("spindle/mimic:latest", "wake", "always");
    let made = w.http().create("image=spindle/mimic").await;
    assert_eq!(made["wake"], "always");
    assert_eq!(w.http().create("image=spindle/mimic&wake=never").await["wake"], "never", "the creator knows better");
    w.engine.label_image("spindle/mimic:latest", "wake_on", "tuesdays");
    let refused = w.http().send("POST", "/v1/containers", Body::Form("image=spindle/mimic")).await;
    let message = refused.expect_error(400, "invalid_field");
    assert!(message.contains("spindle.wake_on") && message.contains("tuesdays"), "{message}");
}
