//! Stop, start, delete: statements 21 to 25.

use super::support::{Body, World, docker::Docker, is, scripted::TestApp, uri};
use serde_json::json;
use std::time::Duration;

contract! {
    async fn s21_stop_answers_at_once(w: &mut dyn World) {
        for body in [Body::Form("status=stopped"), Body::Json(json!({"status": "stopped"}))] {
            let c = w.http().create("image=spindle/mimic").await;
            let stopping = w.http().send("PATCH", uri(&c), body).await.expect(200).json();
            assert_eq!(stopping["status"], "stopping");
            assert_eq!(stopping["ports"], c["ports"]);
            let stopped = w.until(&c, is("stopped")).await;
            assert_eq!(stopped["stopped_reason"], "requested");
        }
    }

    async fn s22_start_answers_when_it_runs_and_keeps_everything(w: &mut dyn World) {
        let c = w.http().create("image=spindle/mimic").await;
        w.http().patch(&c, "status=stopped").await.expect(200);
        w.until(&c, is("stopped")).await;
        let again = w.http().send("PATCH", uri(&c), Body::Json(json!({"status": "running"}))).await.expect(200).json();
        assert_eq!(again["status"], "running");
        for key in ["container_id", "name", "image", "uri", "ssh_port", "app_port", "ports"] {
            assert_eq!(again[key], c[key], "{key}");
        }
    }

    async fn s23_patch_is_idempotent(w: &mut dyn World) {
        let c = w.http().create("image=spindle/mimic").await;
        let same = w.http().patch(&c, "status=running").await.expect(200).json();
        assert_eq!(same, c, "running to running changes nothing");
        assert_eq!(w.http().patch(&c, "status=stopped").await.expect(200).json()["status"], "stopping");
        let again = w.http().patch(&c, "status=stopped").await.expect(200).json();
        assert!(again["status"] == "stopping" || again["status"] == "stopped", "{again}");
        w.until(&c, is("stopped")).await;
        assert_eq!(w.http().patch(&c, "status=stopped").await.expect(200).json()["status"], "stopped");
        w.http().patch(&c, "status=running").await.expect(200);
        w.http().patch(&c, "status=stopped").await.expect(200);
        let started = w.http().patch(&c, "status=running").await.expect(200).json();
        assert_eq!(started["status"], "running", "a start that arrives while stopping wins afterwards");
    }

    async fn s24_patch_without_status_changes_nothing(w: &mut dyn World) {
        let c = w.http().create("image=spindle/mimic:bare").await;
        for body in [Body::None, Body::Form(""), Body::Json(json!({}))] {
            assert_eq!(w.http().send("PATCH", uri(&c), body).await.expect(200).json(), c);
        }
        for body in [Body::Form("status=paused"), Body::Form("status="), Body::Json(json!({"status": true}))] {
            w.http().send("PATCH", uri(&c), body).await.expect_error(400, "invalid_field");
        }
        let message = w.http().patch(&c, "status=paused").await.expect_error(400, "invalid_field");
        assert!(["status", "paused", "running", "stopped"].iter().all(|w| message.contains(w)), "{message}");
        w.http().send("PATCH", "/v1/containers/nobody", Body::Form("status=paused")).await.expect(404);
    }

    async fn s25_delete_removes_running_and_stopped(w: &mut dyn World) {
        let running = w.http().create("image=spindle/mimic").await;
        let stopped = w.http().create("image=spindle/mimic").await;
        w.http().patch(&stopped, "status=stopped").await.expect(200);
        w.until(&stopped, is("stopped")).await;
        for c in [&running, &stopped] {
            let answer = w.http().delete(c).await.expect(204);
            assert_eq!(answer.text, "");
            w.http().get(uri(c)).await.expect_error(404, "container_not_found");
            w.http().delete(c).await.expect_error(404, "container_not_found");
        }
        assert_eq!(w.http().get("/v1/containers").await.json(), json!([]));
        w.until_none_is_held().await;
    }

    /// What was promised away is there for the next at once, whatever the engine is still at.
    async fn s25_the_name_is_free_once_the_delete_is_answered(w: &mut dyn World) {
        for _ in 0..5 {
            let c = w.http().create("image=spindle/mimic&name=phoenix").await;
            w.http().delete(&c).await.expect(204);
        }
        let last = w.http().create("image=spindle/mimic&name=phoenix").await;
        assert_eq!(last["name"], "/phoenix");
        assert_eq!(w.http().get("/v1/containers").await.json().as_array().unwrap().len(), 1);
    }
}

/// 21: SIGTERM, then SIGKILL after the grace.
#[tokio::test(flavor = "multi_thread")]
async fn s21_what_ignores_sigterm_is_killed_after_ten_seconds() {
    let world = Docker::start(&[]).await;
    let body = json!({"image": "spindle/mimic", "env": {"MIMIC_IGNORE_TERM": "1"}});
    let c = world.http().send("POST", "/v1/containers", Body::Json(body)).await.expect(201).json();
    let other = world.http().create("image=spindle/mimic").await;
    let started = std::time::Instant::now();
    for c in [&c, &other] {
        world.http().patch(c, "status=stopped").await.expect(200);
    }
    world.until(&other, is("stopped")).await;
    assert!(started.elapsed() < Duration::from_secs(8), "a stubborn sandbox delays nobody");
    assert_eq!(world.http().now(&c).await["status"], "stopping");
    world.until(&c, is("stopped")).await;
    assert!(started.elapsed() >= Duration::from_secs(10));
}
