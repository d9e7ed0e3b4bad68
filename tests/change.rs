//! One change of several things: looked at as a whole before anything is done, carried out by the engine, and kept.

mod support;

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use spindle::{
    engine::{EngineError, fake::Fault},
    store::Store,
};
use support::{
    Body, World, is,
    people::{admin, by_password, course, of_alice},
    scripted::{Scripted, container, passes, world},
    uri,
};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti me";

const ALL: &str = "name=bob&memory=96m&cpus=0.25&labels=group=b&wake=never&idle_timeout=45";

/// What is changed by [`ALL`], as the API shows it.
fn shown(c: &Value) -> Value {
    json!([c["name"], c["memory"], c["cpus"], c["labels"], c["wake"], c["idle_timeout"]])
}

async fn alice(w: &Scripted) -> Value {
    w.http().create("image=spindle/mimic&name=alice&memory=64m&labels=group=a,year=2").await
}

/// What the engine has.
async fn engines(w: &Scripted, c: &Value) -> Value {
    use spindle::engine::Containers;
    let shown = w.engine.inspect(&container(c)).await.unwrap();
    json!([shown.name, shown.memory.map(spindle::domain::Memory::bytes), shown.cpus.map(spindle::domain::Cpus::cores)])
}

#[tokio::test]
async fn all_of_a_change_is_done_at_once_and_the_old_name_is_free() {
    let mut w = world().await;
    let c = alice(&w).await;
    let changed = w.http().patch(&c, ALL).await.expect(200).json();
    let wanted = json!(["/bob", 96 << 20, 0.25, {"group": "b"}, "never", 45]);
    assert_eq!(shown(&changed), wanted);
    assert_eq!(engines(&w, &c).await, json!(["bob", 96 << 20, 0.25]));
    assert_eq!((&changed["container_id"], &changed["ports"]), (&c["container_id"], &c["ports"]));
    w.http().get("/v1/containers/alice").await.expect_error(404, "container_not_found");
    assert_eq!(w.http().get("/v1/containers/bob").await.expect(200).json()["uri"], c["uri"]);
    alice(&w).await;
    passes(&w, 2).await;
    assert_eq!(shown(&w.http().now(&c).await), wanted, "the pass finds nothing to do");
    let action = &w.http().get("/v1/actions?object=alice&verb=change").await.json()[0];
    assert_eq!(action["changed"], json!(["idle_timeout", "wake", "name", "memory", "cpus", "labels"]));
    // The database is lost, and another process begins.
    w.store = Arc::new(Store::in_memory().unwrap());
    w.restart().await;
    assert_eq!(shown(&w.until(&c, is("running")).await), wanted);
    w.check().await;
}

#[tokio::test]
async fn if_one_thing_is_refused_nothing_is_done() {
    let w = world().await;
    let c = alice(&w).await;
    w.http().create("image=spindle/mimic:bare&name=taken").await;
    for (more, status, code, words) in [
        ("status=stoped", 400, "invalid_field", "status"),
        ("ssh_key=rubbish", 400, "invalid_field", "ssh_key"),
        ("evidence=cpu=90", 400, "invalid_field", "cpus"),
        ("keep_until=2020-01-01T00:00:00Z", 400, "invalid_field", "ahead"),
        ("owner=nobody", 400, "invalid_field", "owner"),
        ("namespace=nowhere", 404, "namespace_not_found", "nowhere"),
    ] {
        let why = w.http().patch(&c, &format!("{ALL}&{more}")).await.expect_error(status, code);
        assert!(why.contains(words), "{more}: {why}");
        assert_eq!(w.http().now(&c).await, c, "{more}");
    }
    let taken = ALL.replace("name=bob", "name=taken");
    let why = w.http().patch(&c, &taken).await.expect_error(409, "name_taken");
    assert!(why.contains("running"), "it says whose it is: {why}");
    let why = w.http().patch(&c, &ALL.replace("96m", "1000g")).await.expect_error(400, "invalid_field");
    assert!(why.contains("this host has"), "{why}");
    assert_eq!((w.http().now(&c).await, w.engine.calls("rename") + w.engine.calls("limit")), (c, 0));
}

#[tokio::test]
async fn what_the_engine_refuses_is_named_and_all_is_as_before() {
    let w = world().await;
    let c = alice(&w).await;
    w.engine.use_memory(&container(&c), 60 << 20);
    let why = w.http().patch(&c, &ALL.replace("96m", "32m")).await.expect_error(502, "engine_failed");
    assert!(why.contains("limits") && why.contains("more memory is in use"), "{why}");
    assert_eq!(w.http().now(&c).await, c);
    // The limits are done, and then the name is refused: another program's container has it.
    w.engine.next("rename", Fault::Fail(EngineError::NameTaken("f00d".repeat(16))));
    let why = w.http().patch(&c, ALL).await.expect_error(409, "name_taken");
    assert!(why.contains("container f00df00df00d of Docker's"), "{why}");
    assert_eq!(w.http().now(&c).await, c);
    assert_eq!(engines(&w, &c).await, json!(["alice", 64 << 20, 1.0]));
    passes(&w, 2).await;
    assert_eq!(w.http().now(&c).await, c);
    w.http().patch(&c, ALL).await.expect(200);
}

/// Nobody knows whether the engine did it; the pass makes it so.
#[tokio::test]
async fn what_an_outage_cuts_off_is_finished_by_the_pass() {
    for call in ["limit", "rename", "admit"] {
        for lie in [false, true] {
            let w = world().await;
            let c = alice(&w).await;
            let away = EngineError::Unavailable("scripted".into());
            w.engine.next(call, if lie { Fault::Lie(away) } else { Fault::Fail(away) });
            let form = format!("{ALL}&ssh_key={}", KEY.replace('+', "%2B"));
            w.http().patch(&c, &form).await.expect_error(503, "engine_unavailable");
            passes(&w, 2).await;
            let now = w.http().now(&c).await;
            assert_eq!(shown(&now).as_array().unwrap()[..3], [json!("/bob"), json!(96 << 20), json!(0.25)], "{call}");
            assert_eq!(engines(&w, &c).await, json!(["bob", 96 << 20, 0.25]), "{call}");
            assert_eq!(w.engine.ssh_key(&container(&c)).as_deref(), Some(KEY), "{call}");
        }
    }
}

/// After a crash the pass asks the engine again, and takes what it refuses back.
#[tokio::test]
async fn what_is_refused_after_a_crash_is_as_the_engine_has_it() {
    let w = world().await;
    let c = alice(&w).await;
    w.engine.next("limit", Fault::Fail(EngineError::Unavailable("scripted".into())));
    w.engine.use_memory(&container(&c), 60 << 20);
    w.http().patch(&c, "memory=32m&name=bob").await.expect_error(503, "engine_unavailable");
    assert_eq!(w.http().now(&c).await["memory"], 32 << 20, "the intent");
    passes(&w, 2).await;
    let now = w.http().now(&c).await;
    assert_eq!((&now["memory"], &now["name"]), (&c["memory"], &c["name"]));
    let row = w.store.all().await.unwrap()[0].clone();
    let written: Value = serde_json::from_str(&w.engine.amendment(&row.id).unwrap()).unwrap();
    assert_eq!((&written["name"], &written["memory"]), (&json!("alice"), &c["memory"]));
}

#[tokio::test]
async fn a_key_is_changed_without_a_restart_and_survives() {
    let mut w = world().await;
    let c = alice(&w).await;
    assert_eq!(w.engine.ssh_key(&container(&c)), None);
    let form = format!("ssh_key={}", KEY.replace('+', "%2B"));
    let changed = w.http().patch(&c, &form).await.expect(200).json();
    assert_eq!(changed["started_at"], c["started_at"]);
    assert_eq!(w.engine.ssh_key(&container(&c)).as_deref(), Some(KEY));
    w.store = Arc::new(Store::in_memory().unwrap());
    w.restart().await;
    w.until(&c, is("running")).await;
    assert_eq!(w.store.all().await.unwrap()[0].recipe.ssh_key.as_deref(), Some(KEY));
    w.http().patch(&c, "ssh_key=none").await.expect(200);
    assert_eq!(w.engine.ssh_key(&container(&c)), None);
    let log = w.http().get("/v1/actions").await.text;
    assert!(!log.contains("AAAAC3"), "names, never values");
}

#[tokio::test]
async fn more_memory_asks_the_quota_again() {
    let w = course().await;
    admin(&w, "PATCH", "/v1/namespaces/db", "quota=memory=200m").await;
    let ina = by_password(&w, "ina");
    let made = "image=spindle/mimic&memory=100m&namespace=db&name=";
    let c = ina.post("/v1/containers", &format!("{made}one")).await.expect(201).json();
    let other = ina.post("/v1/containers", &format!("{made}two&memory=64m").replacen("memory=100m&", "", 1)).await;
    other.expect(201);
    let why = ina.patch(uri(&c), "memory=150m&labels=a=b").await.expect_error(403, "quota_exceeded");
    assert!(why.contains("150m") && why.contains("64m of 200m"), "{why}");
    assert_eq!(w.http().now(&c).await["labels"], json!({}));
    ina.patch(uri(&c), "memory=136m").await.expect(200);
    ina.patch(uri(&c), "status=stopped").await.expect(200);
    support::scripted::settle(&w, &c, "stopped").await;
    ina.patch(uri(&c), "memory=180m").await.expect(200);
    ina.patch(uri(&c), "status=running").await.expect_error(403, "quota_exceeded");
}

/// Every right that a change takes is asked before the first thing is done.
#[tokio::test]
async fn who_may_do_half_of_it_does_nothing() {
    let w = course().await;
    let c = of_alice(&w).await;
    let alice = by_password(&w, "alice");
    alice.patch(uri(&c), "status=stopped&name=mine").await.expect_error(403, "forbidden");
    assert_eq!(w.http().now(&c).await["status"], "running");
    // A token that may change and not assign.
    let form = Body::Form("name=t&scopes=operate");
    let token = by_password(&w, "ina").send("POST", "/v1/tokens", form).await.expect(201).json();
    let token = support::people::bearer(&w, &token);
    token.patch(uri(&c), "wake=never&owner=bob").await.expect_error(403, "forbidden");
    let now = w.http().now(&c).await;
    assert_eq!((&now["wake"], &now["owner"]), (&c["wake"], &c["owner"]));
    token.patch(uri(&c), "wake=never").await.expect(200);
}

/// A change waits for a stop that is under way, and a reader waits for neither.
#[tokio::test]
async fn a_change_of_one_that_is_stopping_waits_for_its_stop() {
    let w = world().await;
    let c = alice(&w).await;
    w.engine.ignore_term(&container(&c));
    w.http().patch(&c, "status=stopped").await.expect(200);
    while w.engine.calls("stop") == 0 {
        tokio::task::yield_now().await;
    }
    let (http, there) = (w.http().clone(), c.clone());
    let changing = tokio::spawn(async move { http.patch(&there, "name=bob").await.status });
    assert_eq!(w.http().now(&c).await["name"], "/alice");
    w.engine.release();
    let status = tokio::time::timeout(Duration::from_secs(10), changing).await.unwrap().unwrap();
    assert_eq!((status, &w.http().now(&c).await["name"]), (200, &json!("/bob")));
}
