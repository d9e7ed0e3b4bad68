//! The clock is set while the server runs, for the server alone.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};

use super::clients::{curl_json, text, wait_for_mimic};
use crate::support::{
    World,
    docker::{Docker, wait_for},
    is, uri,
};

const GRACE: Duration = Duration::from_secs(6);

/// In seconds.
const YEAR: i64 = 365 * 86_400;

/// The library that pretends another time to a program, from the package `faketime`.
fn library() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.filter_map(|e| Some(e.ok()?.path()));
    let found = folders.map(|f| f.join("faketime/libfaketimeMT.so.1")).find(|l| l.exists());
    if found.is_none() {
        println!("skipped: setting a clock for the server alone needs the package faketime");
    }
    found
}

/// Sets the server's clock apart from the machine's, by so many seconds.
fn set(world: &Docker, seconds: i64) {
    fs::write(world.directory.join("offset"), format!("{seconds:+}s\n")).unwrap();
}

/// A server, not started, whose clock can be set, and is so many seconds ahead.
fn set_apart(ahead: i64) -> Option<Docker> {
    let library = library()?;
    let mut world = Docker::prepare(None, &[("IDLE_TIMEOUT", "8"), ("RESUME_GRACE", "6")]);
    let offset = world.directory.join("offset");
    set(&world, ahead);
    // What elapses stays true, as it does when a clock is set; files keep their dates.
    world.environment = [
        ("LD_PRELOAD", library.to_str().unwrap()),
        ("FAKETIME_TIMESTAMP_FILE", offset.to_str().unwrap()),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("NO_FAKE_STAT", "1"),
    ]
    .map(|(k, v)| (k.to_owned(), v.to_owned()))
    .into();
    Some(world)
}

/// A server whose clock can be set, and is so many seconds ahead. No grace is left from its start.
async fn server(ahead: i64) -> Option<Docker> {
    let mut world = set_apart(ahead)?;
    world.spawn();
    world.until_well().await;
    wait_for("the grace of the start to end", GRACE * 2, || {
        curl_json(&world, &[], "/v1/health", 200)["last_pass"]["no_idle_stops_before"].is_null()
    });
    Some(world)
}

/// Forward by more than the machine is up: what runs was still started by this machine's present start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_set_forward_stops_nobody_who_reports() {
    let Some(world) = server(0).await else { return };
    let (reports, silent) =
        (world.http().create("image=spindle/mimic").await, world.http().create("image=spindle/mimic").await);
    let aged = world.http().create("image=spindle/mimic&idle_timeout=never&max_age=3600").await;
    let before: Timestamp = text(&silent, "stops_at").parse().unwrap();
    assert!(before < Timestamp::now() + SignedDuration::from_mins(1), "the clock is right at first: {silent}");
    for c in [&reports, &silent] {
        assert_eq!(world.check_in(c, "active-connections=1").await, 200);
    }
    set(&world, YEAR);
    let jumped = Instant::now();
    while world.http().now(&silent).await["status"] == "running" {
        assert_eq!(world.check_in(&reports, "active-connections=1").await, 200);
        assert!(jumped.elapsed() < GRACE * 3, "the silent one is kept for ever");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(jumped.elapsed() >= GRACE, "stopped within the grace, after {:?}", jumped.elapsed());
    let stopped = world.until(&silent, is("stopped")).await;
    assert_eq!(stopped["stopped_reason"], "idle");
    let ended: Timestamp = text(&stopped, "stopped_at").parse().unwrap();
    assert!(ended > Timestamp::now() + SignedDuration::from_secs(YEAR - 60), "the clock was set: {stopped}");
    let now = world.http().now(&reports).await;
    assert_eq!(now["status"], "running", "{now}");
    let [was, is]: [Timestamp; 2] = [&reports, &now].map(|c| text(c, "started_at").parse().unwrap());
    let set_by = is.duration_since(was).as_secs();
    assert!((set_by - YEAR).abs() <= 1, "it began when it began: {now}");
    wait_for_mimic(&now);
    assert_eq!(world.http().now(&aged).await["status"], "running", "it is no hour old");
}

/// A clock that was ahead and is set right keeps nobody until it is there again. Passes go on, with no deadline near.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_set_back_keeps_nobody_for_longer() {
    let Some(world) = server(YEAR).await else { return };
    let made = world.http().create("image=spindle/mimic&idle_timeout=600").await;
    assert_eq!(world.check_in(&made, "active-connections=1").await, 200);
    set(&world, 0);
    let soon = Timestamp::now() + SignedDuration::from_mins(15);
    wait_for("a pass by the new clock", Duration::from_secs(30), || {
        text(&curl_json(&world, &[], uri(&made), 200), "stops_at").parse::<Timestamp>().unwrap() < soon
    });
    world.http().patch(&made, "idle_timeout=8").await.expect(200);
    let stopped = world.until(&made, is("stopped")).await;
    assert_eq!(stopped["stopped_reason"], "idle");
    let ended: Timestamp = text(&stopped, "stopped_at").parse().unwrap();
    assert!(ended < Timestamp::now() + SignedDuration::from_mins(1), "the clock is right: {stopped}");
    assert!(world.log().contains("the clock was set"));
}

/// As of a board without a battery: neither HTTP nor the schedule knows such a time, so that whoever starts it is told.
#[test]
fn a_clock_before_1970_is_told_at_the_start() {
    let Some(mut world) = set_apart(-(Timestamp::now().as_second() + YEAR)) else { return };
    world.spawn();
    wait_for("a sentence", Duration::from_secs(20), || world.log().contains("must show a time after 1970; set it"));
    assert_eq!(world.end("TERM"), Some(1));
    assert!(!world.log().contains("panicked"), "{}", world.log());
}
