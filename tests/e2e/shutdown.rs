//! SIGTERM: what is under way is finished, and the sandboxes go on.

use std::{
    io::Write,
    net::TcpStream,
    time::{Duration, Instant},
};

use serde_json::json;

use super::clients::wait_for_mimic;
use crate::support::{
    Body, World,
    docker::{Docker, wait_for},
    id, is,
};

/// What the server is given from the signal to its end: ten seconds for work, and two to put things away.
const END: Duration = Duration::from_secs(12);

/// What it gives to work that is under way.
const GRACE: Duration = Duration::from_secs(10);

#[track_caller]
fn ends_well(world: &mut Docker, within: Duration) {
    let asked = Instant::now();
    assert_eq!(world.end("TERM"), Some(0), "{}", world.log());
    assert!(asked.elapsed() < within, "it took {:?}", asked.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_create_under_way_is_finished_and_everything_survives() {
    let mut world = Docker::start(&[]).await;
    let old = world.http().create("image=spindle/mimic").await;
    wait_for_mimic(&old);
    let started = world.inspect(&old)["State"]["StartedAt"].clone();
    let http = world.http().clone();
    let create = tokio::spawn(async move { http.create("image=spindle/mimic").await });
    let held = format!("label=spindle.deployment={}", world.deployment);
    wait_for("the second container", Duration::from_secs(20), || {
        world.docker(&["ps", "-aq", "--filter", &held]).lines().count() == 2
    });
    ends_well(&mut world, END);
    let new = create.await.unwrap();
    world.spawn();
    world.until_well().await;
    let listed = world.http().get("/v1/containers").await.expect(200).json();
    let mut both = [listed, json!([old, new])];
    // It counts the seconds since the start.
    let shown = both.iter_mut().flat_map(|list| list.as_array_mut().unwrap());
    shown.for_each(|shown| drop(shown.as_object_mut().unwrap().remove("why").unwrap()));
    assert_eq!(both[0], both[1], "the same, to the millisecond of stops_at");
    assert_eq!(world.inspect(&old)["State"]["StartedAt"], started, "it ran through");
    wait_for_mimic(&new);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_its_turn_is_refused_and_leaves_nothing() {
    let mut world = Docker::start(&[("START_CONCURRENCY", "1")]).await;
    let ask = |_| {
        let http = world.http().clone();
        tokio::spawn(async move { http.send("POST", "/v1/containers", Body::Form("image=spindle/mimic")).await })
    };
    let asked: Vec<_> = (0..6).map(ask).collect();
    let in_line = "SELECT count(*) FROM sandboxes";
    wait_for("all in line", Duration::from_secs(20), || super::records::count(&world, in_line) == 6);
    ends_well(&mut world, END);
    let mut made = Vec::new();
    for answer in asked {
        let answer = answer.await.unwrap();
        if answer.status == 201 {
            made.push(id(&answer.json()).to_owned());
        } else {
            answer.expect_error(503, "shutting_down");
        }
    }
    world.spawn();
    world.until_well().await;
    let listed = world.http().get("/v1/containers").await.json();
    let mut listed: Vec<String> = listed.as_array().unwrap().iter().map(|c| id(c).to_owned()).collect();
    let mut held = world.held().await;
    for list in [&mut made, &mut listed, &mut held] {
        list.sort();
    }
    assert_eq!((&listed, &held), (&made, &made));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_on_which_nothing_is_under_way_do_not_hold_it_up() {
    let mut world = Docker::start(&[]).await;
    // The client keeps its connection for the next request; another never sent one.
    world.http().get("/v1/containers").await.expect(200);
    let silent = TcpStream::connect(format!("127.0.0.1:{}", world.setting("PORT"))).unwrap();
    ends_well(&mut world, GRACE);
    drop(silent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_half_sent_requests_nor_a_stubborn_sandbox_hold_it_up_for_ever() {
    let mut world = Docker::start(&[]).await;
    let body = json!({"image": "spindle/mimic", "env": {"MIMIC_IGNORE_TERM": "1"}});
    let c = world.http().send("POST", "/v1/containers", Body::Json(body)).await.expect(201).json();
    let mut half = TcpStream::connect(format!("127.0.0.1:{}", world.setting("PORT"))).unwrap();
    half.write_all(b"POST /v1/containers HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nimage").unwrap();
    world.http().patch(&c, "status=stopped").await.expect(200);
    ends_well(&mut world, END);
    drop(half);
    world.spawn();
    world.until_well().await;
    let stopped = world.until(&c, is("stopped")).await;
    assert_eq!(stopped["stopped_reason"], "requested", "the intent outlives the server that had it");
    assert_eq!(world.inspect(&c)["State"]["Running"], false);
}
