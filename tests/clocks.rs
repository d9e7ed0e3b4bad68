//! A clock that is set: what has passed is what it was, through restarts too.

mod support;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use support::{
    World,
    scripted::{Scripted, now, settle, world},
};

const YEAR: SignedDuration = SignedDuration::from_hours(365 * 24);

/// Sets the clock, while no time passes.
fn set(w: &Scripted, by: SignedDuration) {
    w.clock.set(now(w) + by);
}

fn instant(shown: &Value, key: &str) -> Timestamp {
    shown[key].as_str().unwrap_or_else(|| panic!("{key}: {shown}")).parse().unwrap()
}

async fn is_running(w: &Scripted, c: &Value) -> bool {
    w.http().now(c).await["status"] == "running"
}

#[tokio::test]
async fn an_age_is_what_has_passed_however_the_clock_was_set() {
    for by in [YEAR, -YEAR, SignedDuration::from_secs(40), SignedDuration::from_secs(-40)] {
        let w = world().await;
        let c = w.http().create("image=spindle/mimic&idle_timeout=never&max_age=100").await;
        w.pass_seconds(60).await;
        set(&w, by);
        w.pass_seconds(39).await;
        assert!(is_running(&w, &c).await, "it has run for 99 s, and the clock was set by {by}");
        let shown = w.http().now(&c).await;
        assert_eq!(instant(&shown, "started_at"), now(&w) - Duration::from_secs(99), "{shown}");
        w.pass_seconds(1).await;
        assert_eq!(settle(&w, &c, "stopped").await["stopped_reason"], "max_age");
    }
}

#[tokio::test]
async fn a_wish_lasts_as_long_as_it_was_made_for_and_an_instant_stays() {
    for by in [YEAR, -YEAR] {
        let w = world().await;
        let [wished, named] =
            [w.http().create("image=spindle/mimic").await, w.http().create("image=spindle/mimic").await];
        w.pass_seconds(6).await;
        let until = now(&w) + by + Duration::from_mins(5);
        if until > now(&w) {
            w.http().patch(&named, &format!("keep_until={until}")).await.expect(200);
        }
        w.http().send("POST", &format!("{}/extend", support::uri(&wished)), support::Body::Form("for=200")).await;
        set(&w, by);
        w.pass_seconds(199).await;
        assert!(is_running(&w, &wished).await, "the clock was set by {by}");
        assert_eq!(is_running(&w, &named).await, by.is_positive(), "the clock was set by {by}");
        w.pass_seconds(1).await;
        settle(&w, &wished, "stopped").await;
        if by.is_positive() {
            assert_eq!(instant(&w.http().now(&named).await, "keep_until"), until);
            w.pass_seconds(99).await;
            assert!(is_running(&w, &named).await);
            w.pass_seconds(1).await;
            settle(&w, &named, "stopped").await;
        }
    }
}

/// While nobody was there to see it; only another start of the machine leaves nothing to measure by.
#[tokio::test]
async fn a_clock_that_is_set_while_the_server_is_down_changes_no_age() {
    for by in [YEAR, -YEAR] {
        let mut w = world().await;
        let c = w.http().create("image=spindle/mimic&idle_timeout=never&max_age=100").await;
        w.pass_seconds(60).await;
        set(&w, by);
        w.clock.advance(Duration::from_secs(10));
        w.begin_anew().await;
        w.pass_seconds(29).await;
        assert!(is_running(&w, &c).await, "it has run for 99 s, and the clock was set by {by}");
        w.pass_seconds(1).await;
        assert_eq!(settle(&w, &c, "stopped").await["stopped_reason"], "max_age");
    }
}

/// A correction restates what is recorded as well, and is no reason for a grace.
#[tokio::test]
async fn a_correction_brings_no_grace() {
    let w = world().await;
    let c = w.http().create("image=spindle/mimic&idle_timeout=never&max_age=100").await;
    w.pass_seconds(99).await;
    set(&w, SignedDuration::from_secs(-8));
    w.pass_seconds(1).await;
    assert_eq!(settle(&w, &c, "stopped").await["stopped_reason"], "max_age");
}
