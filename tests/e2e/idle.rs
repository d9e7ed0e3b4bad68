//! The idle stop for real, with limits of seconds.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::clients::text;
use crate::support::{
    World,
    docker::{Docker, docker},
    id,
};

fn instant(container: &Value, key: &str) -> Timestamp {
    text(container, key).parse().unwrap()
}

fn check_in(container: &Value) {
    assert!(docker(&["exec", id(container), "mimic", "check-in", "1"]).starts_with("200"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_silent_are_stopped_in_time_and_the_busy_are_kept() {
    let world = Docker::start(&[]).await;
    let limit = SignedDuration::from_secs(8);
    let silent = world.http().create("image=spindle/mimic&idle_timeout=8").await;
    let busy = world.http().create("image=spindle/mimic&idle_timeout=8").await;
    let long = instant(&busy, "stops_at") + limit;
    // Well beyond the limit, as every report moves it on.
    while Timestamp::now() < long {
        check_in(&busy);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let now = world.http().now(&busy).await;
    assert_eq!(now["status"], "running");
    assert!(instant(&now, "stops_at") > long);
    let stopped = world.http().now(&silent).await;
    assert_eq!((text(&stopped, "status"), text(&stopped, "stopped_reason")), ("stopped", "idle"));
    let (started, ended) = (instant(&silent, "started_at"), instant(&stopped, "stopped_at"));
    assert!(ended >= started + limit, "stopped too early: {started} {ended}");
    // One pass, one grace of a second each, and what the stop itself takes.
    assert!(ended < started + limit + SignedDuration::from_secs(5), "stopped too late: {started} {ended}");
    assert_eq!(world.inspect(&silent)["State"]["Running"], false);
    assert_eq!(world.held().await.len(), 2, "a stop never deletes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_that_passed_while_the_server_was_away_waits_for_a_report() {
    let mut world = Docker::start(&[("RESUME_GRACE", "5"), ("IDLE_TIMEOUT", "5")]).await;
    let (reports, silent) =
        (world.http().create("image=spindle/mimic").await, world.http().create("image=spindle/mimic").await);
    assert_eq!(world.end("KILL"), None);
    while Timestamp::now() < instant(&silent, "stops_at") + SignedDuration::from_secs(1) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let back = Timestamp::now();
    world.spawn();
    world.until_well().await;
    for c in [&reports, &silent] {
        let now = world.http().now(c).await;
        assert_eq!((&now["status"], &now["stops_at"]), (&c["status"], &c["stops_at"]), "the clock goes on as it was");
    }
    let mut now = world.http().now(&silent).await;
    while now["status"] != "stopped" {
        check_in(&reports);
        now = world.http().now(&silent).await;
    }
    assert_eq!(now["stopped_reason"], "idle");
    assert!(instant(&now, "stopped_at") >= back + SignedDuration::from_secs(5), "before the grace was over: {now}");
    assert_eq!(world.http().now(&reports).await["status"], "running");
}

/// People stop and start while passes go on and deadlines come: the last word holds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stops_and_starts_during_passes_has_the_last_word() {
    let world = Docker::start(&[("CONVERGE_EVERY", "1"), ("STOP_GRACE", "1")]).await;
    let c = world.http().create("image=spindle/mimic&idle_timeout=3").await;
    let until = Timestamp::now() + SignedDuration::from_secs(15);
    let mut turns = 0;
    while Timestamp::now() < until {
        world.http().patch(&c, "status=stopped").await.expect(200);
        let started = world.http().patch(&c, "status=running").await.expect(200).json();
        assert_eq!(started["status"], "running");
        let left = instant(&started, "stops_at").duration_since(Timestamp::now());
        assert!(left > SignedDuration::from_secs(1), "a start has its whole limit before it: {started}");
        // Every third time its deadline comes in between.
        turns += 1;
        if turns % 3 == 0 {
            world.until(&c, |c| c["status"] == "stopped" && c["stopped_reason"] == "idle").await;
        }
    }
    assert!(turns >= 3, "{turns} turns");
    let running = world.http().patch(&c, "status=running").await.expect(200).json();
    check_in(&running);
    assert_eq!(world.http().now(&c).await["status"], "running");
}
