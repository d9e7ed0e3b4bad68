//! The policy of stopping and its answers: limits where they are set, extensions, warnings, activity. The real pass
//! against a scripted engine and a manual clock.

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use spindle::engine::{EngineError, fake::Fault};
use support::{
    Body, World,
    scripted::{LIMIT, Scripted, activity, after, container, decisions, left, settle, world},
    uri,
};

async fn extend(w: &Scripted, c: &Value, form: &str) -> support::Answer {
    w.http().send("POST", &format!("{}/extend", uri(c)), Body::Form(form)).await
}

#[tokio::test]
async fn limits_come_from_the_image_then_the_creator_then_whoever_changes_them() {
    let w = world().await;
    w.engine.label_image("spindle/mimic:latest", "idle_timeout", "30");
    w.engine.label_image("spindle/mimic:latest", "max_age", "1h");
    w.engine.label_image("spindle/mimic:latest", "evidence", "check_in");
    let by_image = w.http().create("image=spindle/mimic").await;
    assert_eq!((&by_image["idle_timeout"], &by_image["max_age"]), (&json!(30), &json!(3_600)));
    assert_eq!((&by_image["evidence"], &by_image["connection_cap"]), (&json!("check_in"), &json!(86_400)));
    let by_creator = w.http().create("image=spindle/mimic&idle_timeout=40&max_age=never").await;
    assert_eq!((&by_creator["idle_timeout"], &by_creator["max_age"]), (&json!(40), &json!("never")));
    let body = Body::Json(json!({"idle_timeout": 50, "max_age": 600}));
    let changed = w.http().send("PATCH", uri(&by_creator), body).await.expect(200).json();
    assert_eq!((&changed["idle_timeout"], &changed["max_age"], left(&w, &changed)), (&json!(50), &json!(600), 50));
    let plain = w.http().create("image=spindle/mimic:twin").await;
    assert_eq!((&plain["idle_timeout"], &plain["max_age"]), (&json!(LIMIT), &json!("never")));
    w.engine.label_image("spindle/mimic:twin", "max_age", "0");
    let message = w
        .http()
        .send("POST", "/v1/containers", Body::Form("image=spindle/mimic:twin"))
        .await
        .expect_error(400, "invalid_field");
    assert!(message.contains("label spindle.max_age") && message.contains("\"0\""), "{message}");
}

#[tokio::test]
async fn bad_policies_are_refused_and_change_nothing() {
    let w = world().await;
    let c = w.http().create("image=spindle/mimic").await;
    for (field, value) in [
        ("idle_timeout", "0"),
        ("idle_timeout", "2"),
        ("max_age", "soon"),
        ("keep_until", "yesterday"),
        ("keep_until", "2020-01-01T00:00:00Z"),
        ("evidence", "cpu=0"),
        ("warn_before", "-1"),
    ] {
        let body = Body::Json(json!({field: value, "wake": "never", "status": "stopped"}));
        let message = w.http().send("PATCH", uri(&c), body).await.expect_error(400, "invalid_field");
        assert!(message.contains(field) && message.contains(value.trim_end_matches("T00:00:00Z")), "{message}");
    }
    assert_eq!(w.http().now(&c).await, c, "what is refused changes nothing");
    extend(&w, &c, "for=later").await.expect_error(400, "invalid_field");
    w.http().send("DELETE", &format!("{}/activity", uri(&c)), Body::None).await.expect_error(405, "method_not_allowed");
    w.http().get(&format!("{}/reasons", uri(&c))).await.expect_error(404, "not_found");
    w.http().get("/v1/containers/nobody/activity").await.expect_error(404, "container_not_found");
}

#[tokio::test]
async fn an_extension_is_evidence_by_a_person_and_told_with_who_it_was() {
    let w = world().await;
    let c = w.http().create("image=spindle/mimic").await;
    w.pass_seconds(50).await;
    let kept = extend(&w, &c, "").await.expect(200).json();
    assert_eq!(left(&w, &kept), LIMIT as i64, "one limit");
    assert_eq!(kept["extended"]["by"], "admin");
    let kept = extend(&w, &c, "for=5m").await.expect(200).json();
    assert_eq!((left(&w, &kept), &kept["keep_until"]), (300, &kept["stops_at"]));
    let shorter = extend(&w, &c, "for=10").await.expect(200).json();
    assert_eq!(left(&w, &shorter), 300, "it shortens nothing");
    let activity = activity(&w, &c).await;
    assert!(activity["why"].as_str().unwrap().starts_with("active: kept by admin, 0 s ago; kept until"), "{activity}");
    assert_eq!(activity["sources"][2]["count"], 3);
    w.pass_seconds(299).await;
    assert_eq!(w.http().now(&c).await["status"], "running");
    w.pass_seconds(2).await;
    settle(&w, &c, "stopped").await;
    extend(&w, &c, "").await.expect_error(409, "not_running");
    w.check().await;
}

#[tokio::test]
async fn nobody_keeps_it_beyond_its_age_and_its_age_needs_no_silence() {
    let w = world().await;
    let c = w.http().create("image=spindle/mimic&max_age=100").await;
    let message = extend(&w, &c, "for=101").await.expect_error(400, "invalid_field");
    assert!(message.contains("max_age") && message.contains("1 min 40 s"), "{message}");
    let (status, answer) = w.check_in_at(&c, "/v1/check-in", "keep=2h", "").await;
    assert!(status == 400 && answer.contains("max_age"), "{status} {answer}");
    let until = (support::scripted::now(&w) + Duration::from_secs(200)).to_string();
    w.http().patch(&c, &format!("keep_until={until}")).await.expect_error(400, "invalid_field");
    extend(&w, &c, "for=80").await.expect(200);
    for _ in 0..9 {
        w.check_in(&c, "active=1").await;
        w.pass_seconds(11).await;
    }
    let why = activity(&w, &c).await["why"].as_str().unwrap().to_owned();
    assert!(why.contains("used or not: it may run for 1 min 40 s (max_age)"), "{why}");
    w.pass_seconds(2).await;
    let stopped = settle(&w, &c, "stopped").await;
    assert_eq!(stopped["stopped_reason"], "max_age");
    let again = w.http().patch(&c, "status=running").await.expect(200).json();
    assert_eq!(left(&w, &again), LIMIT as i64, "a start is a new life");
}

#[tokio::test]
async fn those_inside_can_keep_it_for_as_long_as_they_may() {
    let w = world().await;
    let c = w.http().create("image=spindle/mimic").await;
    let keep = |body: &'static str| w.check_in_at(&c, "/v1/check-in", body, "");
    let (status, answer) = keep("keep=10m").await;
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let now = w.http().now(&c).await;
    assert_eq!((status, &answer["stops_at"], left(&w, &now)), (200, &now["stops_at"], 600));
    assert_eq!((&now["extended"]["by"], &now["active"]), (&json!("inside"), &json!("0")));
    assert_eq!(
        left(&w, &{
            keep("keep=3d&active=2").await;
            w.http().now(&c).await
        }),
        3_600,
        "SPINDLE_KEEP_MAX"
    );
    assert_eq!(w.http().now(&c).await["active"], "2");
    for bad in ["keep=0", "keep=", "keep=tomorrow", "keep=1h&active=x"] {
        assert_eq!(keep(bad).await.0, 400, "{bad}");
    }
    let stranger = support::Http::new(w.door.base.clone());
    let answer = stranger.bare("POST", "/v1/check-in", Body::Form("keep=1h"), &[]).await.expect(200);
    assert_eq!(answer.text, "", "a stranger learns nothing");
}

/// Whoever is inside can say it as often as they like; what was decided before is not hidden by that.
#[tokio::test]
async fn who_keeps_it_again_and_again_hides_nothing() {
    let w = world().await;
    let c = w.http().create("image=spindle/mimic").await;
    extend(&w, &c, "for=2m").await.expect(200);
    for _ in 0..120 {
        assert_eq!(w.check_in_at(&c, "/v1/check-in", "keep=30s", "").await.0, 200);
    }
    let seen = activity(&w, &c).await;
    assert_eq!(decisions(&seen), ["extended"]);
    assert_eq!(seen["extended"]["by"], "admin", "whose wish reaches furthest");
}

#[tokio::test]
async fn a_creator_may_keep_it_and_what_was_set_can_be_unset() {
    let w = world().await;
    let until = (support::scripted::now(&w) + Duration::from_mins(10)).to_string();
    let c = w.http().create(&format!("image=spindle/mimic&keep_until={until}&idle_timeout=30")).await;
    assert_eq!(left(&w, &c), 600);
    let unset = w.http().patch(&c, "keep_until=none&idle_timeout=default").await.expect(200).json();
    assert_eq!((&unset["idle_timeout"], left(&w, &unset)), (&json!(LIMIT), LIMIT as i64));
    let why = &activity(&w, &c).await["decisions"][0]["why"];
    assert!(why.as_str().unwrap().starts_with("idle_timeout=default, keep_until=none by admin; "), "{why}");
    for (form, field) in [("keep_until=2020-01-01T00:00:00Z", "keep_until"), ("evidence=cpu=101&cpus=1", "evidence")] {
        let refused = w.http().send("POST", "/v1/containers", Body::Form(&format!("image=spindle/mimic&{form}"))).await;
        assert!(refused.expect_error(400, "invalid_field").contains(field), "{form}");
    }
}

#[tokio::test]
async fn whoever_is_kept_until_the_end_of_the_calendar_spoils_no_row() {
    let w = world().await;
    let c = w.http().create("image=spindle/mimic").await;
    w.http().patch(&c, "keep_until=9999-12-30T22:00:00.999999999Z").await.expect(200);
    assert_eq!(w.http().now(&c).await["keep_until"], "9999-12-30T22:00:00.000Z");
}

#[tokio::test]
async fn activity_says_why_and_on_what_and_what_was_decided() {
    let w = world().await;
    let c = w.http().create("image=spindle/mimic:udp").await;
    let fresh = activity(&w, &c).await;
    assert!(
        fresh["why"].as_str().unwrap().starts_with("active: started 0 s ago; stops at 09:01:00 UTC unless used"),
        "{fresh}"
    );
    assert_eq!((&fresh["check_ins"]["state"], &fresh["stops_for"]), (&json!("never"), &json!("idle")));
    let seen: Vec<_> = fresh["ports"].as_array().unwrap().iter().map(|p| p["seen"].as_bool().unwrap()).collect();
    assert_eq!((seen, fresh["note"].is_string()), (vec![true, false], true), "nobody sees udp: {fresh}");
    w.pass_seconds(50).await;
    w.check_in(&c, "active=3").await;
    w.pass_seconds(15).await;
    let kept = activity(&w, &c).await;
    assert_eq!(decisions(&kept), ["kept"]);
    assert_eq!(
        (&kept["decisions"][0]["evidence"], &kept["check_ins"]["state"]),
        (&json!("check_in"), &json!("ceased"))
    );
    assert!(kept["why"].as_str().unwrap().starts_with("active: it reported 3, 15 s ago"), "{kept}");
    w.pass_seconds(LIMIT).await;
    let stopped = settle(&w, &c, "stopped").await;
    let after = activity(&w, &c).await;
    assert_eq!((&after["why"], decisions(&after)[0]), (&stopped["why"], "stopped"));
    assert!(
        stopped["why"].as_str().unwrap().contains("idle since 09:00:50 UTC (the last was a check-in)"),
        "{stopped}"
    );
    w.http().patch(&c, "status=running").await.expect(200);
    w.http().patch(&c, "status=stopped").await.expect(200);
    settle(&w, &c, "stopped").await;
    assert_eq!(activity(&w, &c).await["decisions"][0]["why"], "somebody asked for it through the API");
}

#[tokio::test]
async fn only_the_newest_hundred_decisions_are_kept() {
    let w = world().await;
    let c = w.http().create("image=spindle/mimic").await;
    for _ in 0..110 {
        extend(&w, &c, "").await.expect(200);
    }
    assert_eq!(activity(&w, &c).await["decisions"].as_array().unwrap().len(), 100);
}

#[tokio::test]
async fn what_was_refused_during_a_grace_is_told() {
    let mut w = world().await;
    let c = w.http().create("image=spindle/mimic").await;
    w.pass_seconds(LIMIT - 2).await;
    w.settings.policy.idle_limit = after(LIMIT);
    w.settings.resume_grace = Duration::from_secs(30);
    w.restart().await;
    w.pass_seconds(10).await;
    let held = activity(&w, &c).await;
    assert_eq!(decisions(&held), ["refused"]);
    assert!(held["why"].as_str().unwrap().contains("could not see whether it is used"), "{held}");
    assert!(held["no_idle_stops_before"].is_string());
}

/// Cpu use counts where somebody says so, and nowhere else.
#[tokio::test]
async fn cpu_counts_only_where_it_was_asked_for() {
    let w = world().await;
    let trains = w.http().create("image=spindle/mimic&evidence=check_in,cpu=50").await;
    let plain = w.http().create("image=spindle/mimic").await;
    let sleeps = w.http().create("image=spindle/mimic&evidence=cpu").await;
    for second in 0..3 * LIMIT {
        for c in [&trains, &plain] {
            w.engine.use_cpu(&container(c), Duration::from_millis(600));
        }
        w.engine.use_cpu(&container(&sleeps), Duration::from_millis(5));
        w.pass_seconds(1).await;
        tokio::task::yield_now().await;
        assert_eq!(w.http().now(&trains).await["status"], "running", "after {second} s");
    }
    assert_eq!(settle(&w, &plain, "stopped").await["stopped_reason"], "idle");
    settle(&w, &sleeps, "stopped").await;
    assert!(activity(&w, &trains).await["why"].as_str().unwrap().contains("used the cpu"));
}

/// Nothing is stopped for using no cpu when nobody could look.
#[tokio::test]
async fn cpu_that_could_not_be_looked_at_stops_nobody() {
    let w = world().await;
    let c = w.http().create("image=spindle/mimic&evidence=cpu").await;
    for _ in 0..10_000 {
        w.engine.next("cpu_time", Fault::Fail(EngineError::Refused("no statistics".into())));
    }
    w.pass_seconds(2 * LIMIT).await;
    assert_eq!(w.http().now(&c).await["status"], "running");
}

/// What ends while the engine is away was ended by it, as far as anybody can tell.
#[tokio::test]
async fn what_the_engine_took_with_it_is_told_from_what_ended_by_itself() {
    let w = world().await;
    let c = w.http().create("image=spindle/mimic").await;
    w.engine.set_away(true);
    w.pass_seconds(2).await;
    w.stop_behind_back(&c).await;
    w.engine.set_away(false);
    assert_eq!(settle(&w, &c, "stopped").await["stopped_reason"], "engine");
    let other = w.http().create("image=spindle/mimic").await;
    w.pass_seconds(2).await;
    w.stop_behind_back(&other).await;
    assert_eq!(settle(&w, &other, "stopped").await["stopped_reason"], "exited");
}
