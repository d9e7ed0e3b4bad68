//! What a sandbox uses, runs and is, for whoever may see it. On the scripted engine.

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use spindle::engine::{EngineError, fake::Fault};
use support::{
    Body, World,
    people::{PASSWORD, admin, by_password, course, of_alice},
    scripted::{TestApp, activity, container},
    streams::{ALONE, Follower, descriptors, eventually},
};

fn path(c: &Value, what: &str) -> String {
    format!("{}/{what}", support::uri(c))
}

#[tokio::test]
async fn a_sample_says_what_is_used_and_is_no_evidence() {
    let _beside = ALONE.read().await;
    let w = TestApp::default().start().await;
    let c = w.http().create("image=spindle/mimic&memory=256m").await;
    w.engine.use_cpu(&container(&c), Duration::from_millis(1_500));
    let before = activity(&w, &c).await["sources"].clone();
    let mut stats = w.http().get(&path(&c, "stats")).await.expect(200).json();
    stats["at"].take();
    let expected = json!({ "at": null, "cpu": 0.0, "cpu_seconds": 1.5, "processes": 1, "disk_written": 4_096,
        "memory": { "used": 1 << 20, "limit": 256 << 20, "peak": 2 << 20 },
        "network": { "received": 1_000, "sent": 2_000 }, "relay": { "received": 0, "sent": 0 } });
    assert_eq!(stats, expected);
    assert_eq!(activity(&w, &c).await["sources"], before);
    w.http().get(&path(&c, "stats?stream=yes")).await.expect_error(400, "invalid_field");
    w.http().get(&path(&c, "stats?every=1")).await.expect_error(400, "unknown_field");
    w.engine.set_away(true);
    w.http().get(&path(&c, "stats")).await.expect_error(503, "engine_unavailable");
    w.http().get(&path(&c, "processes")).await.expect_error(503, "engine_unavailable");
    w.engine.set_away(false);
    w.http().patch(&c, "status=stopped").await.expect(200);
    w.until(&c, support::is("stopped")).await;
    for what in ["stats", "stats?stream=true", "processes"] {
        w.http().get(&path(&c, what)).await.expect_error(409, "not_running");
    }
    w.http().get(&path(&c, "configuration")).await.expect(200);
}

#[tokio::test]
async fn samples_come_each_second_and_end_with_the_sandbox() {
    let _beside = ALONE.read().await;
    let w = TestApp::default().start().await;
    let c = w.http().create("image=spindle/mimic").await;
    let mut follower = Follower::open(w.http(), &path(&c, "stats?stream=true"), &[]).await;
    let began = std::time::Instant::now();
    for _ in 0..2 {
        let sample: Value = serde_json::from_str(&follower.next().await.unwrap()).unwrap();
        assert_eq!(sample["processes"], 1);
    }
    assert!(began.elapsed() >= Duration::from_secs(1));
    w.http().patch(&c, "status=stopped").await.expect(200);
    assert_eq!(follower.next().await, None);
    let again = w.http().patch(&c, "status=running").await.expect(200).json();
    let mut follower = Follower::open(w.http(), &path(&again, "stats?stream=true"), &[]).await;
    w.engine.next("figures", Fault::Fail(EngineError::Unavailable("gone".into())));
    let mut last = Value::Null;
    while let Some(line) = follower.next().await {
        last = serde_json::from_str(&line).unwrap();
    }
    assert_eq!(last["code"], "engine_unavailable");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_vanishes_is_measured_for_no_longer() {
    let _alone = ALONE.write().await;
    let w = TestApp::with_api(|api| api.connections = 4_096).start().await;
    let c = w.http().create("image=spindle/mimic").await;
    let before = descriptors();
    let mut followers = Vec::new();
    for _ in 0..200 {
        followers.push(Follower::open(w.http(), &path(&c, "stats?stream=true"), &[]).await);
    }
    drop(followers);
    eventually("no descriptor is left", || descriptors() <= before + 8).await;
    let calls = w.engine.calls("figures");
    // One that stays shows that seconds pass.
    let mut one = Follower::open(w.http(), &path(&c, "stats?stream=true"), &[]).await;
    for _ in 0..3 {
        one.next().await.unwrap();
    }
    assert!(w.engine.calls("figures") <= calls + 10, "nobody else is measured any more");
}

#[tokio::test]
async fn secrets_are_for_those_who_may_enter() {
    let _beside = ALONE.read().await;
    let w = course().await;
    admin(&w, "POST", "/v1/users", &format!("name=asta&role=assistant&namespaces=db&password={PASSWORD}")).await;
    let c = of_alice(&w).await;
    let token = w.token(&c).await;
    let command = async |who: &str| {
        let shown = by_password(&w, who).get(&path(&c, "processes")).await.expect(200).json();
        shown["processes"][0]["command"].as_str().unwrap().to_owned()
    };
    assert_eq!(command("alice").await, format!("mimic --token={token}"));
    assert_eq!(command("asta").await, format!("mimic --token={}", "*".repeat(token.len())));
    by_password(&w, "asta").get(&path(&c, "configuration")).await.expect_error(403, "forbidden");

    let body =
        Body::Json(json!({ "image": "spindle/mimic", "namespace": "db", "owner": "alice", "labels": {"group": "a"},
        "env": { "COURSE": "db", "DB_PASSWORD": "hunter2", "URL": "https://ann:hunter2@host/x" } }));
    let made = by_password(&w, "ina").send("POST", "/v1/containers", body).await.expect(201).json();
    for who in ["ina", "alice"] {
        let answer = by_password(&w, who).get(&path(&made, "configuration")).await.expect(200);
        assert!(!answer.text.contains("hunter2"), "{answer:?}");
        let shown = answer.json();
        let env = json!({ "COURSE": "db", "DB_PASSWORD": "***", "URL": "https://ann:***@host/x" });
        assert_eq!((&shown["effective"]["env"], &shown["asked"]["labels"]), (&env, &json!({ "group": "a" })));
        assert_eq!(shown["effective"]["mounts"][0], json!({ "at": "/run/spindle", "kind": "bind", "writable": false }));
    }
    let invited = by_password(&w, "ina").post(&path(&made, "invite"), "").await.expect(201).json();
    support::people::bearer(&w, &invited).get(&path(&made, "configuration")).await.expect_error(403, "forbidden");
}
