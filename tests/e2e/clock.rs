//! The clock is set forward while the server runs, for the server alone.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};

use super::clients::text;
use crate::support::{
    World,
    docker::{Docker, wait_for},
    is,
};

const GRACE: Duration = Duration::from_secs(6);

/// The library that pretends another time to a program, from the package `faketime`.
fn library() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.filter_map(|e| Some(e.ok()?.path()));
    let found = folders.map(|f| f.join("faketime/libfaketimeMT.so.1")).find(|l| l.exists());
    if found.is_none() {
        println!("skipped: setting a clock for the server alone needs the package faketime");
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_set_forward_stops_nobody_who_reports() {
    let Some(library) = library() else { return };
    let mut world = Docker::prepare(None, &[("IDLE_TIMEOUT", "8"), ("RESUME_GRACE", "6")]);
    let offset = world.directory.join("offset");
    fs::write(&offset, "+0s\n").unwrap();
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
    world.spawn();
    world.until_well().await;
    let (reports, silent) =
        (world.http().create("image=spindle/mimic").await, world.http().create("image=spindle/mimic").await);
    let before: Timestamp = text(&silent, "stops_at").parse().unwrap();
    assert!(before < Timestamp::now() + SignedDuration::from_mins(1), "the clock is right at first: {silent}");
    // So that no grace is left from the start.
    wait_for("the grace of the start to end", GRACE * 2, || {
        super::clients::curl_json(&world, &[], "/v1/health", 200)["last_pass"]["no_idle_stops_before"].is_null()
    });
    for c in [&reports, &silent] {
        assert_eq!(world.check_in(c, "active-connections=1").await, 200);
    }
    fs::write(&offset, "+3600s\n").unwrap();
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
    assert!(ended > Timestamp::now() + SignedDuration::from_mins(59), "the clock was set: {stopped}");
    let now = world.http().now(&reports).await;
    assert_eq!((&now["status"], &now["started_at"]), (&reports["status"], &reports["started_at"]), "{now}");
}
