//! `/metrics`: what is counted, who may see it, and that no learner is named.

mod support;

use support::{
    Body, World, id,
    people::{by_password, course, of_alice},
    scripted::{settle, world},
    uri,
};

/// The value of a figure.
fn figure(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

async fn figures(w: &impl World) -> String {
    let answer = w.http().bare("GET", "/metrics", Body::None, &[]).await.expect(200);
    assert!(answer.header("content-type").starts_with("application/openmetrics-text; version=1.0.0"));
    assert!(answer.text.ends_with("# EOF\n"));
    answer.text
}

#[tokio::test]
async fn what_happens_is_counted() {
    let w = world().await;
    let c = w.http().create("image=spindle/mimic&name=alice").await;
    w.http().create("image=spindle/mimic:bare").await;
    w.check_in(&c, "active=1").await;
    w.door.bare("POST", "/v1/check-in", Body::Form("active=1"), &[("authorization", "Bearer x")]).await.expect(200);
    w.http().patch(&c, "status=stopped").await.expect(200);
    settle(&w, &c, "stopped").await;
    w.http().get("/v1/containers/nobody").await.expect_error(404, "container_not_found");
    w.pass_seconds(support::scripted::LIMIT + 1).await;
    let text = figures(&w).await;
    for (name, value) in [
        ("spindle_sandboxes{status=\"stopped\",image=\"spindle/mimic\"}", 1.0),
        ("spindle_sandboxes{status=\"stopped\",image=\"spindle/mimic:bare\"}", 1.0),
        ("spindle_stops_total{reason=\"requested\"}", 1.0),
        ("spindle_stops_total{reason=\"idle\"}", 1.0),
        ("spindle_young_stops_total{}", 0.0),
        ("spindle_events_total{type=\"created\"}", 2.0),
        ("spindle_check_ins_total{result=\"recorded\"}", 1.0),
        ("spindle_check_ins_total{result=\"unknown\"}", 1.0),
        ("spindle_part_up{part=\"engine\"}", 1.0),
        ("spindle_http_requests_total{method=\"GET\",route=\"/v1/containers/<id>\",status=\"404\"}", 1.0),
    ] {
        assert_eq!(figure(&text, name), Some(value), "{name} in {text}");
    }
    for name in ["spindle_passes_total{}", "spindle_pass_seconds_total{}", "process_resident_memory_bytes{}"] {
        assert!(figure(&text, name).is_some_and(|value| value > 0.0), "{name} in {text}");
    }
    for secret in ["alice", id(&c)] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

#[tokio::test]
async fn who_may_watch_the_server_sees_it() {
    let w = course().await;
    let made = of_alice(&w).await;
    by_password(&w, "ina").get("/metrics").await.expect(200);
    by_password(&w, "alice").get("/metrics").await.expect_error(403, "forbidden");
    w.http().get("/metrics").await.expect(200);
    w.http()
        .bare("GET", "/metrics", Body::None, &[("authorization", "Bearer x")])
        .await
        .expect_error(401, "unauthorized");
    w.http().bare("GET", "/metrics?x=1", Body::None, &[]).await.expect_error(400, "unknown_field");
    assert!(figures(&w).await.contains("spindle_sandboxes{status=\"running\""), "{}", uri(&made));
}
