//! The law of stopping, through the real gather, decide and apply against a scripted engine and a manual
//! clock. Each test bears the name of the rule or invariant that it holds.

mod support;

use std::{sync::Arc, time::Duration};

use spindle::{
    app::{CheckInDoor, CreateSpec},
    domain::{ImageRef, State},
    engine::{EngineError, fake::Fault},
};
use support::{
    World,
    scripted::{LIMIT, left, now, passes, settle, world},
};

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
    let pass = tokio::spawn(async move { app.pass.converge().await });
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

/// Rule 7: a jump of the clock, forward or back, stops nobody before a grace has passed.
#[tokio::test]
async fn after_a_jump_of_the_clock_everybody_may_report_first() {
    let w = world().await;
    let c = w.http().create("image=spindle/mimic").await;
    w.pass_seconds(6).await;
    w.clock.advance(Duration::from_hours(1));
    w.pass_seconds(4).await;
    assert_eq!(w.http().now(&c).await["status"], "running");
    w.check_in(&c, "active-connections=1").await;
    w.pass_seconds(10).await;
    assert_eq!(w.http().now(&c).await["status"], "running");
    w.pass_seconds(LIMIT).await;
    settle(&w, &c, "stopped").await;
}

/// A clock that was ahead and is set right keeps nobody until it is there again: what has passed is what it was.
#[tokio::test]
async fn a_clock_that_is_set_back_keeps_nobody_for_longer() {
    let w = world().await;
    let [forgotten, reports] =
        [w.http().create("image=spindle/mimic").await, w.http().create("image=spindle/mimic").await];
    let spared = w.http().create("image=spindle/mimic&idle_timeout=600").await;
    w.pass_seconds(30).await;
    w.check_in(&forgotten, "active-connections=1").await;
    w.check_in(&reports, "active-connections=1").await;
    w.http().patch(&spared, "idle_timeout=15").await.expect(200);
    w.clock.set(now(&w) - Duration::from_hours(24));
    w.pass_seconds(1).await;
    let shown = w.http().now(&forgotten).await;
    assert_eq!(left(&w, &shown), LIMIT as i64 - 1, "it was used a second ago: {shown}");
    for (key, ago) in [("created_at", 31), ("started_at", 31), ("last_check_in_at", 1), ("last_active_at", 1)] {
        assert_eq!(shown[key], format!("{:.3}", now(&w) - Duration::from_secs(ago)), "{key}: {shown}");
    }
    w.pass_seconds(LIMIT / 2).await;
    assert_eq!(settle(&w, &spared, "stopped").await["stopped_reason"], "idle");
    w.check_in(&reports, "active-connections=1").await;
    w.pass_seconds(LIMIT / 2 - 2).await;
    assert_eq!(w.http().now(&forgotten).await["status"], "running");
    w.pass_seconds(1).await;
    settle(&w, &forgotten, "stopped").await;
    assert_eq!(w.http().now(&reports).await["status"], "running");
}

/// Rule 9: who was told to stop ends by that, though the server that told it is gone, and the reason is not lost.
#[tokio::test]
async fn an_idle_stop_that_was_cut_off_keeps_its_reason() {
    let mut w = world().await;
    let [ends, stays] = [w.http().create("image=spindle/mimic").await, w.http().create("image=spindle/mimic").await];
    w.pass_seconds(LIMIT - 1).await;
    w.clock.advance(Duration::from_secs(5));
    for _ in 0..2 {
        w.engine.next("stop", Fault::Hang);
    }
    while w.engine.calls("stop") < 2 {
        passes(&w, 1).await;
    }
    w.restart().await;
    passes(&w, 5).await;
    assert_eq!(w.http().now(&ends).await["status"], "stopping");
    w.stop_behind_back(&ends).await;
    assert_eq!(settle(&w, &ends, "stopped").await["stopped_reason"], "idle");
    w.pass_seconds(13).await;
    settle(&w, &stays, "running").await;
    assert_eq!(w.engine.calls("stop"), 2, "what was decided long ago is not carried out");
    w.check().await;
}

/// Rule 7, our own side of it: who cannot report is not silent.
#[tokio::test]
async fn while_the_door_is_shut_nobody_is_stopped() {
    let w = world().await;
    let c = w.http().create("image=spindle/mimic").await;
    w.app.vitals.set_door(CheckInDoor::Shut("scripted".into()));
    w.pass_seconds(2 * LIMIT).await;
    assert_eq!(w.http().now(&c).await["status"], "running");
    w.http().get("/v1/health").await.expect(503);
    w.app.vitals.set_door(CheckInDoor::Open("127.0.0.1:80".parse().unwrap()));
    w.pass_seconds(8).await;
    settle(&w, &c, "stopped").await;
}

/// Rule 6: of eight hundred that are idle at once one in ten does not end when it is told to. All others are stopped.
#[tokio::test]
async fn the_healthy_are_stopped_in_time_though_one_in_ten_hangs() {
    let w = world().await;
    let mut stubborn = Vec::new();
    for number in 0..800 {
        let made = w
            .app
            .asked
            .create(
                &spindle::domain::Actor::admin("admin"),
                CreateSpec::of(ImageRef::parse("spindle/mimic:bare").unwrap()),
            )
            .await
            .unwrap();
        if number % 10 == 0 {
            w.engine.ignore_term(made.container.as_ref().unwrap());
            stubborn.push(made.id);
        }
    }
    w.pass_seconds(LIMIT + 1).await;
    let waiting = async {
        loop {
            let known = w.store.all().await.unwrap();
            let healthy = || known.iter().filter(|s| !stubborn.contains(&s.id));
            if healthy().all(|s| matches!(s.life.state, State::Stopped { .. })) {
                break known;
            }
            tokio::task::yield_now().await;
        }
    };
    let known = tokio::time::timeout(Duration::from_mins(1), waiting).await.expect("the healthy wait for the others");
    let mut others = known.iter().filter(|s| stubborn.contains(&s.id));
    assert!(others.all(|s| matches!(s.life.state, State::Stopping { .. })));
    while w.store.all().await.unwrap().iter().any(|s| !matches!(s.life.state, State::Stopped { .. })) {
        w.engine.release();
        tokio::task::yield_now().await;
    }
}

/// Who reports to a door that has moved, or too rarely, would be taken for idle.
#[tokio::test]
async fn sandboxes_are_told_when_the_door_moves_and_when_the_period_changes() {
    let mut w = world().await;
    let c = w.http().create("image=spindle/mimic").await;
    let container = spindle::domain::ContainerId::parse(support::id(&c)).unwrap();
    let told =
        |w: &support::scripted::Scripted| w.engine.check_in(&container).map(|c| (c.url, c.period.as_secs())).unwrap();
    assert_eq!(told(&w), ("http://127.0.0.1/v1/check-in".into(), 1));
    (w.settings.check_in_port, w.settings.report_period) = (8099, Duration::from_secs(20));
    w.restart().await;
    assert_eq!(told(&w), ("http://127.0.0.1:8099/v1/check-in".into(), 20));
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

/// Rule 10: of a quick restart whose event was lost only a close look tells. At the latest its deadline asks for one.
#[tokio::test]
async fn a_restart_of_which_nobody_told_gets_a_clock_of_its_own() {
    let w = world().await;
    let c = w.http().create("image=spindle/mimic").await;
    w.pass_seconds(LIMIT - 1).await;
    w.start_behind_back(&c).await;
    w.pass_seconds(2).await;
    passes(&w, 30).await;
    w.pass_seconds(LIMIT - 2).await;
    assert_eq!(w.http().now(&c).await["status"], "running", "it was started a moment before its deadline");
    w.pass_seconds(5).await;
    assert_eq!(settle(&w, &c, "stopped").await["stopped_reason"], "idle");
    w.check().await;
}

/// Rules 3 and 4: a stop that failed is not tried again on what was decided then. What was used meanwhile is kept, what
/// was started meanwhile has its own clock, and only who is idle still is stopped.
#[tokio::test]
async fn an_idle_stop_that_failed_is_decided_anew() {
    let w = world().await;
    let mut made = Vec::new();
    for _ in 0..3 {
        made.push(w.http().create("image=spindle/mimic").await);
        w.engine.next("stop", Fault::Fail(EngineError::Refused("scripted".into())));
    }
    let [used, started, idle] = &made[..] else { unreachable!() };
    w.pass_seconds(LIMIT - 1).await;
    w.clock.advance(Duration::from_secs(5));
    while w.engine.calls("stop") < 3 {
        passes(&w, 1).await;
    }
    let token = w.token(used).await;
    w.check_in(used, &format!("active-connections=1&token={token}")).await;
    w.start_behind_back(started).await;
    w.pass_seconds(13).await;
    settle(&w, idle, "stopped").await;
    passes(&w, 5).await;
    for kept in [used, started] {
        assert_eq!(w.http().now(kept).await["status"], "running");
    }
    assert_eq!(w.engine.calls("stop"), 4);
    w.check().await;
}
