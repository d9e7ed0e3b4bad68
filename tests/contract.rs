//! The API contract, statement by statement, on every engine: each test names its number in `contract.md`.
//! What each sends is what the documentation shows with curl.

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{Body, World, docker::Docker, id, is, scripted::TestApp, uri};

/// Defines each statement once and runs it in both worlds.
macro_rules! contract {
    ($($(#[$doc:meta])* async fn $name:ident($world:ident: &mut $w:ty) $body:block)*) => {
        $( $(#[$doc])* async fn $name($world: &mut $w) $body )*

        mod on_the_scripted_engine {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    let mut world = TestApp::default().start().await;
                    super::$name(&mut world).await;
                    world.check().await;
                }
            )*
        }

        mod on_docker {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    let mut world = Docker::start(&[]).await;
                    super::$name(&mut world).await;
                }
            )*
        }
    };
}

const RUBBISH: [&str; 9] = [
    "Basic",
    "Basic ",
    "Basic !!!!",
    "Basic YWRtaW4=",
    "Basic YWRtaW46d3Jvbmc=",
    "Basic /////w==",
    "Bearer x",
    "",
    "Basic YWRtaW46c3BpbmRvY2tlcg== YWRtaW46c3BpbmRvY2tlcg==",
];

contract! {
    /// curl -u admin:spindocker URL
    async fn s01_images_and_containers_want_basic_credentials(w: &mut dyn World) {
        let c = w.http().create("image=spindle/mimic").await;
        for (method, path) in [
            ("GET", "/v1/images"), ("GET", "/v1/containers"), ("POST", "/v1/containers"), ("GET", uri(&c)),
            ("PATCH", uri(&c)), ("DELETE", uri(&c)), ("PUT", uri(&c)), ("POST", "/v1/images"), ("GET", "/v1/containers/x"),
        ] {
            let answer = w.http().bare(method, path, Body::None, &[]).await;
            answer.expect_error(401, "unauthorized");
        }
        w.http().get("/v1/images").await.expect(200);
        w.http().get(uri(&c)).await.expect(200);
    }

    async fn s02_wrong_credentials_are_401_with_a_challenge(w: &mut dyn World) {
        for header in RUBBISH {
            let answer = w.http().bare("GET", "/v1/containers", Body::None, &[("authorization", header)]).await;
            assert!(answer.header("www-authenticate").starts_with("Basic realm=\""), "{answer:?}");
            answer.expect_error(401, "unauthorized");
        }
    }

    async fn s03_check_in_ignores_credentials(w: &mut dyn World) {
        let c = w.http().create("image=spindle/mimic").await;
        let wrong = "Authorization: Basic YWRtaW46d3Jvbmc=";
        assert_eq!(w.check_in_at(&c, "/v1/check-in", "active-connections=1", wrong).await.0, 200);
        assert_eq!(w.http().now(&c).await["active"], "1");
    }

    async fn s05_every_error_is_json(w: &mut dyn World) {
        let http = w.http();
        http.bare("GET", "/v1/containers", Body::None, &[]).await.expect_error(401, "unauthorized");
        http.get("/nowhere").await.expect_error(404, "not_found");
        http.get("/v1/containers/a/b").await.expect_error(404, "not_found");
        http.get("/v1/containers/..%2f..%2fetc").await.expect_error(404, "container_not_found");
        http.get("/v1/containers/%ff").await.expect_error(404, "container_not_found");
        http.send("POST", "/v1/containers", Body::Json(json!([1]))).await.expect_error(400, "invalid_json");
        for (content_type, bytes, status, code) in [
            ("application/json", b"{\"image\": ".to_vec(), 400, "invalid_json"),
            ("application/json", b"\xff\xfe".to_vec(), 400, "invalid_utf8"),
            ("application/x-www-form-urlencoded", b"image=%ff".to_vec(), 400, "invalid_utf8"),
            ("text/plain", b"image=x".to_vec(), 415, "unsupported_media_type"),
            ("application/json", vec![b' '; 70_000], 413, "payload_too_large"),
        ] {
            let answer = http.send("POST", "/v1/containers", Body::Raw(content_type, bytes)).await;
            answer.expect_error(status, code);
        }
    }

    async fn s06_a_method_that_a_path_lacks_is_405(w: &mut dyn World) {
        let c = w.http().create("image=spindle/mimic:bare").await;
        for (method, path, allow) in [
            ("POST", "/v1/images", "GET, HEAD"),
            ("PUT", "/v1/containers", "GET, HEAD, POST"),
            ("POST", uri(&c), "GET, HEAD, PATCH, DELETE"),
            ("GET", "/v1/check-in", "POST"),
            ("DELETE", "/v1/health", "GET, HEAD"),
        ] {
            let answer = w.http().send(method, path, Body::None).await;
            assert_eq!(answer.header("allow"), allow, "{method} {path}");
            answer.expect_error(405, "method_not_allowed");
        }
    }

    async fn s07_images_are_a_flat_array_of_tags(w: &mut dyn World) {
        let images: Vec<String> = serde_json::from_str(&w.http().get("/v1/images").await.expect(200).text).unwrap();
        for tag in ["spindle/mimic:latest", "spindle/mimic:twin"] {
            assert_eq!(images.iter().filter(|i| *i == tag).count(), 1, "{images:?}");
        }
        assert!(images.iter().all(|i| i.contains(':') && !i.contains("<none>")), "{images:?}");
    }

    async fn s08_the_container_object_has_its_keys_as_strings(w: &mut dyn World) {
        let c = w.http().create("image=spindle/mimic").await;
        let text = |key: &str| c[key].as_str().unwrap_or_else(|| panic!("{key} is no string: {c}")).to_owned();
        for key in ["container_id", "name", "image", "status", "active", "ssh_port", "app_port", "uri"] {
            text(key);
        }
        let id = text("container_id");
        assert!(id.len() == 64 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')), "{id}");
        assert!(text("name").starts_with('/'));
        assert_eq!(text("image"), "spindle/mimic");
        assert_eq!(text("status"), "running");
        assert_eq!(text("uri"), format!("/v1/containers/{id}"));
    }

    async fn s09_ssh_port_is_22s_and_app_port_anothers(w: &mut dyn World) {
        let port = |c: &Value, inside: u16| {
            let ports = c["ports"].as_array().unwrap();
            let found = ports.iter().find(|p| p["container_port"] == inside);
            found.map(|p| p["host_port"].to_string()).unwrap_or_default()
        };
        let c = w.http().create("image=spindle/mimic").await;
        assert_eq!((&c["ssh_port"], &c["app_port"]), (&json!(port(&c, 22)), &json!(port(&c, 8000))));
        assert_ne!(c["ssh_port"], c["app_port"]);
        let c = w.http().create("image=spindle/mimic:many").await;
        assert_eq!(c["app_port"], json!(port(&c, 8000)), "the label decides");
        assert_eq!(c["ports"].as_array().unwrap().len(), 4);
        let c = w.http().create("image=spindle/mimic:udp").await;
        assert_eq!(c["app_port"], json!(port(&c, 5353)));
        assert_eq!(c["ports"].as_array().unwrap().iter().filter(|p| p["protocol"] == "udp").count(), 1);
    }

    async fn s10_a_stopped_container_shows_no_ports_and_keeps_them(w: &mut dyn World) {
        let c = w.http().create("image=spindle/mimic").await;
        let stopping = w.http().patch(&c, "status=stopped").await.expect(200).json();
        assert_eq!((&stopping["ssh_port"], &stopping["app_port"]), (&c["ssh_port"], &c["app_port"]));
        let stopped = w.until(&c, is("stopped")).await;
        assert_eq!((&stopped["ssh_port"], &stopped["app_port"]), (&json!(""), &json!("")));
        assert_eq!(stopped["ports"], c["ports"]);
    }

    async fn s11_active_is_0_after_each_start_then_the_last_report(w: &mut dyn World) {
        let c = w.http().create("image=spindle/mimic").await;
        assert_eq!(c["active"], "0");
        for value in ["3", "0", "1"] {
            w.check_in(&c, &format!("active-connections={value}")).await;
            assert_eq!(w.http().now(&c).await["active"], value);
        }
        w.http().patch(&c, "status=stopped").await.expect(200);
        w.until(&c, is("stopped")).await;
        assert_eq!(w.http().patch(&c, "status=running").await.expect(200).json()["active"], "0");
    }

    async fn s12_the_list_is_ours_oldest_first(w: &mut dyn World) {
        assert_eq!(w.http().get("/v1/containers").await.expect(200).json(), json!([]));
        let mut made = Vec::new();
        for _ in 0..3 {
            made.push(w.http().create("image=spindle/mimic:bare").await);
        }
        w.http().patch(&made[1], "status=stopped").await.expect(200);
        w.until(&made[1], is("stopped")).await;
        let list = w.http().get("/v1/containers").await.expect(200).json();
        let ids: Vec<&str> = list.as_array().unwrap().iter().map(id).collect();
        assert_eq!(ids, made.iter().map(id).collect::<Vec<_>>());
    }

    async fn s13_get_by_id_prefix_and_name(w: &mut dyn World) {
        let c = w.http().create("image=spindle/mimic:bare&name=alice-13").await;
        for reference in [id(&c), &id(&c)[..12], &id(&c)[..40], "alice-13"] {
            let answer = w.http().get(&format!("/v1/containers/{reference}")).await.expect(200);
            assert_eq!(answer.json(), c, "{reference}");
        }
        w.http().get(&format!("/v1/containers/{}", &id(&c)[..11])).await.expect(404);
        w.http().get(&format!("/v1/containers/{}/", id(&c))).await.expect(200);
    }

    async fn s14_an_unknown_id_is_404(w: &mut dyn World) {
        for unknown in ["nobody", &"0".repeat(64), "0123456789ab"] {
            for (method, body) in [("GET", Body::None), ("PATCH", Body::Form("status=stopped")), ("DELETE", Body::None)] {
                let answer = w.http().send(method, &format!("/v1/containers/{unknown}"), body).await;
                let message = answer.expect_error(404, "container_not_found");
                assert_eq!(message, format!("Container {unknown} doesn't exist"));
            }
        }
    }

    async fn s15_what_happens_behind_our_back_shows_within_two_seconds(w: &mut dyn World) {
        let c = w.http().create("image=spindle/mimic").await;
        let within = |started: std::time::Instant| assert!(started.elapsed() < Duration::from_secs(2));
        w.stop_behind_back(&c).await;
        let started = std::time::Instant::now();
        w.until(&c, is("stopped")).await;
        within(started);
        w.start_behind_back(&c).await;
        let started = std::time::Instant::now();
        let again = w.until(&c, is("running")).await;
        within(started);
        assert_eq!(again["ssh_port"], c["ssh_port"]);
        w.remove_behind_back(&c).await;
        w.until_status(&c, 404, Duration::from_secs(2)).await;
    }

    async fn s15_audit_takes_a_boolean_and_shortens_no_life(w: &mut dyn World) {
        let c = w.http().create("image=spindle/mimic").await;
        for yes_or_no in ["true", "True", "TRUE", "false", "False"] {
            let list = w.http().get(&format!("/v1/containers?audit={yes_or_no}")).await.expect(200).json();
            assert_eq!(list[0]["stops_at"], c["stops_at"]);
        }
        for bad in ["1", "yes", ""] {
            let message = w.http().get(&format!("/v1/containers?audit={bad}")).await.expect_error(400, "invalid_field");
            assert!(message.contains("audit"), "{message}");
        }
        w.stop_behind_back(&c).await;
        let list = w.http().get("/v1/containers?audit=true").await.expect(200).json();
        assert_eq!(list[0]["status"], "stopped", "an audit sees it at once");
    }

    /// curl -u admin:spindocker -d image=spindle/base URL/v1/containers
    async fn s16_create_by_form_and_by_json(w: &mut dyn World) {
        for body in [
            Body::Form("image=spindle/mimic"),
            Body::Json(json!({"image": "spindle/mimic"})),
            Body::Form("{\"image\": \"spindle/mimic\"}"),
            Body::Json(json!({"image": "spindle/mimic", "unknown": {"field": [1]}})),
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
            Body::None, Body::Form(""), Body::Form("image="), Body::Form("image=%20"), Body::Form("other=x"),
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
        for body in [Body::None, Body::Form("other=1"), Body::Json(json!({}))] {
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
        assert!(w.held().await.is_empty());
    }

    /// curl -d active-connections=1 http://GATEWAY/v1/check-in
    async fn s26_a_check_in_sets_active(w: &mut dyn World) {
        let c = w.http().create("image=spindle/mimic").await;
        for (path, body, value) in [
            ("/v1/check-in", "active-connections=1", "1"),
            ("/v1/check-in", "active=2", "2"),
            ("/v1/check-in", "active_connections=3", "3"),
            ("/v1/check-in", "{\"active-connections\": 4}", "4"),
            ("/v1/check-in", "{\"active\": \"5\"}", "5"),
            ("/v1/check_in", "active-connections=6", "6"),
        ] {
            assert_eq!(w.check_in_at(&c, path, body, "").await, (200, String::new()), "{path} {body}");
            assert_eq!(w.http().now(&c).await["active"], value, "{path} {body}");
        }
    }

    async fn s27_the_peer_address_decides_and_no_header(w: &mut dyn World) {
        let (one, two) = (w.http().create("image=spindle/mimic").await, w.http().create("image=spindle/mimic").await);
        let stranger = w.http().bare("POST", "/v1/check-in", Body::Form("active-connections=1"), &[]).await;
        assert_eq!((stranger.status, stranger.text.as_str()), (200, ""));
        for name in ["X-Forwarded-For", "X-Real-IP", "Forwarded"] {
            for address in ["127.0.0.1", "10.0.0.1", "for=127.0.0.1"] {
                w.check_in_at(&one, "/v1/check-in", "active-connections=1", &format!("{name}: {address}")).await;
            }
        }
        assert_eq!(w.http().now(&one).await["active"], "1");
        assert_eq!(w.http().now(&two).await["active"], "0");
    }

    async fn s27_a_valid_token_wins_over_the_address(w: &mut dyn World) {
        let (one, two) = (w.http().create("image=spindle/mimic").await, w.http().create("image=spindle/mimic").await);
        let token = w.token(&two).await;
        w.check_in_at(&one, "/v1/check-in", "active-connections=1", &format!("X-Spindle-Token: {token}")).await;
        assert_eq!(w.http().now(&one).await["active"], "0");
        assert_eq!(w.http().now(&two).await["active"], "1");
        w.check_in(&one, &format!("active-connections=2&token={token}")).await;
        assert_eq!(w.http().now(&two).await["active"], "2");
        w.check_in_at(&one, "/v1/check-in", "active-connections=3", "X-Spindle-Token: invalid").await;
        assert_eq!(w.http().now(&one).await["active"], "3", "an invalid token is no token");
    }

    async fn s28_a_bad_check_in_is_400_and_changes_nothing(w: &mut dyn World) {
        let c = w.http().create("image=spindle/mimic").await;
        w.check_in(&c, "active-connections=7").await;
        for body in [
            "other=1", "active-connections=", "active-connections=-1", "active-connections=1.5", "active-connections=x",
            "active-connections=99999999999999999999", "{\"active\": true}", "{\"active\": -1}", "{}", "{",
        ] {
            assert_eq!(w.check_in(&c, body).await, 400, "{body}");
        }
        assert_eq!(w.http().now(&c).await["active"], "7");
        w.http().bare("GET", "/v1/check-in", Body::None, &[]).await.expect_error(405, "method_not_allowed");
    }

    async fn s30_a_silent_container_is_stopped_and_can_be_started_again(w: &mut dyn World) {
        let c = w.http().create("image=spindle/mimic&idle_timeout=3").await;
        let stopped = w.until(&c, is("stopped")).await;
        assert_eq!(stopped["stopped_reason"], "idle");
        assert_eq!(w.held().await, [id(&c)], "stopped, not deleted");
        let again = w.http().patch(&c, "status=running").await.expect(200).json();
        assert_eq!(again["status"], "running");
    }

    async fn s30_the_limit_can_be_switched_off(w: &mut dyn World) {
        let forever = w.http().create("image=spindle/mimic&idle_timeout=never").await;
        assert_eq!((&forever["stops_at"], &forever["idle_timeout"]), (&Value::Null, &json!("never")));
        let brief = w.http().create("image=spindle/mimic&idle_timeout=3").await;
        w.until(&brief, is("stopped")).await;
        assert_eq!(w.http().now(&forever).await["status"], "running");
    }

    async fn s31_stops_at_follows_evidence_and_a_0_shortens_nothing(w: &mut dyn World) {
        let instant = |c: &Value, key: &str| c[key].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        let c = w.http().create("image=spindle/mimic").await;
        let limit = jiff::SignedDuration::from_secs(9_000);
        assert_eq!(instant(&c, "stops_at"), instant(&c, "started_at") + limit);
        w.moment().await;
        w.check_in(&c, "active-connections=1").await;
        let used = w.http().now(&c).await;
        assert_eq!(instant(&used, "stops_at"), instant(&used, "last_active_at") + limit);
        assert!(instant(&used, "stops_at") > instant(&c, "stops_at"));
        w.moment().await;
        w.check_in(&c, "active-connections=0").await;
        assert_eq!(w.http().now(&c).await["stops_at"], used["stops_at"]);
    }

    async fn s31_an_old_report_does_not_keep_a_silent_container(w: &mut dyn World) {
        let c = w.http().create("image=spindle/mimic&idle_timeout=3").await;
        w.check_in(&c, "active-connections=1").await;
        let stopped = w.until(&c, is("stopped")).await;
        assert_eq!(stopped["active"], "1", "its last report said that it was in use");
    }

    async fn s32_stopped_containers_are_left_alone(w: &mut dyn World) {
        let c = w.http().create("image=spindle/mimic&idle_timeout=3").await;
        let token = w.token(&c).await;
        let other = w.http().create("image=spindle/mimic").await;
        w.http().patch(&c, "status=stopped").await.expect(200);
        let stopped = w.until(&c, is("stopped")).await;
        assert_eq!(stopped["stops_at"], Value::Null);
        let late = w.check_in_at(&other, "/v1/check-in", "active-connections=9", &format!("X-Spindle-Token: {token}")).await;
        assert_eq!(late.0, 200);
        assert_eq!(w.http().now(&c).await, stopped);
        assert_eq!(w.http().now(&other).await["active"], "0");
    }

    async fn s33_everything_survives_a_restart(w: &mut dyn World) {
        let used = w.http().create("image=spindle/mimic&name=used-33").await;
        let stopped = w.http().create("image=spindle/mimic").await;
        w.http().patch(&stopped, "status=stopped").await.expect(200);
        w.until(&stopped, is("stopped")).await;
        w.check_in(&used, "active-connections=2").await;
        let before = w.http().get("/v1/containers").await.expect(200).json();
        w.restart().await;
        assert_eq!(w.http().get("/v1/containers").await.expect(200).json(), before);
        w.http().patch(&stopped, "status=running").await.expect(200);
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
    assert!(message.contains("/no/such/program"), "{message}");
    assert!(world.held().await.is_empty());
    assert_eq!(world.http().get("/v1/containers").await.json(), json!([]));
}

/// 29: the default installation's door is port 80 of the gateway; the images' reporter finds it there.
#[tokio::test(flavor = "multi_thread")]
async fn s29_the_door_is_at_the_default_gateway_on_port_80() {
    let world = Docker::start(&[]).await;
    let c = world.http().create("image=spindle/mimic").await;
    let output = support::docker::docker(&["exec", id(&c), "mimic", "check-in", "1"]);
    assert!(output.starts_with("200"), "{output}");
    assert_eq!(world.http().now(&c).await["active"], "1");
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
