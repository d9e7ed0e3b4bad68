//! What goes wrong with the engine and behind our back, on the scripted engine. Each test bears the name of
//! the invariant that it holds.

mod support;

use std::{sync::Arc, time::Duration};

use spindle::{
    domain::{Phase, State},
    engine::{EngineError, fake::Fault},
};
use support::{
    Body, World, is,
    scripted::{LIMIT, activity, container, passes, settle, world},
};

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
        w.app.pass.converge().await;
    }
    assert_eq!(w.http().now(&c).await["status"], "running");
    w.remove_behind_back(&c).await;
    w.engine.next("inspect", Fault::Fail(EngineError::Refused("scripted".into())));
    w.app.pass.converge().await;
    w.http().get(support::uri(&c)).await.expect(200);
    w.app.pass.converge().await;
    w.http().get(support::uri(&c)).await.expect(404);
    w.check().await;
}

/// A restart whose event came while the start before it was still being recorded, and told nobody anything.
#[tokio::test]
async fn a_restart_between_our_look_and_the_record_is_seen() {
    let w = world().await;
    let c = w.http().create("image=spindle/mimic").await;
    w.engine.force(&container(&c), Phase::Running);
    w.app.pass.converge().await;
    assert_eq!(activity(&w, &c).await["sources"][0]["count"], 2, "it has been started twice");
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

/// Rule 6: one container of which the engine does not tell holds up neither the pass nor the others.
#[tokio::test]
async fn a_container_that_cannot_be_inspected_delays_nobody() {
    let w = world().await;
    let broken = w.http().create("image=spindle/mimic").await;
    let other = w.http().create("image=spindle/mimic").await;
    w.engine.refuse_to_tell_of(&spindle::domain::ContainerId::parse(support::id(&broken)).unwrap());
    w.http().get("/v1/containers?audit=true").await.expect(200);
    w.http().get("/v1/health").await.expect(200);
    w.pass_seconds(LIMIT + 1).await;
    settle(&w, &other, "stopped").await;
    assert_eq!(w.http().now(&broken).await["status"], "running", "what could not be looked at is left alone");
}

/// An engine that suddenly shows nothing at all is rather another engine.
#[tokio::test]
async fn nothing_is_forgotten_when_all_is_gone_at_once() {
    let w = world().await;
    let made = [w.http().create("image=spindle/mimic").await, w.http().create("image=spindle/mimic").await];
    passes(&w, 3).await;
    w.engine.hide_all(true);
    w.pass_seconds(3).await;
    w.http().get("/v1/health").await.expect(503);
    for c in &made {
        assert_eq!(w.http().now(c).await["status"], "running");
    }
    w.engine.hide_all(false);
    w.pass_seconds(1).await;
    w.http().get("/v1/health").await.expect(200);
    // Removed by hand while somebody listens, they are forgotten, even all at once.
    let follower = tokio::spawn({
        let app = Arc::clone(&w.app);
        async move { app.pass.follow(None).await }
    });
    while w.engine.calls("watch") == 0 {
        tokio::task::yield_now().await;
    }
    for c in &made {
        w.remove_behind_back(c).await;
    }
    for c in &made {
        while w.http().get(support::uri(c)).await.status != 404 {
            passes(&w, 1).await;
        }
    }
    follower.abort();
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

/// A delete is answered before the engine has removed anything; name and ports stay promised.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delete_does_not_wait_for_the_engine() {
    let w = world().await;
    let c = w.http().create("image=spindle/mimic&name=phoenix").await;
    w.engine.next("remove", Fault::Hang);
    let answered = tokio::time::timeout(Duration::from_secs(5), w.http().delete(&c)).await;
    answered.expect("it waits for the removal").expect(204);
    w.http().get(support::uri(&c)).await.expect(404);
    assert_eq!(w.held().await.len(), 1, "the engine is still at it");
    let other = w.http().create("image=spindle/mimic").await;
    for port in c["ports"].as_array().unwrap() {
        let at = ("127.0.0.1", u16::try_from(port["host_port"].as_u64().unwrap()).unwrap());
        assert!(!other["ports"].as_array().unwrap().iter().any(|p| p["host_port"] == port["host_port"]));
        std::net::TcpListener::bind(at).expect("its listeners are closed once the delete is answered");
    }
    let again = w.http().create("image=spindle/mimic&name=phoenix");
    let released = async {
        while !w.store.all().await.unwrap().iter().any(|s| s.life.state == State::Creating) {
            tokio::task::yield_now().await;
        }
        w.engine.release();
    };
    let (again, ()) = tokio::join!(again, released);
    assert_ne!(again["container_id"], c["container_id"]);
    w.check().await;
}

/// A whole class is stopped at once: the engine is not asked for each whether it is there.
#[tokio::test]
async fn those_who_ask_at_once_share_one_question_to_the_engine() {
    let w = world().await;
    let mut made = Vec::new();
    for _ in 0..20 {
        made.push(w.http().create("image=spindle/mimic").await);
    }
    let before = w.engine.calls("info");
    w.engine.next("info", Fault::Hang);
    let admin = spindle::domain::Actor::admin("admin");
    let stops = futures_util::future::join_all(made.iter().map(|c| w.app.asked.stop(&admin, support::id(c))));
    // When this one's turn comes all of them wait.
    let (stops, ()) = tokio::join!(stops, async { w.engine.release() });
    for stopping in stops {
        assert!(matches!(stopping.unwrap().life.state, State::Stopping { .. }));
    }
    assert_eq!(w.engine.calls("info"), before + 1);
    for c in &made {
        settle(&w, c, "stopped").await;
    }
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
    while !w.held().await.is_empty() {
        passes(&w, 1).await;
    }
    while !w.store.all().await.unwrap().is_empty() {
        passes(&w, 1).await;
    }
    w.check().await;
}

/// Rule 9: while the engine is asked to make it, the row and its ports are there already.
#[tokio::test]
async fn a_creation_is_recorded_before_the_engine_is_called() {
    let w = world().await;
    w.engine.next("create", Fault::Hang);
    let http = w.http().clone();
    let create = tokio::spawn(async move { http.create("image=spindle/mimic").await });
    while w.engine.calls("create") == 0 {
        tokio::task::yield_now().await;
    }
    let known = w.store.all().await.unwrap();
    assert_eq!((known.len(), known[0].ports.len()), (1, 2));
    assert_eq!(known[0].life.state, State::Creating);
    assert_eq!(w.http().get("/v1/containers").await.text, "[]", "nobody is told of it yet");
    passes(&w, 5).await;
    w.engine.release();
    let c = create.await.unwrap();
    assert_eq!(w.http().now(&c).await["status"], "running", "a pass that ran meanwhile left it alone");
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
    let listen = |port: u16| std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let first = w.http().create("image=spindle/mimic").await;
    let port = first["app_port"].as_str().unwrap().parse::<u16>().unwrap();
    let holders: Vec<_> = (port + 1..port + 4).map(listen).collect();
    let second = w.http().create("image=spindle/mimic").await;
    let ports: Vec<u16> =
        second["ports"].as_array().unwrap().iter().map(|p| p["host_port"].as_u64().unwrap() as u16).collect();
    assert!(ports.iter().all(|p| !(port + 1..port + 4).contains(p)), "{ports:?}");
    drop(holders);
    w.http().patch(&second, "status=stopped").await.expect(200);
    settle(&w, &second, "stopped").await;
    assert!(std::net::TcpListener::bind(("127.0.0.1", ports[0])).is_err(), "a stopped sandbox's port is taken");
    w.check().await;
}

/// What the engine publishes may be held as well, by what only it knows.
#[tokio::test]
async fn ports_that_the_engine_finds_held_are_exchanged() {
    let w = world().await;
    let probe = w.http().create("image=spindle/mimic:udp").await;
    let last =
        probe["ports"].as_array().unwrap().iter().map(|p| p["host_port"].as_u64().unwrap() as u16).max().unwrap();
    w.engine.hold_ports(last + 1..last + 4);
    let c = w.http().create("image=spindle/mimic:udp").await;
    let udp = c["ports"][1]["host_port"].as_u64().unwrap() as u16;
    assert!(udp > last + 3, "{c}");
    w.check().await;
}

/// Rule 1: an adopted sandbox's clock begins with its adoption.
#[tokio::test]
async fn a_lost_record_is_rebuilt_and_its_clock_begins_anew() {
    let mut w = world().await;
    let c = w.http().create("image=spindle/mimic&name=lost&labels=a=b").await;
    w.pass_seconds(LIMIT - 5).await;
    let generation = w.store.all().await.unwrap()[0].life.generation;
    w.store = Arc::new(spindle::store::Store::in_memory().unwrap());
    w.restart().await;
    let adopted = w.until(&c, is("running")).await;
    for key in ["container_id", "name", "image", "ports", "app_port", "ssh_port", "labels", "memory", "created_at"] {
        assert_eq!(adopted[key], c[key], "{key}");
    }
    assert!(adopted["stops_at"].as_str() > c["stops_at"].as_str());
    assert!(w.store.all().await.unwrap()[0].life.generation > generation, "a relay knows starts by their number");
    w.check().await;
}
