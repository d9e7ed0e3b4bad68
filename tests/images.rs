//! `/v1/images`: what an image is like, making sure that one is here, removing it, and what its labels say of the
//! sandboxes that are made from it. On the scripted engine.

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use spindle::engine::EngineError;
use support::{Answer, Body, Http, World, scripted::world};

const LATEST: &str = "/v1/images/spindle/mimic:latest";

/// Asks for an image, and reads nothing of the answer yet.
async fn begin_put(http: &Http, image: &str) -> reqwest::Result<reqwest::Response> {
    let request = http.client.put(format!("{}/v1/images/{image}", http.base));
    request.basic_auth("admin", Some("spindocker")).send().await
}

async fn put(http: &Http, image: &str) -> Answer {
    http.send("PUT", &format!("/v1/images/{image}"), Body::None).await
}

/// The objects of an answer that comes in lines.
fn lines(answer: Answer) -> Vec<Value> {
    let answer = answer.expect(200);
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    answer.text.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
}

fn last_status(answer: Answer) -> Value {
    lines(answer).pop().expect("a last line")["status"].clone()
}

#[tokio::test]
async fn an_image_is_told_of() {
    let w = world().await;
    w.engine.label_image("spindle/mimic:latest", "title", "Mimic");
    w.engine.label_image("spindle/mimic:latest", "app_port", "8000");
    let image = w.http().get("/v1/images/spindle/mimic").await.expect(200).json();
    assert_eq!(
        (&image["image"], &image["title"], &image["description"]),
        (&json!("spindle/mimic"), &json!("Mimic"), &Value::Null)
    );
    assert_eq!(
        (&image["tags"], &image["exposed_ports"]),
        (&json!(["spindle/mimic:latest"]), &json!(["22/tcp", "8000/tcp"]))
    );
    assert_eq!((&image["size"], &image["platform"]), (&json!(1 << 20), &json!("linux/amd64")));
    assert_eq!((&image["labels"]["spindle.app_port"], &image["containers"]), (&json!("8000"), &json!(0)));
    w.http().create("image=spindle/mimic").await;
    let escaped = w.http().get("/v1/images/spindle%2Fmimic%3Alatest").await.expect(200).json();
    assert_eq!((&escaped["containers"], &escaped["problems"]), (&json!(1), &json!([])));
    w.engine.label_image("spindle/mimic:latest", "idle_timout", "5m");
    let problems = &w.http().get(LATEST).await.expect(200).json()["problems"];
    assert_eq!(*problems, json!(["the image's label spindle.idle_timout means nothing"]));

    let message = w.http().get("/v1/images/no/such:image").await.expect_error(404, "image_not_found");
    assert_eq!(message, "Image no/such:image not found on this server");
    w.http().get("/v1/images/a//b").await.expect_error(404, "image_not_found");
    w.http().get("/v1/images/..%2Fcontainers").await.expect_error(400, "invalid_field");
    w.http().bare("GET", LATEST, Body::None, &[]).await.expect_error(401, "unauthorized");
    let refused = w.http().send("POST", LATEST, Body::None).await;
    assert_eq!(refused.header("allow"), "GET, HEAD, PUT, DELETE");
    refused.expect_error(405, "method_not_allowed");
    w.check().await;
}

#[tokio::test]
async fn an_image_that_is_not_here_is_pulled() {
    let w = world().await;
    assert_eq!(last_status(put(w.http(), "spindle/mimic").await), "present");
    assert_eq!(w.engine.calls("pull"), 0);
    w.engine.move_to_registry("spindle/mimic:udp");
    w.http().get("/v1/images/spindle/mimic:udp").await.expect_error(404, "image_not_found");
    let pulled = lines(put(w.http(), "spindle/mimic:udp").await).pop().unwrap();
    assert_eq!((&pulled["status"], &pulled["image"]["image"]), (&json!("present"), &json!("spindle/mimic:udp")));
    w.http().create("image=spindle/mimic:udp").await;

    let message = put(w.http(), "no/such").await.expect_error(404, "image_not_found");
    assert!(message.contains("no registry has it"), "{message}");
    w.engine.move_to_registry("spindle/mimic:twin");
    w.engine.break_pulls(EngineError::Refused("no space left on device".into()));
    let message = put(w.http(), "spindle/mimic:twin").await.expect_error(502, "engine_failed");
    assert!(message.contains("no space left"), "{message}");
    w.check().await;
}

#[tokio::test]
async fn a_pull_goes_on_without_whoever_asked_and_is_found_again() {
    let w = world().await;
    w.engine.move_to_registry("spindle/mimic:twin");
    w.engine.stall_pulls(true);
    let hurried = Http {
        client: reqwest::Client::builder().timeout(Duration::from_millis(100)).build().unwrap(),
        ..w.http().clone()
    };
    begin_put(&hurried, "spindle/mimic:twin").await.expect_err("it does not wait so long");
    let again = tokio::spawn({
        let http = w.http().clone();
        async move { lines(put(&http, "spindle/mimic:twin").await) }
    });
    // A third one sees how far it is before the pull goes on.
    let mut third = begin_put(w.http(), "spindle/mimic:twin").await.unwrap();
    let first = third.chunk().await.unwrap().expect("a line while it is pulled");
    let first: Value = serde_json::from_slice(&first).unwrap();
    assert_eq!(first, json!({"status": "pulling", "layers_done": 0, "layers": 1, "bytes_done": 1, "bytes": 2}));
    w.engine.stall_pulls(false);
    let lines = again.await.unwrap();
    assert_eq!(lines.last().unwrap()["status"], "present", "{lines:?}");
    assert_eq!(w.engine.calls("pull"), 1, "one pull for all who ask");
    w.check().await;
}

#[tokio::test]
async fn a_pull_that_fails_late_says_so_in_its_last_line() {
    let w = world().await;
    w.engine.move_to_registry("spindle/mimic:twin");
    w.engine.stall_pulls(true);
    w.engine.break_pulls(EngineError::Refused("the disk is full".into()));
    let mut answer = begin_put(w.http(), "spindle/mimic:twin").await.unwrap();
    assert!(answer.chunk().await.unwrap().is_some());
    w.engine.stall_pulls(false);
    let mut rest = String::new();
    while let Some(chunk) = answer.chunk().await.unwrap() {
        rest.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    let last: Value = serde_json::from_str(rest.lines().last().unwrap()).unwrap();
    assert_eq!((&last["status"], &last["code"]), (&json!("failed"), &json!("engine_failed")));
    assert_eq!(last["message"], "the image could not be pulled: the disk is full");
    w.check().await;
}

#[tokio::test]
async fn an_image_in_use_stays() {
    let w = world().await;
    let c = w.http().create("image=spindle/mimic").await;
    let message = w.http().send("DELETE", LATEST, Body::None).await.expect_error(409, "image_in_use");
    assert_eq!(message, "Image spindle/mimic:latest is in use: a container was made from it; delete that first");
    w.http().delete(&c).await.expect(204);
    w.http().send("DELETE", LATEST, Body::None).await.expect(204);
    w.http().send("DELETE", LATEST, Body::None).await.expect_error(404, "image_not_found");
    w.check().await;
}

#[tokio::test]
async fn labels_say_what_the_creator_does_not() {
    let w = world().await;
    for (key, value) in [("memory", "64m"), ("cpus", "0.5"), ("access", "/lab?token={token}"), ("app_port", "8000")] {
        w.engine.label_image("spindle/mimic:latest", key, value);
    }
    let c = w.http().create("image=spindle/mimic").await;
    assert_eq!((&c["memory"], &c["cpus"]), (&json!(64 << 20), &json!(0.5)));
    let access = c["access"].as_str().unwrap();
    let expected = format!("http://127.0.0.1:{}/lab?token=", c["app_port"].as_str().unwrap());
    assert!(access.starts_with(&expected) && access.len() == expected.len() + 32, "{access}");
    w.http().patch(&c, "status=stopped").await.expect(200);
    assert_eq!(w.http().now(&c).await["access"], access, "whoever opens it wakes the container");
    let own = w.http().create("image=spindle/mimic&memory=128m&cpus=1").await;
    assert_eq!((&own["memory"], &own["cpus"]), (&json!(128 << 20), &json!(1.0)));
    assert_eq!(w.http().create("image=spindle/mimic:twin").await["access"], Value::Null);
    w.engine.label_image("spindle/mimic:twin", "memory", "lots");
    let refused = w.http().send("POST", "/v1/containers", Body::Form("image=spindle/mimic:twin")).await;
    let message = refused.expect_error(400, "invalid_field");
    assert!(message.starts_with("the image's label spindle.memory: \"lots\""), "{message}");
    w.check().await;
}
