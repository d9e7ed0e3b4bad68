//! The law of stopping, through the real gather, decide and apply against a scripted engine and a manual
//! clock. Each test bears the name of the rule or invariant that it holds.

mod support;

use std::{sync::Arc, time::Duration};

use serde_json::Value;
use spindle::{
    app::CheckInDoor,
    domain::IdleLimit,
    engine::{EngineError, fake::Fault},
};
use support::{
    Body, World, is,
    scripted::{Scripted, TestApp},
};

const LIMIT: u64 = 60;

/// A world whose limit is a minute, whose grace is five seconds, and in which only the test makes passes.
async fn world() -> Scripted {
    let mut app = TestApp { loops: false, ..TestApp::default() };
    app.settings.idle_limit = IdleLimit::After(Duration::from_secs(LIMIT));
    app.settings.resume_grace = Duration::from_secs(5);
    app.start().await
}

/// Makes passes, the clock standing still, until the container's status is `status`.
async fn settle(w: &Scripted, container: &Value, status: &str) -> Value {
    for _ in 0..10_000 {
        let now = w.http().now(container).await;
        if now["status"] == status {
            return now;
        }
        w.app.converge().await;
        tokio::task::yield_now().await;
    }
    panic!("never {status}: {}", w.http().now(container).await)
}

/// Makes a number of passes, time standing still, for what must not happen.
async fn passes(w: &Scripted, number: usize) {
    for _ in 0..number {
        w.app.converge().await;
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn only_converge_stops_a_sandbox_for_being_idle() {
    let w = world().await;
    let c = w.http().create("image=spindle/mimic").await;
    w.pass_seconds(LIMIT - 1).await;
    w.clock.advance(Duration::from_secs(10));
    for path in ["/v1/containers", "/v1/health", "/v1/images"] {
        w.http().get(path).await;
    }
    assert_eq!(w.http().now(&c).await["status"], "running", "its deadline has passed, and no pass was made");
    let stopped = settle(&w, &c, "stopped").await;
    assert_eq!(stopped["stopped_reason"], "idle");
    assert_eq!(w.engine.calls("stop"), 1);
    w.check().await;
}

#[tokio::test]
async fn a_report_within_the_limit_keeps_a_sandbox() {
    let w = world().await;
    let used = w.http().create("image=spindle/mimic").await;
    let silent = w.http().create("image=spindle/mimic").await;
    let zeros = w.http().create("image=spindle/mimic").await;
    for _ in 0..10 {
        w.pass_seconds(LIMIT / 2).await;
        w.check_in(&used, "active-connections=1").await;
        w.check_in(&zeros, "active-connections=0").await;
    }
    assert_eq!(w.http().now(&used).await["status"], "running");
    settle(&w, &silent, "stopped").await;
    settle(&w, &zeros, "stopped").await;
    w.check().await;
}

/// Rule 3 and the invariant: evidence that arrives after the decision and before the signal wins. The
/// decision waits behind a hanging stop of another sandbox's claim: here, the pass hangs in its look.
#[tokio::test]
async fn evidence_beats_a_stop_that_was_only_planned() {
    let w = world().await;
    let c = w.http().create("image=spindle/mimic").await;
    w.pass_seconds(LIMIT - 1).await;
    w.clock.advance(Duration::from_secs(5));
    // The pass has read its rows, in which the sandbox is idle, and now waits for the engine.
    w.engine.next("list", Fault::Hang);
    let looks = w.engine.calls("list");
    let app = Arc::clone(&w.app);
    let pass = tokio::spawn(async move { app.converge().await });
    while w.engine.calls("list") == looks {
        tokio::task::yield_now().await;
    }
    w.check_in(&c, "active-connections=1").await;
    w.engine.release();
    let report = pass.await.unwrap();
    assert_eq!(report.steps, 1, "the stop was planned");
    passes(&w, 20).await;
    assert_eq!(w.http().now(&c).await["status"], "running");
    assert_eq!(w.engine.calls("stop"), 0);
    w.check().await;
}

#[tokio::test]
async fn could_not_look_is_never_nothing_there() {
    let w = world().await;
    let c = w.http().create("image=spindle/mimic").await;
    w.engine.set_away(true);
    w.pass_seconds(3 * LIMIT).await;
    assert_eq!(w.http().now(&c).await["status"], "running");
    let refused = w.http().send("POST", "/v1/containers", Body::Form("image=spindle/mimic")).await;
    refused.expect_error(503, "engine_unavailable");
    w.http().patch(&c, "status=stopped").await.expect_error(503, "engine_unavailable");
    w.http().delete(&c).await.expect_error(503, "engine_unavailable");
    assert_eq!(w.http().get("/v1/health").await.expect(503).json()["engine"]["status"], "unavailable");
    w.engine.set_away(false);
    w.pass_seconds(4).await;
    assert_eq!(w.http().now(&c).await["status"], "running", "a grace follows the outage");
    w.http().get("/v1/health").await.expect(200);
    w.pass_seconds(3).await;
    settle(&w, &c, "stopped").await;
    w.check().await;
}

/// A list that fails once forgets nothing, and neither does one that lies by leaving something out.
#[tokio::test]
async fn a_missing_container_is_looked_for_once_more() {
    let w = world().await;
    let c = w.http().create("image=spindle/mimic").await;
    for fault in ["list", "inspect", "info"] {
        w.engine.next(fault, Fault::Fail(EngineError::Refused("scripted".into())));
        w.app.converge().await;
    }
    assert_eq!(w.http().now(&c).await["status"], "running");
    w.remove_behind_back(&c).await;
    w.engine.next("inspect", Fault::Fail(EngineError::Refused("scripted".into())));
    w.app.converge().await;
    w.http().get(support::uri(&c)).await.expect(200);
    w.app.converge().await;
    w.http().get(support::uri(&c)).await.expect(404);
    w.check().await;
}

#[tokio::test]
async fn a_slow_sandbox_delays_nobody() {
    let w = world().await;
    let slow = w.http().create("image=spindle/mimic").await;
    let other = w.http().create("image=spindle/mimic").await;
    w.engine.next("stop", Fault::Hang);
    w.http().patch(&slow, "status=stopped").await.expect(200);
    while w.engine.calls("stop") == 0 {
        tokio::task::yield_now().await;
    }
    w.http().patch(&other, "status=stopped").await.expect(200);
    settle(&w, &other, "stopped").await;
    assert_eq!(w.http().now(&slow).await["status"], "stopping");
    w.engine.release();
    settle(&w, &slow, "stopped").await;
    w.check().await;
}

#[tokio::test]
async fn a_stop_that_fails_is_never_taken_for_done_and_is_tried_again() {
    let w = world().await;
    let c = w.http().create("image=spindle/mimic").await;
    w.engine.next("stop", Fault::Fail(EngineError::Refused("scripted".into())));
    w.engine.next("stop", Fault::Fail(EngineError::Timeout { call: "stop", deadline: Duration::from_secs(1) }));
    w.http().patch(&c, "status=stopped").await.expect(200);
    while w.engine.calls("stop") == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(w.http().now(&c).await["status"], "stopping");
    settle(&w, &c, "stopped").await;
    assert_eq!(w.engine.calls("stop"), 3);
    w.check().await;
}

#[tokio::test]
async fn a_removal_that_fails_is_tried_again() {
    let w = world().await;
    let c = w.http().create("image=spindle/mimic").await;
    for _ in 0..2 {
        w.engine.next("remove", Fault::Fail(EngineError::Refused("scripted".into())));
    }
    w.http().delete(&c).await.expect(204);
    w.http().get(support::uri(&c)).await.expect(404);
    assert_eq!(w.held().await.len(), 1, "the engine still holds it");
    while !w.held().await.is_empty() {
        passes(&w, 1).await;
    }
    while !w.store.all().await.unwrap().is_empty() {
        passes(&w, 1).await;
    }
    w.check().await;
}

/// Rule 9: whatever step of a creation fails, or does its work and says that it failed, nothing is left.
#[tokio::test]
async fn intent_before_action() {
    let w = world().await;
    let failed = EngineError::Refused("scripted".into());
    for call in ["create", "start", "inspect"] {
        for fault in [Fault::Fail(failed.clone()), Fault::Lie(failed.clone())] {
            w.engine.next(call, fault);
            let answer = w.http().send("POST", "/v1/containers", Body::Form("image=spindle/mimic")).await;
            let message = answer.expect_error(502, "engine_failed");
            assert!(message.contains("scripted"), "{message}");
            while !w.held().await.is_empty() || !w.store.all().await.unwrap().is_empty() {
                passes(&w, 1).await;
            }
        }
    }
    w.check().await;
}

#[tokio::test]
async fn an_image_that_goes_between_check_and_create_is_not_found() {
    let w = world().await;
    w.engine.next("create", Fault::Fail(EngineError::NoImage));
    let answer = w.http().send("POST", "/v1/containers", Body::Form("image=spindle/mimic")).await;
    assert_eq!(answer.expect_error(404, "image_not_found"), "Image spindle/mimic not found on this server");
    w.check().await;
}

#[tokio::test]
async fn a_container_that_goes_during_its_stop_is_forgotten() {
    let w = world().await;
    let c = w.http().create("image=spindle/mimic").await;
    w.engine.next("stop", Fault::Hang);
    w.http().patch(&c, "status=stopped").await.expect(200);
    while w.engine.calls("stop") == 0 {
        tokio::task::yield_now().await;
    }
    w.remove_behind_back(&c).await;
    w.engine.release();
    while w.http().get(support::uri(&c)).await.status != 404 {
        passes(&w, 1).await;
    }
    w.check().await;
}

#[tokio::test]
async fn held_ports_are_avoided() {
    let w = world().await;
    let first = w.http().create("image=spindle/mimic").await;
    let port = first["app_port"].as_str().unwrap().parse::<u16>().unwrap();
    w.engine.hold_ports(port + 1..port + 4);
    let second = w.http().create("image=spindle/mimic").await;
    let ports: Vec<u16> =
        second["ports"].as_array().unwrap().iter().map(|p| p["host_port"].as_u64().unwrap() as u16).collect();
    assert!(ports.iter().all(|p| !(port + 1..port + 4).contains(p)), "{ports:?}");
    w.http().patch(&second, "status=stopped").await.expect(200);
    settle(&w, &second, "stopped").await;
    w.engine.hold_ports(ports);
    let refused = w.http().patch(&second, "status=running").await.expect_error(409, "port_in_use");
    assert!(refused.contains("in use"), "{refused}");
    assert_eq!(w.http().now(&second).await["status"], "stopped");
    w.check().await;
}

/// Rule 7: a jump of the clock, forward or back, stops nobody before a grace has passed.
#[tokio::test]
async fn after_a_jump_of_the_clock_everybody_may_report_first() {
    let w = world().await;
    let c = w.http().create("image=spindle/mimic").await;
    w.pass_seconds(6).await;
    w.clock.advance(Duration::from_secs(3_600));
    w.pass_seconds(4).await;
    assert_eq!(w.http().now(&c).await["status"], "running");
    w.check_in(&c, "active-connections=1").await;
    w.pass_seconds(10).await;
    assert_eq!(w.http().now(&c).await["status"], "running");
    w.pass_seconds(LIMIT).await;
    settle(&w, &c, "stopped").await;
}

/// Rule 7, our own side of it: who cannot report is not silent.
#[tokio::test]
async fn while_the_door_is_shut_nobody_is_stopped() {
    let w = world().await;
    let c = w.http().create("image=spindle/mimic").await;
    w.app.set_door(CheckInDoor::Shut("scripted".into()));
    w.pass_seconds(2 * LIMIT).await;
    assert_eq!(w.http().now(&c).await["status"], "running");
    w.http().get("/v1/health").await.expect(503);
    w.app.set_door(CheckInDoor::Open("127.0.0.1:80".parse().unwrap()));
    w.pass_seconds(8).await;
    settle(&w, &c, "stopped").await;
}

/// Who reports to a door that has moved would be taken for idle.
#[tokio::test]
async fn sandboxes_are_told_when_the_door_moves() {
    let mut w = world().await;
    let c = w.http().create("image=spindle/mimic").await;
    let container = spindle::domain::ContainerId::parse(support::id(&c)).unwrap();
    assert_eq!(w.engine.check_in_url(&container).unwrap(), "http://127.0.0.1/v1/check-in");
    w.settings.check_in_port = 8099;
    w.restart().await;
    assert_eq!(w.engine.check_in_url(&container).unwrap(), "http://127.0.0.1:8099/v1/check-in");
}

/// Rule 4: a start has a new generation and a new clock, behind our back too.
#[tokio::test]
async fn a_start_is_evidence_whoever_makes_it() {
    let w = world().await;
    let c = w.http().create("image=spindle/mimic").await;
    w.check_in(&c, "active-connections=1").await;
    w.pass_seconds(LIMIT - 5).await;
    w.stop_behind_back(&c).await;
    let stopped = settle(&w, &c, "stopped").await;
    assert_eq!(stopped["stopped_reason"], "exited");
    w.pass_seconds(2 * LIMIT).await;
    w.start_behind_back(&c).await;
    let again = settle(&w, &c, "running").await;
    assert_eq!(again["active"], "0");
    w.pass_seconds(LIMIT - 1).await;
    assert_eq!(w.http().now(&c).await["status"], "running");
    w.pass_seconds(2).await;
    settle(&w, &c, "stopped").await;
    w.check().await;
}

/// Rule 1: an adopted sandbox's clock begins with its adoption.
#[tokio::test]
async fn a_lost_record_is_rebuilt_and_its_clock_begins_anew() {
    let mut w = world().await;
    let c = w.http().create("image=spindle/mimic&name=lost&labels=a=b").await;
    w.pass_seconds(LIMIT - 5).await;
    w.store = Arc::new(spindle::store::Store::in_memory().unwrap());
    w.restart().await;
    let adopted = w.until(&c, is("running")).await;
    for key in ["container_id", "name", "image", "ports", "app_port", "ssh_port", "labels", "memory", "created_at"] {
        assert_eq!(adopted[key], c[key], "{key}");
    }
    assert!(adopted["stops_at"].as_str() > c["stops_at"].as_str());
    w.check().await;
}
