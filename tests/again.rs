//! A container is restarted with its files, or made anew without them; and what people write on its terminals.

mod support;

use std::sync::Arc;

use serde_json::{Value, json};
use spindle::{
    domain::{ContainerId, State},
    engine::{EngineError, fake::Fault},
    store::Store,
};
use support::{
    Body, World, id, is,
    people::{by_password, course, of_alice},
    scripted::{Scripted, container, passes, settle, world},
    uri,
};

async fn post(w: &Scripted, c: &Value, verb: &str, form: &str) -> support::Answer {
    w.http().send("POST", &format!("{}/{verb}", uri(c)), Body::Form(form)).await
}

async fn reset(w: &Scripted, c: &Value) -> support::Answer {
    post(w, c, "reset", "confirm=true").await
}

async fn alice(w: &Scripted) -> Value {
    w.http().create("image=spindle/mimic&name=alice&memory=64m&labels=group=a&wake=always&idle_timeout=45").await
}

/// All that a reset must keep.
const KEPT: [&str; 10] =
    ["name", "ports", "labels", "memory", "cpus", "wake", "idle_timeout", "owner", "created_at", "image"];

#[track_caller]
fn is_kept(before: &Value, after: &Value) {
    for key in KEPT {
        assert_eq!(before[key], after[key], "{key}");
    }
}

#[tokio::test]
async fn a_restart_is_one_action_and_a_start_is_evidence() {
    let w = world().await;
    let c = alice(&w).await;
    w.pass_seconds(20).await;
    let again = post(&w, &c, "restart", "").await.expect(200);
    assert_eq!((w.engine.calls("stop"), w.engine.calls("start")), (1, 2));
    let now = again.json();
    assert_eq!((&now["status"], id(&now), &now["active"]), (&json!("running"), id(&c), &json!("0")));
    assert_ne!(now["started_at"], c["started_at"]);
    assert!(now["why"].as_str().unwrap().contains("started 0 s ago"), "{now}");
    let actions = w.http().get("/v1/actions?object=alice").await.json();
    let verbs: Vec<_> = actions.as_array().unwrap().iter().map(|a| a["verb"].as_str().unwrap()).collect();
    assert_eq!(verbs, ["restart", "create"]);
    w.http().patch(&c, "status=stopped").await.expect(200);
    settle(&w, &c, "stopped").await;
    assert_eq!(post(&w, &c, "restart", "").await.expect(200).json()["status"], "running", "one that is stopped starts");
    w.check().await;
}

#[tokio::test]
async fn a_restart_that_fails_says_so_and_the_pass_finishes_it() {
    let w = world().await;
    let c = alice(&w).await;
    w.engine.next("stop", Fault::Fail(EngineError::Refused("scripted".into())));
    post(&w, &c, "restart", "").await.expect_error(503, "still_stopping");
    let again = w.until(&c, is("running")).await;
    assert_eq!((w.engine.calls("stop"), w.engine.calls("start")), (2, 2), "the pass has finished it");
    assert_eq!(again["container_id"], c["container_id"]);
    w.engine.next("start", Fault::Fail(EngineError::Refused("scripted".into())));
    post(&w, &c, "restart", "").await.expect_error(502, "engine_failed");
    passes(&w, 2).await;
    let now = w.http().now(&c).await;
    assert_eq!((&now["status"], &now["stopped_reason"]), (&json!("stopped"), &json!("requested")));
}

/// A stop that is requested amid a restart wins.
#[tokio::test]
async fn a_stop_amid_a_restart_wins() {
    let w = world().await;
    let c = alice(&w).await;
    w.engine.ignore_term(&container(&c));
    let (http, path) = (w.http().clone(), format!("{}/restart", uri(&c)));
    let restarting = tokio::spawn(async move { http.send("POST", &path, Body::None).await.json() });
    while w.engine.calls("stop") == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(w.http().now(&c).await["status"], "stopping");
    w.http().patch(&c, "status=stopped").await.expect(200);
    w.engine.release();
    assert_eq!(restarting.await.unwrap()["status"], "stopped");
    passes(&w, 3).await;
    let now = w.http().now(&c).await;
    assert_eq!((&now["status"], &now["stopped_reason"]), (&json!("stopped"), &json!("requested")));
}

#[tokio::test]
async fn a_reset_is_another_container_of_the_same_recipe() {
    let mut w = world().await;
    let c = alice(&w).await;
    let token = w.token(&c).await;
    let before = w.store.all().await.unwrap()[0].clone();
    for form in ["", "confirm=false"] {
        let why = post(&w, &c, "reset", form).await.expect_error(400, "confirm_required");
        assert!(why.contains("confirm=true"), "{why}");
    }
    assert_eq!(w.http().now(&c).await, c);
    let again = reset(&w, &c).await.expect(200).json();
    assert_ne!(id(&again), id(&c));
    assert_eq!(again["status"], "running");
    is_kept(&c, &again);
    assert_eq!(w.held().await, [id(&again)], "the old one is gone");
    assert_eq!(w.token(&again).await, token);
    assert_eq!(w.store.all().await.unwrap()[0].recipe, before.recipe);
    for reference in [id(&c), &id(&c)[..12], id(&again), "alice"] {
        let found = w.http().get(&format!("/v1/containers/{reference}")).await.expect(200).json();
        assert_eq!(id(&found), id(&again), "{reference}");
    }
    let third = reset(&w, &c).await.expect(200).json();
    w.store = Arc::new(Store::in_memory().unwrap());
    w.restart().await;
    let found = w.until(&c, is("running")).await;
    assert_eq!(id(&found), id(&third), "the first id means the third container, though the records were lost");
    is_kept(&c, &found);
    w.http().delete(&c).await.expect(204);
    w.until_none_is_held().await;
    w.http().get(uri(&c)).await.expect_error(404, "container_not_found");
    w.check().await;
}

#[tokio::test]
async fn one_that_is_stopped_is_stopped_after_its_reset_and_survives() {
    let mut w = world().await;
    let c = alice(&w).await;
    w.http().patch(&c, "status=stopped").await.expect(200);
    let stopped = settle(&w, &c, "stopped").await;
    let again = reset(&w, &c).await.expect(200).json();
    assert_eq!((&again["status"], &again["stopped_reason"]), (&json!("stopped"), &json!("requested")));
    assert_eq!(again["stopped_at"], stopped["stopped_at"]);
    is_kept(&c, &again);
    passes(&w, 3).await;
    w.store = Arc::new(Store::in_memory().unwrap());
    w.restart().await;
    assert_eq!(w.until(&c, is("stopped")).await["container_id"], again["container_id"], "it never ran, and is adopted");
    let started = w.http().patch(&again, "status=running").await.expect(200).json();
    assert_eq!(id(&started), id(&again));
    w.check().await;
}

#[tokio::test]
async fn what_cannot_be_made_again_is_left_alone() {
    let w = world().await;
    let c = alice(&w).await;
    w.engine.move_to_registry("spindle/mimic:latest");
    reset(&w, &c).await.expect_error(404, "image_not_found");
    assert_eq!(w.http().now(&c).await, c);
}

/// The engine fails amid a reset: nothing of the sandbox is lost, and the pass finishes it.
#[tokio::test]
async fn a_reset_that_is_cut_off_is_finished_by_the_pass() {
    for (call, lie) in [("remove", false), ("remove", true), ("create", false), ("create", true), ("start", false)] {
        let w = world().await;
        let c = alice(&w).await;
        let away = EngineError::Unavailable("scripted".into());
        w.engine.next(call, if lie { Fault::Lie(away) } else { Fault::Fail(away) });
        reset(&w, &c).await.expect_error(503, "engine_unavailable");
        passes(&w, 3).await;
        let now = w.http().get("/v1/containers/alice").await.expect(200).json();
        // A start that fails leaves it stopped, as every start does.
        assert_eq!(now["status"], if call == "start" { "stopped" } else { "running" }, "{call} {lie}");
        is_kept(&c, &now);
        assert_eq!(w.held().await, [id(&now)], "{call} {lie}");
        w.check().await;
    }
}

/// A deletion does not wait for a reset, and nothing is left of either.
#[tokio::test]
async fn a_deletion_amid_a_reset_wins() {
    let w = world().await;
    let c = alice(&w).await;
    w.engine.next("create", Fault::Hang);
    let (http, path) = (w.http().clone(), format!("{}/reset", uri(&c)));
    let resetting = tokio::spawn(async move { http.send("POST", &path, Body::Form("confirm=true")).await.status });
    while w.engine.calls("create") < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(w.http().now(&c).await["status"], "stopped", "v1 knows no fourth status");
    w.http().delete(&c).await.expect(204);
    w.engine.release();
    assert_eq!(resetting.await.unwrap(), 404);
    w.until_none_is_held().await;
    w.check().await;
}

/// Who connects amid a reset waits for the new container.
#[tokio::test]
async fn a_wake_amid_a_reset_waits_for_the_new_container() {
    let w = world().await;
    let c = alice(&w).await;
    w.engine.next("create", Fault::Hang);
    let (http, path) = (w.http().clone(), format!("{}/reset", uri(&c)));
    let resetting = tokio::spawn(async move { http.send("POST", &path, Body::Form("confirm=true")).await.json() });
    while w.engine.calls("create") < 2 {
        tokio::task::yield_now().await;
    }
    let (http, there) = (w.http().clone(), c.clone());
    let starting = tokio::spawn(async move { http.patch(&there, "status=running").await.json() });
    let row = w.store.all().await.unwrap()[0].clone();
    assert!(matches!(row.life.state, State::Resetting { .. }) && row.is_woken(w.app_wake(&row)), "{row:?}");
    w.engine.release();
    let (again, started) = (resetting.await.unwrap(), starting.await.unwrap());
    assert_eq!((id(&started), &started["status"]), (id(&again), &json!("running")));
    assert_eq!(w.engine.calls("start"), 2, "it was started once more, and not twice");
}

trait Woken {
    fn app_wake(&self, row: &spindle::domain::Sandbox) -> spindle::domain::Wake;
}

impl Woken for Scripted {
    fn app_wake(&self, row: &spindle::domain::Sandbox) -> spindle::domain::Wake {
        row.recipe.wake.unwrap_or(self.settings.wake)
    }
}

#[tokio::test]
async fn a_message_is_on_the_terminals_and_nobodys_use() {
    let w = world().await;
    let c = alice(&w).await;
    let there: ContainerId = container(&c);
    w.engine.set_terminals(&there, 2);
    w.engine.stop_terminals(&there, 1);
    w.pass_seconds(5).await;
    let before = w.http().now(&c).await;
    let shown = post(&w, &c, "message", "text=Five minutes left").await.expect(200).json();
    assert_eq!(shown, json!({"terminals": 2, "stopped": 1}));
    assert_eq!(w.engine.announcements(&there), ["Message from admin: Five minutes left"]);
    assert_eq!(w.http().now(&c).await["stops_at"], before["stops_at"]);
    let long = "x".repeat(1_001);
    for (form, code) in [("", "missing_field"), ("text= ", "invalid_field"), (&format!("text={long}"), "invalid_field")]
    {
        post(&w, &c, "message", form).await.expect_error(400, code);
    }
    w.http().patch(&c, "status=stopped").await.expect(200);
    settle(&w, &c, "stopped").await;
    post(&w, &c, "message", "text=hello").await.expect_error(409, "not_running");
}

#[tokio::test]
async fn learners_restart_their_own_and_reset_and_write_nothing() {
    let w = course().await;
    let c = of_alice(&w).await;
    let alice = by_password(&w, "alice");
    alice.post(&format!("{}/restart", uri(&c)), "").await.expect(200);
    alice.post(&format!("{}/reset", uri(&c)), "confirm=true").await.expect_error(403, "forbidden");
    alice.post(&format!("{}/message", uri(&c)), "text=x").await.expect_error(403, "forbidden");
    by_password(&w, "bob").post(&format!("{}/restart", uri(&c)), "").await.expect_error(404, "container_not_found");
    let again = by_password(&w, "ina").post(&format!("{}/reset", uri(&c)), "confirm=true").await.expect(200).json();
    assert_eq!(again["owner"], "alice");
    alice.get(uri(&c)).await.expect(200);
}
