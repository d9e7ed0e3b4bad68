//! Repeated requests: whoever sends `Idempotency-Key` may repeat a POST, and nothing is done twice.

mod support;

use std::sync::Arc;

use serde_json::{Value, json};
use spindle::engine::fake::Fault;
use support::{
    Answer, Body, Http, World, id,
    people::{PASSWORD, basic, course},
    scripted::{Scripted, TestApp, container},
};

const ADMIN: &str = "Basic YWRtaW46c3BpbmRvY2tlcg==";

async fn keyed(http: &Http, path: &str, form: &str, key: &str, who: &str) -> Answer {
    let headers = [("authorization", who), ("idempotency-key", key)];
    let body = if form.is_empty() { Body::None } else { Body::Form(form) };
    http.bare("POST", path, body, &headers).await
}

async fn post(w: &Scripted, path: &str, form: &str, key: &str) -> Answer {
    keyed(w.http(), path, form, key, ADMIN).await
}

async fn all(w: &Scripted) -> usize {
    w.http().get("/v1/containers").await.json().as_array().unwrap().len()
}

#[tokio::test]
async fn a_repeated_creation_answers_with_the_one_as_it_is_now() {
    let w = TestApp::default().start().await;
    let form = "image=spindle/mimic&name=alice";
    let c = post(&w, "/v1/containers", form, "k1").await.expect(201).json();
    w.http().patch(&c, "idle_timeout=77").await.expect(200);
    let again = post(&w, "/v1/containers", form, "k1").await.expect(200).json();
    assert_eq!((id(&again), &again["idle_timeout"]), (id(&c), &json!(77)));
    assert_eq!(all(&w).await, 1);
    let why = post(&w, "/v1/containers", "image=spindle/mimic&name=bob", "k1").await;
    assert!(why.expect_error(409, "idempotency_key_reused").contains("\"k1\""));
    post(&w, "/v1/containers", "image=spindle/mimic&name=bob", "k2").await.expect(201);
    w.http().delete(&c).await.expect(204);
    post(&w, "/v1/containers", form, "k1").await.expect_error(404, "container_not_found");
    assert_eq!(all(&w).await, 1, "what was deleted since is not made again");
    for bad in ["", "a b", &"x".repeat(256)] {
        post(&w, "/v1/containers", form, bad).await.expect_error(400, "invalid_field");
    }
    // A day later the key is free.
    w.clock.advance(std::time::Duration::from_hours(25));
    post(&w, "/v1/containers", form, "k1").await.expect(201);
}

#[tokio::test]
async fn what_was_refused_may_be_tried_again_with_its_key() {
    let w = TestApp::default().start().await;
    let form = "image=spindle/mimic&name=alice";
    w.engine.next("create", Fault::Fail(spindle::engine::EngineError::Refused("no disk".into())));
    post(&w, "/v1/containers", form, "k").await.expect_error(502, "engine_failed");
    post(&w, "/v1/containers", form, "k").await.expect(201);
    post(&w, "/v1/containers", form, "k").await.expect(200);
    post(&w, "/v1/containers", "nonsense=1", "k3").await.expect_error(400, "unknown_field");
    post(&w, "/v1/containers", "image=spindle/mimic", "k3").await.expect(201);
}

/// The twin waits, and is answered with what the first one made.
#[tokio::test]
async fn a_twin_that_is_under_way_is_waited_for() {
    let w = TestApp::default().start().await;
    w.engine.next("create", Fault::Hang);
    let send = |http: Http| async move { keyed(&http, "/v1/containers", "image=spindle/mimic", "twin", ADMIN).await };
    let first = tokio::spawn(send(w.http().clone()));
    while w.engine.calls("create") == 0 {
        tokio::task::yield_now().await;
    }
    let second = tokio::spawn(send(w.http().clone()));
    // Others with the same key are other people's, and do not wait.
    let asked = w.http().get("/v1/containers").await.expect(200);
    assert_eq!((asked.text.as_str(), second.is_finished()), ("[]", false));
    w.engine.release();
    let (first, second) = (first.await.unwrap().expect(201).json(), second.await.unwrap().expect(200).json());
    assert_eq!((id(&first), all(&w).await), (id(&second), 1));
}

#[tokio::test]
async fn a_key_is_its_actors_own() {
    let w = course().await;
    let (ina, form) = (basic("ina", PASSWORD), "image=spindle/mimic&namespace=db");
    keyed(w.http(), "/v1/containers", form, "k", &ina).await.expect(201);
    keyed(w.http(), "/v1/containers", form, "k", ADMIN).await.expect(201);
    keyed(w.http(), "/v1/containers", form, "k", &ina).await.expect(200);
    assert_eq!(all(&w).await, 2);
}

#[tokio::test]
async fn verbs_are_done_once_and_what_is_told_once_is_not_told_again() {
    let w = TestApp::default().start().await;
    let c = w.http().create("image=spindle/mimic&name=alice").await;
    let path = |verb: &str| format!("{}/{verb}", support::uri(&c));
    for _ in 0..2 {
        let told = post(&w, &path("message"), "text=hello", "m").await.expect(200).json();
        assert!(told["terminals"] == 1 || id(&told) == id(&c), "{told}");
        assert_eq!(id(&post(&w, &path("restart"), "", "r").await.expect(200).json()), id(&c));
    }
    assert_eq!(w.engine.announcements(&container(&c)), ["Message from admin: hello"]);
    assert_eq!(w.engine.calls("stop"), 1);
    let first = post(&w, &path("reset"), "confirm=true", "z").await.expect(200).json();
    let again = post(&w, &path("reset"), "confirm=true", "z").await.expect(200).json();
    assert_eq!(id(&first), id(&again));
    let token = post(&w, "/v1/tokens", "name=x&scopes=read", "t").await.expect(201).json();
    let again = post(&w, "/v1/tokens", "name=x&scopes=read", "t").await;
    let why = again.expect_error(409, "already_done");
    assert!(why.contains(token["id"].as_str().unwrap()), "{why}");
    post(&w, "/v1/namespaces", "name=db", "n").await.expect(201);
    assert_eq!(post(&w, "/v1/namespaces", "name=db", "n").await.expect(200).json()["name"], "db");
    post(&w, "/v1/users", "name=bob&password=generate", "u").await.expect(201);
    assert!(
        post(&w, "/v1/users", "name=bob&password=generate", "u")
            .await
            .expect_error(409, "already_done")
            .contains("/v1/users/bob")
    );
    let table = || Body::Raw("text/csv", b"name\ncarl\n".to_vec());
    let headers = [("authorization", ADMIN), ("idempotency-key", "i")];
    w.http().bare("POST", "/v1/users/import", table(), &headers).await.expect(200);
    w.http().bare("POST", "/v1/users/import", table(), &headers).await.expect_error(409, "already_done");
}

#[tokio::test]
async fn several_are_made_once() {
    let w = TestApp::default().start().await;
    let form = "image=spindle/mimic&count=3";
    let made = post(&w, "/v1/containers", form, "k").await.expect(200).json();
    let again = post(&w, "/v1/containers", form, "k").await.expect(200).json();
    let ids = |list: &Value| list.as_array().unwrap().iter().map(|r| r["container_id"].clone()).collect::<Vec<_>>();
    assert_eq!((ids(&made), all(&w).await), (ids(&again), 3));
    assert!(again.as_array().unwrap().iter().all(|r| r["status"] == 200 && r["container"]["status"] == "running"));
    for _ in 0..2 {
        let told = post(&w, "/v1/containers/message?name=*", "text=once", "m").await.expect(200).json();
        assert_eq!(ids(&told), ids(&made));
    }
    let told: usize = w.engine.containers().iter().map(|c| w.engine.announcements(c).len()).sum();
    assert_eq!(told, 3);
}

/// The server is killed amid a creation, and the client sends it again to the next server.
#[tokio::test]
async fn a_creation_that_was_cut_off_is_not_made_twice() {
    for form in ["image=spindle/mimic", "image=spindle/mimic&name=alice", "image=spindle/mimic&count=1"] {
        let mut w = TestApp::default().start().await;
        // It is made, and the answer is lost: as if the process had been killed in between.
        let asked = Arc::clone(&w.app.asked);
        let by = spindle::domain::Actor { request: Some("killed".into()), ..spindle::domain::Actor::admin("admin") };
        asked.claim_once(&by, "k", &[b"/v1/containers", b"", form.as_bytes()]).await.unwrap();
        let mut spec = spindle::app::CreateSpec::of(spindle::domain::ImageRef::parse("spindle/mimic").unwrap());
        spec.name = form.contains("name").then(|| spindle::domain::SandboxName::parse("alice").unwrap());
        let made = asked.create(&by, spec).await.unwrap();
        w.restart().await;
        let again = post(&w, "/v1/containers", form, "k").await;
        assert!([200, 201].contains(&again.status), "{again:?}");
        let again = again.json();
        let one = if form.contains("count") { &again[0] } else { &again };
        assert_eq!((id(one), all(&w).await), (made.container.unwrap().as_str(), 1), "{form}");
        post(&w, "/v1/containers", form, "k").await.expect(200);
        assert_eq!(all(&w).await, 1);
        w.check().await;
    }
}

#[tokio::test]
async fn a_request_that_is_no_such_request_keeps_no_key() {
    let w = TestApp::default().start().await;
    let c = post(&w, "/v1/containers", "image=spindle/mimic", "k1").await.expect(201).json();
    let restart = format!("{}/restart", c["uri"].as_str().unwrap());
    post(&w, &restart, "grace=5", "k2").await.expect_error(400, "unknown_field");
    post(&w, &restart, "", "k2").await.expect(200);
}
