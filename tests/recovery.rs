//! What may change after a sandbox's creation survives the loss of the database: the real server on the scripted engine.

mod support;

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use spindle::{
    domain::{Sandbox, SandboxId},
    engine::{EngineError, fake::Fault},
    store::Store,
};
use support::{
    Body, Meddling, World, is,
    scripted::{Scripted, now, passes, world},
    uri,
};

/// The database is lost, and another process begins.
async fn lose_the_database(w: &mut Scripted) {
    w.store = Arc::new(Store::in_memory().unwrap());
    w.restart().await;
}

async fn row(w: &Scripted) -> Sandbox {
    Sandbox::clone(&w.store.all().await.unwrap()[0])
}

fn written(w: &Scripted, id: &SandboxId) -> Value {
    serde_json::from_str(&w.engine.amendment(id).unwrap()).unwrap()
}

async fn extend(w: &Scripted, c: &Value, form: &str) -> Value {
    w.http().send("POST", &format!("{}/extend", uri(c)), Body::Form(form)).await.expect(200).json()
}

fn refused() -> EngineError {
    EngineError::Refused("the disk is full (scripted)".into())
}

/// What people change, as the API shows it.
const CHANGED: [&str; 8] =
    ["name", "labels", "idle_timeout", "connection_cap", "max_age", "evidence", "wake", "keep_until"];

#[tokio::test]
async fn what_was_changed_survives_the_loss_of_the_database() {
    let mut w = world().await;
    w.engine.label_image("spindle/mimic:latest", "max_age", "1h");
    let until = (now(&w) + Duration::from_mins(30)).to_string();
    let changed = w.http().create("image=spindle/mimic&name=changed&labels=a=b&idle_timeout=30").await;
    w.http().patch(&changed, "idle_timeout=45&max_age=default&evidence=check_in&wake=always").await.expect(200);
    extend(&w, &changed, "for=10m").await;
    let kept = w.http().create(&format!("image=spindle/mimic&name=kept&keep_until={until}")).await;
    let inside = w.http().create("image=spindle/mimic&name=inside").await;
    assert_eq!(w.check_in(&inside, "keep=20m").await, 200);
    let mut before = Vec::new();
    for c in [&changed, &kept, &inside] {
        before.push(w.http().now(c).await);
    }
    assert_eq!((&before[0]["idle_timeout"], &before[0]["max_age"]), (&json!(45), &json!("never")));
    for _ in 0..2 {
        lose_the_database(&mut w).await;
        for before in &before {
            let after = w.until(before, is("running")).await;
            for key in CHANGED {
                assert_eq!(after[key], before[key], "{key} of {}", before["name"]);
            }
        }
    }
    w.check().await;
}

#[tokio::test]
async fn a_change_that_cannot_be_written_down_is_refused() {
    let mut w = world().await;
    let c = w.http().create("image=spindle/mimic&idle_timeout=30").await;
    for form in ["idle_timeout=45", "wake=never", "keep_until=2036-01-01T00:00:00Z"] {
        for fault in [Fault::Fail(refused()), Fault::Lie(refused())] {
            w.engine.next("amend", fault);
            let why = w.http().patch(&c, form).await.expect_error(503, "files_unavailable");
            assert!(why.contains("the disk is full") && why.contains("nothing was changed"), "{why}");
            assert_eq!(w.http().now(&c).await, c, "{form}");
        }
    }
    let written = written(&w, &row(&w).await.id);
    assert!(written["keep_until"].is_null(), "what was written before it was refused is taken back: {written}");
    passes(&w, 1).await;
    lose_the_database(&mut w).await;
    let after = w.until(&c, is("running")).await;
    assert!(CHANGED.iter().all(|key| after[key] == c[key]), "{after}");
}

/// Somebody uses it, and evidence beats.
#[tokio::test]
async fn an_extension_is_never_refused_because_it_cannot_be_written_down() {
    let mut w = world().await;
    let c = w.http().create("image=spindle/mimic").await;
    w.engine.next("amend", Fault::Fail(refused()));
    assert_eq!(w.check_in(&c, "keep=20m").await, 200);
    assert!(w.http().now(&c).await["keep_until"].is_string());
    w.engine.next("amend", Fault::Fail(refused()));
    let kept = extend(&w, &c, "for=30m").await;
    let id = row(&w).await.id;
    assert_eq!(written(&w, &id)["keep_until"], Value::Null);
    // The first pass fails too.
    w.engine.next("amend", Fault::Fail(refused()));
    passes(&w, 2).await;
    assert!(written(&w, &id)["keep_until"].is_string(), "a pass has done it");
    lose_the_database(&mut w).await;
    assert_eq!(w.until(&c, is("running")).await["keep_until"], kept["keep_until"]);
}

#[tokio::test]
async fn a_start_writes_down_what_differs_and_no_later_pass_looks_again() {
    let mut w = world().await;
    let c = w.http().create("image=spindle/mimic&wake=always").await;
    let id = row(&w).await.id;
    let whole = w.engine.amendment(&id);
    for spoiled in [None, Some("{"), Some(r#"{"wake": "never"}"#)] {
        w.engine.spoil_amendment(&id, spoiled);
        w.restart().await;
        assert_eq!(w.engine.amendment(&id), whole, "{spoiled:?}");
    }
    let calls = w.engine.calls("amend");
    w.pass_seconds(20).await;
    assert_eq!(w.engine.calls("amend"), calls);
    w.http().delete(&c).await.expect(204);
    w.check().await;
    assert_eq!(w.engine.amendment(&id), None, "it goes with its sandbox");
}

#[tokio::test]
async fn what_does_not_read_is_as_the_labels_say_and_then_written_down() {
    let mut w = world().await;
    let c = w.http().create("image=spindle/mimic&wake=always&idle_timeout=30").await;
    let id = row(&w).await.id;
    w.http().patch(&c, "wake=never&idle_timeout=45").await.expect(200);
    w.engine.spoil_amendment(&id, Some(r#"{"wake": "sometimes", "policy": {"idle_timeout": "45"}}"#));
    lose_the_database(&mut w).await;
    let after = w.until(&c, is("running")).await;
    assert_eq!((&after["wake"], &after["idle_timeout"]), (&json!("always"), &json!(45)));
    assert_eq!(written(&w, &id)["wake"], "always");
}

/// What others changed through the engine is in the row, and so it is written down.
#[tokio::test]
async fn what_others_changed_is_written_down_too() {
    let w = world().await;
    let c = w.http().create("image=spindle/mimic&name=ours").await;
    let follower = tokio::spawn({
        let app = Arc::clone(&w.app);
        async move { app.pass.follow(None).await }
    });
    while w.engine.calls("watch") == 0 {
        tokio::task::yield_now().await;
    }
    w.meddle(&c, Meddling::Rename("theirs")).await;
    w.meddle(&c, Meddling::Limit).await;
    w.until(&c, |c| c["name"] == "/theirs" && c["memory"] == 64 << 20).await;
    let row = row(&w).await;
    let written = written(&w, &row.id);
    assert_eq!((&written["name"], &written["memory"]), (&json!("theirs"), &json!(64 << 20)));
    follower.abort();
}

/// A clock that is set moves wishes for a length with it.
#[tokio::test]
async fn what_a_set_clock_moved_is_written_down_again() {
    let mut w = world().await;
    let c = w.http().create("image=spindle/mimic").await;
    let kept = extend(&w, &c, "for=30m").await;
    w.clock.set(now(&w) + Duration::from_hours(2));
    passes(&w, 1).await;
    let moved = w.http().now(&c).await;
    assert_ne!(moved["keep_until"], kept["keep_until"]);
    lose_the_database(&mut w).await;
    assert_eq!(w.until(&c, is("running")).await["keep_until"], moved["keep_until"]);
}
