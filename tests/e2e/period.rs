//! How often a sandbox reports: the lab images do as the setting says, and the limit of any other follows what is seen.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{clients::text, doctor::finding};
use crate::support::{
    World,
    docker::{Docker, docker, wait_for},
    id, uri,
};

fn instant(container: &Value, key: &str) -> Timestamp {
    text(container, key).parse().unwrap()
}

async fn pass_until(at: Timestamp) {
    while Timestamp::now() < at {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn check_ins(world: &Docker, c: &Value) -> Value {
    world.http().get(&format!("{}/activity", uri(c))).await.expect(200).json()["check_ins"].clone()
}

/// The reporter of a stock image would wait for a minute by itself, and what works without a connection be stopped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lab_images_report_as_often_as_the_setting_says() {
    let mut world = Docker::start(&[("REPORT_PERIOD", "2"), ("RESUME_GRACE", "2"), ("IDLE_TIMEOUT", "6")]).await;
    let c = world.http().create("image=spindle/base").await;
    let busy = "printf '#!/bin/sh\\necho 1\\n' >/etc/spindle/report.d/job && chmod 755 /etc/spindle/report.d/job";
    docker(&["exec", id(&c), "sh", "-c", busy]);
    pass_until(instant(&c, "started_at") + SignedDuration::from_secs(12)).await;
    let now = world.http().now(&c).await;
    assert_eq!((&now["status"], &now["started_at"], &now["active"]), (&c["status"], &c["started_at"], &"1".into()));
    let period = check_ins(&world, &c).await["period"].as_u64();
    assert!(period.is_some_and(|period| (1..=5).contains(&period)), "{period:?}");
    // Another setting reaches who runs already.
    world.set("REPORT_PERIOD", "1");
    world.restart().await;
    wait_for("the other period", Duration::from_secs(10), || {
        docker(&["exec", id(&c), "cat", "/run/spindle/report_period"]) == "1"
    });
}

/// Where a report of a rare reporter is lost, who works is not stopped for that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_limit_of_who_reports_rarely_follows_what_is_seen() {
    let world = Docker::start(&[]).await;
    let c = world.http().create("image=spindle/mimic&idle_timeout=6").await;
    let mut last = Timestamp::now();
    for number in 0..3 {
        pass_until(last + SignedDuration::from_millis(if number > 0 { 3_500 } else { 0 })).await;
        assert!(docker(&["exec", id(&c), "mimic", "check-in", "1"]).starts_with("200"));
        last = instant(&world.http().now(&c).await, "last_check_in_at");
    }
    // The next one is lost: for longer than the limit, a pass and a grace nothing is heard.
    pass_until(last + SignedDuration::from_millis(7_500)).await;
    let now = world.http().now(&c).await;
    assert_eq!((&now["status"], &now["started_at"]), (&c["status"], &c["started_at"]), "{now}");
    let told = format!("it is seen to report every {} s only, so that its limit is ", now["report_period"]);
    assert!(text(&now, "why").contains(&told), "{now}");
    assert_eq!(check_ins(&world, &c).await["needed"], 2);
    let found = finding(&world, "reports");
    let told = "rarer than the limit needs: spindle/mimic, every ";
    assert!(found["status"] == "warn" && text(&found, "found").starts_with(told), "{found}");
}
