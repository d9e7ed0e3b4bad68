//! Warnings before a stop: when, to whom, and what if they cannot be given. The real pass against a scripted engine and a
//! manual clock.

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use spindle::{
    domain::Zone,
    engine::{EngineError, fake::Fault},
};
use support::{
    Body, World,
    scripted::{LIMIT, Scripted, TestApp, activity, after, container, decisions, left, settle},
};

/// A world with a lead of 20 s, in which only the test makes passes.
async fn warned() -> Scripted {
    let mut app = TestApp { loops: false, ..TestApp::default() };
    app.settings.policy.idle_limit = after(LIMIT);
    app.settings.policy.warn_before = after(20);
    app.settings.resume_grace = Duration::from_secs(5);
    app.start().await
}

/// Waits until the engine has been asked to announce so many times.
async fn announced(w: &Scripted, c: &Value, times: usize) -> Vec<String> {
    for _ in 0..10_000 {
        let said = w.engine.announcements(&container(c));
        if said.len() >= times {
            return said;
        }
        tokio::task::yield_now().await;
    }
    panic!("no announcement");
}

/// Who is used between the decision to warn and its turn is not told that nobody uses it.
#[tokio::test]
async fn a_warning_that_waited_is_not_given_to_those_who_work() {
    let w = warned().await;
    let mut all = Vec::new();
    for _ in 0..20 {
        w.engine.next("announce", Fault::Hang);
        all.push(w.http().create("image=spindle/mimic").await);
    }
    w.pass_seconds(41).await;
    while w.engine.calls("announce") < 16 {
        tokio::task::yield_now().await;
    }
    for c in &all {
        w.check_in(c, "active=1").await;
    }
    w.engine.release();
    w.pass_seconds(1).await;
    assert_eq!(w.engine.calls("announce"), 16);
}

#[tokio::test]
async fn those_inside_are_warned_once_for_each_deadline() {
    let w = warned().await;
    let c = w.http().create("image=spindle/mimic").await;
    w.pass_seconds(39).await;
    assert_eq!(w.engine.announcements(&container(&c)).len(), 0);
    w.pass_seconds(1).await;
    let said = announced(&w, &c, 1).await;
    assert!(
        said[0].contains("in 20 s") && said[0].contains("idle since 09:00:00 UTC") && said[0].contains("spindle-keep"),
        "{said:?}"
    );
    w.pass_seconds(5).await;
    w.check_in(&c, "active=1").await;
    w.pass_seconds(39).await;
    assert_eq!(announced(&w, &c, 1).await.len(), 1, "once");
    w.pass_seconds(1).await;
    announced(&w, &c, 2).await;
    w.pass_seconds(21).await;
    settle(&w, &c, "stopped").await;
    let seen = activity(&w, &c).await;
    assert_eq!(decisions(&seen)[0], "stopped");
    assert_eq!(decisions(&seen).iter().filter(|d| **d == "warned").count(), 2, "{seen}");
}

/// Who has stopped the terminal (Ctrl-S) is logged in all the same.
#[tokio::test]
async fn a_terminal_that_is_stopped_is_no_absence() {
    let w = warned().await;
    let told = async |reached, stopped| {
        let c = w.http().create("image=spindle/mimic").await;
        w.engine.set_terminals(&container(&c), reached);
        w.engine.stop_terminals(&container(&c), stopped);
        w.pass_seconds(41).await;
        announced(&w, &c, 1).await;
        for _ in 0..10_000 {
            if let Some(warned) = activity(&w, &c).await["decisions"][0]["why"].as_str() {
                return warned.rsplit("; ").next().unwrap().to_owned();
            }
            tokio::task::yield_now().await;
        }
        panic!("nothing was decided");
    };
    assert_eq!(told(0, 0).await, "nobody is logged in");
    assert_eq!(told(0, 1).await, "nobody could be told: 1 terminal stopped (Ctrl-S)");
    assert_eq!(told(2, 1).await, "told on 2 terminals, 1 terminal stopped (Ctrl-S)");
    assert_eq!(told(1, 0).await, "told on 1 terminal");
}

/// A warning that cannot be given, or that takes its time, keeps nobody from stopping, and is told.
#[tokio::test]
async fn a_warning_that_fails_or_hangs_delays_nobody() {
    let w = warned().await;
    let (fails, hangs) = (w.http().create("image=spindle/mimic").await, w.http().create("image=spindle/mimic").await);
    w.engine.next("announce", Fault::Fail(EngineError::Refused("no shell".into())));
    w.engine.next("announce", Fault::Hang);
    w.pass_seconds(42).await;
    w.http().patch(&hangs, "status=stopped").await.expect(200);
    settle(&w, &hangs, "stopped").await;
    w.pass_seconds(20).await;
    settle(&w, &fails, "stopped").await;
    let seen = [activity(&w, &fails).await, activity(&w, &hangs).await];
    assert!(seen.iter().any(|a| a.to_string().contains("nobody could be told: no shell")), "{seen:?}");
    w.engine.release();
}

/// `FAILURES.md` 35: at once, and never into the past.
#[tokio::test]
async fn a_change_applies_at_once_and_never_into_the_past() {
    let w = warned().await;
    let c = w.http().create("image=spindle/mimic&idle_timeout=1000").await;
    w.pass_seconds(100).await;
    let changed = w.http().patch(&c, "idle_timeout=50").await.expect(200).json();
    assert_eq!(left(&w, &changed), 5, "one grace, not the past");
    assert!(changed["why"].as_str().unwrap().contains("its limits were changed"), "{changed}");
    w.pass_seconds(1).await;
    assert_eq!(announced(&w, &c, 1).await.len(), 1, "and a warning");
    w.pass_seconds(3).await;
    assert_eq!(w.http().now(&c).await["status"], "running");
    w.pass_seconds(2).await;
    assert_eq!(settle(&w, &c, "stopped").await["stopped_reason"], "idle");
    let longer = w.http().create("image=spindle/mimic").await;
    w.pass_seconds(LIMIT - 1).await;
    assert_eq!(left(&w, &w.http().patch(&longer, "idle_timeout=never&max_age=300").await.expect(200).json()), 300 - 59);
    let used = w.http().patch(&longer, "idle_timeout=200").await.expect(200).json();
    assert_eq!(left(&w, &used), 141, "what is still ahead is no past");
}

/// What a container that is created with `body` is told, at ten o'clock in Berlin, and the zone that it has.
async fn told(w: &Scripted, body: Value) -> (String, String) {
    let c = w.http().send("POST", "/v1/containers", Body::Json(body)).await.expect(201).json();
    let (status, answer) = w.check_in_at(&c, "/v1/check-in", "keep=10s", "").await;
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!((status, answer["keep_until"].as_str().unwrap().len()), (200, "2026-11-20T09:00:10.000Z".len()));
    let shown = w.http().now(&c).await;
    assert!(shown["why"].as_str().unwrap().contains(" UTC"), "the API goes on in UTC: {shown}");
    (answer["keep_until_local"].as_str().unwrap().to_owned(), shown["tz"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn those_inside_are_told_times_in_their_own_zone() {
    let mut w = warned().await;
    let image = "spindle/mimic";
    let expected = |time: &str, zone: &str| (format!("2026-11-20 {time}"), zone.to_owned());
    let berlin = expected("10:00:10 CET", "Europe/Berlin");
    assert_eq!(told(&w, json!({"image": image})).await, expected("09:00:10 UTC", "UTC"));
    assert_eq!(told(&w, json!({"image": image, "tz": "europe/berlin"})).await, berlin);
    assert_eq!(told(&w, json!({"image": image, "env": {"TZ": "Europe/Berlin"}})).await, berlin);
    w.engine.label_image("spindle/mimic:latest", "tz", "Asia/Kolkata");
    assert_eq!(told(&w, json!({"image": image})).await, expected("14:30:10 IST", "Asia/Kolkata"), "the image's");
    assert_eq!(told(&w, json!({"image": image, "tz": "Europe/Berlin"})).await, berlin, "the creator's word wins");
    assert_eq!(told(&w, json!({"image": image, "env": {"TZ": ""}})).await, expected("09:00:10 UTC", "UTC"));
    w.settings.zone = Zone::read("America/New_York");
    w.restart().await;
    assert_eq!(told(&w, json!({"image": "spindle/mimic:twin"})).await, expected("04:00:10 EST", "America/New_York"));
    assert_eq!(told(&w, json!({"image": image})).await, expected("14:30:10 IST", "Asia/Kolkata"));
    w.engine.set_image_tz("spindle/mimic:many", "Asia/Tokyo");
    let own = told(&w, json!({"image": "spindle/mimic:many"})).await;
    assert_eq!(own, expected("18:00:10 JST", "Asia/Tokyo"), "what the image's programs take anyway");

    let refused = async |body: Value| {
        w.http().send("POST", "/v1/containers", Body::Json(body)).await.expect_error(400, "invalid_field")
    };
    let unknown = refused(json!({"image": image, "tz": "Berlin"})).await;
    assert!(unknown.contains("tz: \"Berlin\"") && unknown.contains("Europe/Berlin"), "{unknown}");
    let unknown = refused(json!({"image": image, "env": {"TZ": "Mars/Olympus"}})).await;
    assert!(unknown.contains("env.TZ: \"Mars/Olympus\""), "{unknown}");
    let both = refused(json!({"image": image, "tz": "UTC", "env": {"TZ": "Europe/Berlin"}})).await;
    assert!(both.contains("tz: \"UTC\"") && both.contains("Europe/Berlin"), "{both}");
    w.engine.label_image("spindle/mimic:latest", "tz", "Berlin");
    let label = refused(json!({"image": image})).await;
    assert!(label.contains("label spindle.tz: \"Berlin\""), "{label}");
}

#[tokio::test]
async fn a_warning_tells_times_in_the_zone_of_those_inside() {
    let w = warned().await;
    let c = w.http().create("image=spindle/mimic&tz=Asia/Kolkata").await;
    w.pass_seconds(41).await;
    let said = announced(&w, &c, 1).await;
    assert!(said[0].contains("at 14:31:00 IST: idle since 14:30:00 IST"), "{said:?}");
    let old = w.http().create("image=spindle/mimic&tz=Asia/Kolkata&max_age=10").await;
    let (status, answer) = w.check_in_at(&old, "/v1/check-in", "keep=1h", "").await;
    assert!(status == 400 && answer.contains("reaches its max_age at 14:30:51 IST"), "{answer}");
    let message = w.http().send("POST", &format!("{}/extend", support::uri(&old)), Body::Form("for=1h")).await;
    assert!(message.expect_error(400, "invalid_field").contains("09:00:51 UTC"));
}
