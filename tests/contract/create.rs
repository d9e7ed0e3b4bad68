//! Create: statements 16 to 20, and the optional fields.

use super::support::{Body, Holds, World, docker::Docker, is, scripted::TestApp, uri};
use serde_json::{Value, json};

/// It is shown as stopped, and, once the engine's event of it was heard too, with who ended it.
async fn ends_at_once(w: &dyn World, c: &Value) {
    let says_why: Holds = |c| c["why"].as_str().unwrap().contains("its program ended with exit code 127");
    let stopped = w.until(c, says_why).await;
    let shown = (&stopped["status"], &stopped["stopped_reason"], &stopped["exit_code"], &stopped["oom_killed"]);
    assert_eq!(shown, (&json!("stopped"), &json!("exited"), &json!(127), &json!(false)), "{stopped}");
    assert!(stopped["last_lines"].is_array(), "{stopped}");
}

contract! {
    /// curl -u admin:spindocker -d image=spindle/base URL/v1/containers
    async fn s16_create_by_form_and_by_json(w: &mut dyn World) {
        for body in [
            Body::Form("image=spindle/mimic"),
            Body::Json(json!({"image": "spindle/mimic"})),
            Body::Form("{\"image\": \"spindle/mimic\"}"),
        ] {
            let answer = w.http().send("POST", "/v1/containers", body).await.expect(201);
            let c = answer.json();
            assert_eq!(answer.header("location"), uri(&c));
            assert_eq!(c["status"], "running");
            assert!(c["ssh_port"] != "" && c["app_port"] != "", "{c}");
        }
    }

    async fn s17_image_is_required(w: &mut dyn World) {
        for body in [
            Body::None, Body::Form(""), Body::Form("image="), Body::Form("image=%20"),
            Body::Json(json!({})), Body::Json(json!({"image": ""})), Body::Json(json!({"image": null})),
        ] {
            let message = w.http().send("POST", "/v1/containers", body).await.expect_error(400, "image_blank");
            assert_eq!(message, "Image cannot be blank");
        }
        let body = Body::Json(json!({"image": 7}));
        let message = w.http().send("POST", "/v1/containers", body).await.expect_error(400, "invalid_field");
        assert!(message.contains("image"), "{message}");
    }

    async fn s18_an_unknown_image_is_404_and_leaves_nothing(w: &mut dyn World) {
        for image in ["no/such-image", "spindle/mimic:no-such-tag", "UPPER/case"] {
            let answer = w.http().send("POST", "/v1/containers", Body::Form(&format!("image={image}"))).await;
            assert_eq!(answer.expect_error(404, "image_not_found"), format!("Image {image} not found on this server"));
        }
        let long = format!("image={}", "x".repeat(10_000));
        let message = w.http().send("POST", "/v1/containers", Body::Form(&long)).await.expect_error(400, "invalid_field");
        assert!(message.starts_with("image: ") && message.len() < 300, "{message}");
        w.http().send("POST", "/v1/containers", Body::Form("image=../containers")).await.expect_error(400, "invalid_field");
        assert_eq!(w.http().get("/v1/containers").await.json(), json!([]));
        assert!(w.held().await.is_empty());
    }

    async fn s19_an_image_without_ports_is_allowed(w: &mut dyn World) {
        let c = w.http().create("image=spindle/mimic:bare").await;
        assert_eq!((&c["ssh_port"], &c["app_port"], &c["ports"]), (&json!(""), &json!(""), &json!([])));
    }

    async fn s20_concurrent_creates_succeed_and_share_no_port(w: &mut dyn World) {
        let creates = (0..8).map(|_| w.http().create("image=spindle/mimic"));
        let made = futures_util::future::join_all(creates).await;
        let mut ports: Vec<String> = made.iter().flat_map(|c| [c["ssh_port"].to_string(), c["app_port"].to_string()]).collect();
        ports.sort();
        ports.dedup();
        assert_eq!(ports.len(), 16);
    }

    /// Never one or the other by luck, at a creation and at each later start.
    async fn s20_a_program_that_ends_at_once_is_created_and_soon_shown_as_exited(w: &mut dyn World) {
        let mut made = Vec::new();
        for _ in 0..10 {
            let c = w.http().send("POST", "/v1/containers", Body::Form("image=spindle/mimic:empty")).await.expect(201).json();
            assert_eq!((&c["status"], &c["exit_code"], &c["last_lines"]), (&json!("running"), &json!(null), &json!(null)));
            assert!(c["ssh_port"] != "" && c["app_port"] != "", "{c}");
            made.push(c);
        }
        for c in &made {
            ends_at_once(w, c).await;
        }
        for _ in 0..4 {
            let again = w.http().patch(&made[0], "status=running").await.expect(200).json();
            assert_eq!((&again["status"], &again["exit_code"]), (&json!("running"), &json!(null)));
            ends_at_once(w, &again).await;
        }
    }

    async fn optional_fields_by_form_and_by_json(w: &mut dyn World) {
        let form = "image=spindle/mimic&name=bob-1&idle_timeout=300&memory=64m&cpus=0.5&labels=course=db,group=a";
        let json = json!({
            "image": "spindle/mimic", "name": "bob-2", "idle_timeout": 300, "memory": "64m", "cpus": 0.5,
            "labels": {"course": "db", "group": "a"}, "env": {"GREETING": "hello world"},
            "ssh_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti me",
        });
        for (body, name) in [(Body::Form(form), "/bob-1"), (Body::Json(json), "/bob-2")] {
            let c = w.http().send("POST", "/v1/containers", body).await.expect(201).json();
            assert_eq!(c["name"], name);
            assert_eq!((&c["idle_timeout"], &c["memory"], &c["cpus"]), (&json!(300), &json!(64 << 20), &json!(0.5)));
            assert_eq!(c["labels"], json!({"course": "db", "group": "a"}));
        }
        let taken = w.http().send("POST", "/v1/containers", Body::Form("image=spindle/mimic&name=bob-1")).await;
        assert!(taken.expect_error(409, "name_taken").contains("bob-1"));
    }

    async fn bad_optional_fields_name_field_value_and_what_is_allowed(w: &mut dyn World) {
        for (field, value) in [
            ("name", json!("a/b")), ("name", json!("0123456789abcdef")), ("name", json!(5)), ("ssh_key", json!("rubbish")),
            ("env", json!("A=1")), ("env", json!({"A B": "x"})), ("env", json!({"A": 1})), ("idle_timeout", json!(0)),
            ("idle_timeout", json!(2)), ("idle_timeout", json!("soon")), ("idle_timeout", json!(-5)), ("memory", json!("1m")),
            ("memory", json!("lots")), ("cpus", json!(0)), ("cpus", json!("many")), ("labels", json!(["x"])),
            ("labels", json!({"spindle.id": "x"})), ("labels", json!({"a": "b\n"})),
        ] {
            let body = Body::Json(json!({"image": "spindle/mimic", field: value}));
            let message = w.http().send("POST", "/v1/containers", body).await.expect_error(400, "invalid_field");
            assert!(message.starts_with(&format!("{field}: ")) && message.contains("not allowed"), "{value}: {message}");
        }
        w.http().send("POST", "/v1/containers", Body::Form("image=spindle/mimic&env=A")).await.expect_error(400, "invalid_field");
        assert!(w.held().await.is_empty());
    }
}

/// 20, first half: what cannot start leaves nothing.
#[tokio::test(flavor = "multi_thread")]
async fn s20_a_start_that_fails_leaves_nothing_on_docker() {
    let world = Docker::start(&[]).await;
    let answer = world.http().send("POST", "/v1/containers", Body::Form("image=spindle/mimic:broken")).await;
    let message = answer.expect_error(502, "engine_failed");
    assert!(message.contains("nobody-such"), "{message}");
    assert!(world.held().await.is_empty());
    assert_eq!(world.http().get("/v1/containers").await.json(), json!([]));
}

/// 20: what it said last is shown.
#[tokio::test(flavor = "multi_thread")]
async fn s20_what_it_said_last_is_shown_on_docker() {
    let world = Docker::start(&[]).await;
    let c = world.http().create("image=spindle/mimic:empty").await;
    let stopped = world.until(&c, is("stopped")).await;
    assert!(stopped["last_lines"].to_string().contains("/no/such/program"), "{stopped}");
    assert_eq!(world.held().await.len(), 1, "it is kept");
}
