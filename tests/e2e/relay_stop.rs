//! Stops, deletes and restarts, ours and others': whoever is connected is given the grace, and the ports follow.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpListener,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    clients::{host_ports, port, wait_for_mimic},
    relay_data::mimic_with_voice,
};
use crate::support::{
    Body, World,
    docker::{Docker, docker, wait_for},
    id,
    talk::{Random, dial, exchange, speak, try_dial},
};

/// Until when a change behind our back is to be followed.
const FOLLOWED: Duration = Duration::from_secs(2);

/// A stop that takes its whole grace: the sandbox goes on as if nothing were.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_gives_connections_the_grace_and_takes_no_new_ones() {
    const GRACE: Duration = Duration::from_secs(3);
    let world = Docker::start(&[("STOP_GRACE", "3"), ("WAKES_PER_MINUTE", "1")]).await;
    let mut made = Vec::new();
    for wake in ["idle", "always"] {
        let body = json!({"image": "spindle/mimic", "wake": wake, "env": {"MIMIC_IGNORE_TERM": "1"}});
        let c = world.http().send("POST", "/v1/containers", Body::Json(body)).await.expect(201).json();
        wait_for_mimic(&c);
        made.push((port(&c, "app_port"), c));
    }
    let old = [dial(made[0].0), dial(made[1].0)];
    let asked = Instant::now();
    for (_, c) in &made {
        world.http().patch(c, "status=stopped").await.expect(200);
    }
    // Where it may wake it, one that comes now waits for the next start; elsewhere it is turned away.
    assert!(speak(made[0].0, 0).is_err(), "it was carried to one that is being stopped");
    let (app, waits) = (made[1].0, Instant::now());
    let waiting = thread::spawn(move || speak(app, 0).map(|()| waits.elapsed()));
    let mut served = Duration::ZERO;
    while old.iter().all(|stream| exchange(stream, b"still here?", 0).is_ok()) {
        served = asked.elapsed();
        assert!(served < GRACE * 4, "a connection outlived its sandbox");
        thread::sleep(Duration::from_millis(20));
    }
    assert!(served + Duration::from_millis(500) > GRACE, "it was cut after {served:?}");
    let waited = waiting.join().unwrap().expect("who waits for the next start is served");
    assert!(waited + Duration::from_millis(500) > GRACE, "it was carried to the old start, after {waited:?}");
    assert_eq!(world.until(&made[0].1, |c| c["status"] == "stopped").await["stopped_reason"], "requested");
    assert_eq!(world.http().now(&made[1].1).await["status"], "running");
}

/// A connection that keeps the relay busy without a pause is cut like any other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delete_cuts_even_the_busiest_and_frees_the_ports() {
    let world = Docker::start(&[]).await;
    let c = world.http().create("image=spindle/mimic").await;
    wait_for_mimic(&c);
    let app = port(&c, "app_port");
    let busy = thread::spawn(move || {
        let (stream, data) = (dial(app), Random::new(9).bytes(1 << 20));
        while exchange(&stream, &data, 0).is_ok() {}
    });
    let silent = dial(app);
    exchange(&silent, b"I am here", 0).unwrap();
    world.http().delete(&c).await.expect(204);
    for port in host_ports(&c) {
        TcpListener::bind(("127.0.0.1", port)).expect("the port is free once the delete is answered");
    }
    let mut rest = [0];
    assert!({ &silent }.read(&mut rest).map_or_else(|e| e.kind() == ErrorKind::ConnectionReset, |n| n == 0));
    busy.join().unwrap();
    let relay = world.http().get("/v1/health").await.json()["relay"].clone();
    assert_eq!(relay["listeners"], 0, "{relay}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_behind_our_back_is_followed_at_the_same_port() {
    let world = Docker::start(&[]).await;
    let c = mimic_with_voice(&world, 7).await;
    let app = port(&c, "app_port");
    let old = dial(app);
    exchange(&old, b"before", 7).unwrap();
    docker(&["restart", "-t", "1", id(&c)]);
    wait_for("the next start is reached", FOLLOWED, || speak(app, 7).is_ok());
    assert!(exchange(&old, b"after", 7).is_err(), "the old connection belongs to the old start");
    let now = world.until(&c, |c| c["status"] == "running").await;
    assert_ne!(now["started_at"], c["started_at"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removal_behind_our_back_closes_the_ports() {
    let world = Docker::start(&[]).await;
    let c = world.http().create("image=spindle/mimic&wake=always").await;
    wait_for_mimic(&c);
    let mut old = dial(port(&c, "app_port"));
    old.write_all(b"x").unwrap();
    docker(&["rm", "-f", id(&c)]);
    wait_for("nobody listens there", FOLLOWED, || host_ports(&c).into_iter().all(|port| try_dial(port).is_err()));
    assert!(exchange(&old, b"anybody?", 0).is_err());
    assert_eq!(world.http().get("/v1/containers").await.json(), Value::Array(vec![]));
}
