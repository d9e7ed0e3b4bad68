//! Fields: statement 24 on what is unknown, repeated or contradictory, and what the optional fields take.

use super::support::{Body, World, docker::Docker, is, scripted::TestApp, uri};
use serde_json::json;

/// Each of `words` stands in the message.
#[track_caller]
fn says(message: &str, words: &[&str]) {
    for word in words {
        assert!(message.contains(word), "no {word:?} in {message:?}");
    }
}

contract! {
    async fn contract_24_an_unknown_field_is_refused_and_the_nearest_right_one_named(w: &mut dyn World) {
        let c = w.http().create("image=spindle/mimic:bare&name=alice").await;
        let extend = format!("{}/extend", uri(&c));
        for (method, path, body, words) in [
            ("PATCH", uri(&c), Body::Form("stauts=stopped"), &["\"stauts\"", "did you mean \"status\"", "wake"][..]),
            ("PATCH", uri(&c), Body::Json(json!({"Status": "stopped"})), &["\"Status\"", "did you mean \"status\""]),
            ("PATCH", uri(&c), Body::Form("tz=Europe/Berlin"), &["\"tz\"", "can be set at creation only"]),
            ("PATCH", uri(&c), Body::Form("status=running&image=spindle/base"), &["\"image\"", "can be set at creation only"]),
            ("PATCH", uri(&c), Body::Form("for=3h"), &["\"for\"", "/extend"]),
            ("POST", "/v1/containers", Body::Form("image=spindle/mimic&idle_timout=60"), &["idle_timout", "\"idle_timeout\""]),
            ("POST", "/v1/containers", Body::Json(json!({"image": "spindle/mimic", "sshkey": "x"})), &["sshkey", "\"ssh_key\""]),
            ("POST", "/v1/containers", Body::Form("image=spindle/mimic&labels[group]=a"), &["labels[group]", "\"labels\""]),
            ("POST", "/v1/containers", Body::Form("image=spindle/mimic&status=stopped"), &["\"status\"", "PATCH"]),
            ("POST", "/v1/containers", Body::Form("imgae=spindle/mimic"), &["imgae", "\"image\""]),
            ("POST", &extend, Body::Form("hours=8"), &["\"hours\"", "takes \"for\""]),
            ("DELETE", uri(&c), Body::Form("force=true"), &["\"force\"", "takes none"]),
            ("GET", "/v1/containers", Body::Form("audit=true"), &["\"audit\"", "?audit="]),
            ("GET", "/v1/containers?audti=true", Body::None, &["\"audti\"", "did you mean \"audit\""]),
            ("GET", "/v1/images?audit=true", Body::None, &["\"audit\"", "takes none"]),
            ("POST", "/v1/containers?image=spindle/mimic", Body::Form("image=spindle/mimic"), &["\"image\"", "body"]),
            ("GET", "/v1/images/spindle/mimic?audit=true", Body::None, &["\"audit\"", "takes none"]),
            ("PUT", "/v1/images/spindle/mimic", Body::Form("tag=new"), &["\"tag\"", "takes none"]),
            ("DELETE", "/v1/images/spindle/mimic?force=1", Body::None, &["\"force\"", "takes none"]),
            ("POST", &format!("{extend}?for=3h"), Body::None, &["\"for\"", "body"]),
            ("GET", &format!("{}/activity?last=5", uri(&c)), Body::None, &["\"last\"", "takes none"]),
            ("GET", "/v1/health?verbose=1", Body::None, &["\"verbose\"", "takes none"]),
        ] {
            let shown = format!("{method} {path} {body:?}");
            let answer = w.http().send(method, path, body).await;
            assert_eq!(answer.status, 400, "{shown}: {answer:?}");
            says(&answer.expect_error(400, "unknown_field"), words);
        }
        assert_eq!(w.http().get("/v1/containers").await.json(), json!([c]), "nothing was done");
    }

    async fn contract_24_a_repeated_field_is_refused(w: &mut dyn World) {
        let c = w.http().create("image=spindle/mimic:bare").await;
        let twice = |json: &str| Body::Raw("application/json", json.as_bytes().to_vec());
        for (method, path, body, words) in [
            ("PATCH", uri(&c), Body::Form("status=stopped&status=running"), &["status"][..]),
            ("PATCH", uri(&c), Body::Form("status=stopped&status=stopped"), &["status"]),
            ("PATCH", uri(&c), twice(r#"{"status": "running", "status": "stopped"}"#), &["status"]),
            ("POST", "/v1/containers", Body::Form("image=spindle/mimic&image=spindle/mimic:twin"), &["image"]),
            ("POST", "/v1/containers", Body::Form("image=spindle/mimic&labels=a=1&labels=b=2"), &["labels", "a=1,b=2"]),
            ("POST", "/v1/containers", Body::Form("image=spindle/mimic&labels=a=1,a=2"), &["labels", "\"a\""]),
            ("POST", "/v1/containers", twice(r#"{"image": "spindle/mimic", "env": {"A": "1", "A": "2"}}"#), &["env", "\"A\""]),
            ("POST", "/v1/containers", twice(r#"{"image": "spindle/mimic", "labels": {"a": "1", "a": "1"}}"#), &["labels", "\"a\""]),
            ("GET", "/v1/containers?audit=true&audit=false", Body::None, &["audit"]),
        ] {
            let shown = format!("{method} {path} {body:?}");
            let answer = w.http().send(method, path, body).await;
            assert_eq!(answer.status, 400, "{shown}: {answer:?}");
            says(&answer.expect_error(400, "duplicate_field"), words);
        }
        assert_eq!(w.http().get("/v1/containers").await.json(), json!([c]), "nothing was done");
    }

    async fn contract_24_no_field_is_no_mistake_and_credentials_come_first(w: &mut dyn World) {
        let c = w.http().create("image=spindle/mimic:bare").await;
        for body in [Body::None, Body::Form(""), Body::Form("\n"), Body::Json(json!({}))] {
            assert_eq!(w.http().send("PATCH", uri(&c), body.clone()).await.expect(200).json(), c);
            assert_eq!(w.http().send("GET", uri(&c), body.clone()).await.expect(200).json(), c, "{body:?}");
        }
        w.http().send("GET", &format!("{}?", uri(&c)), Body::None).await.expect(200);
        for (method, path, body) in [
            ("GET", "/v1/containers?nonsense=1", Body::None),
            ("POST", "/v1/containers", Body::Form("nonsense=1")),
            ("DELETE", uri(&c), Body::Form("nonsense=1")),
        ] {
            w.http().bare(method, path, body, &[]).await.expect_error(401, "unauthorized");
        }
        w.http().send("DELETE", uri(&c), Body::Json(json!({}))).await.expect(204);
    }

    /// An old cron line must never lose evidence.
    async fn contract_24_at_the_check_in_nothing_is_unknown_and_the_largest_counts(w: &mut dyn World) {
        let c = w.http().create("image=spindle/mimic").await;
        for (body, value) in [
            ("active-connections=1&host=alice&host=bob", "1"),
            ("active-connections=2&active-connections=5&active-connections=3", "5"),
            ("active=2&active_connections=7&active-connections=0", "7"),
            ("active-connections=x&active=8", "8"),
            ("active-connections=&active-connections=9", "9"),
            ("active-connections=10&note=%ff", "10"),
            ("{\"active-connections\": 11, \"active-connections\": 4}", "11"),
            ("{\"active\": 3, \"active_connections\": \"12\", \"user\": {\"name\": [1]}}", "12"),
            ("{\"active\": true, \"active-connections\": 13}", "13"),
        ] {
            assert_eq!(w.check_in(&c, body).await, 200, "{body}");
            assert_eq!(w.http().now(&c).await["active"], value, "{body}");
        }
        for body in ["active-connections=x&active=-1", "{\"active\": true, \"active\": null}", "host=alice"] {
            assert_eq!(w.check_in(&c, body).await, 400, "{body}");
        }
        assert_eq!(w.check_in_at(&c, "/v1/check-in?from=cron", "active-connections=14", "").await.0, 200);
        assert_eq!(w.http().now(&c).await["active"], "14");
    }

    async fn a_label_without_a_sign_is_refused(w: &mut dyn World) {
        for labels in ["group", "a=1,group", "=x"] {
            let form = format!("image=spindle/mimic&labels={labels}");
            let message = w.http().send("POST", "/v1/containers", Body::Form(&form)).await.expect_error(400, "invalid_field");
            says(&message, &["labels: ", "not allowed"]);
        }
        let c = w.http().create("image=spindle/mimic:bare&labels=group=,title=C%2B%2B").await;
        assert_eq!(c["labels"], json!({"group": "", "title": "C++"}));
        let c = w.http().create("image=spindle/mimic:bare&labels=title=C++ course").await;
        assert_eq!(c["labels"], json!({"title": "C++ course"}), "what was never encoded is taken as it stands");
    }

    async fn a_name_in_use_says_whose_it_is_and_a_near_one_is_a_warning(w: &mut dyn World) {
        let c = w.http().create("image=spindle/mimic:bare&name=alice").await;
        assert_eq!(c.get("warnings"), None);
        let form = Body::Form("image=spindle/mimic:bare&name=alice");
        let message = w.http().send("POST", "/v1/containers", form.clone()).await.expect_error(409, "name_taken");
        let since = &c["created_at"].as_str().unwrap()[..19];
        says(&message, &["name: \"alice\" is taken by container", &super::support::id(&c)[..12], since, "running"]);
        w.http().patch(&c, "status=stopped").await.expect(200);
        w.until(&c, is("stopped")).await;
        says(&w.http().send("POST", "/v1/containers", form).await.expect_error(409, "name_taken"), &["stopped"]);
        let near = w.http().create("image=spindle/mimic:bare&name=Alice").await;
        let warnings = near["warnings"].as_array().unwrap();
        assert_eq!(warnings.len(), 1, "{near}");
        says(warnings[0].as_str().unwrap(), &["\"alice\"", "\"Alice\"", &super::support::id(&c)[..12]]);
    }

    async fn a_name_that_is_none_comes_back_clean(w: &mut dyn World) {
        for (name, clean) in [
            ("Jörg Müller", "\"Jorg-Muller\""), ("  anna  ", "\"anna\""), ("a/b", "\"a-b\""), ("Łukasz Żółć!", "\"Lukasz-Zolc\""),
            ("group 1: bob", "\"group-1-bob\""), ("Зоя", "\"Zoia\""),
        ] {
            let body = Body::Json(json!({"image": "spindle/mimic", "name": name}));
            let message = w.http().send("POST", "/v1/containers", body).await.expect_error(400, "invalid_field");
            says(&message, &["name: ", "not allowed", clean]);
        }
        for name in ["!", "0123456789abcdef"] {
            let body = Body::Json(json!({"image": "spindle/mimic", "name": name}));
            let message = w.http().send("POST", "/v1/containers", body).await.expect_error(400, "invalid_field");
            assert!(!message.contains("would do"), "{message}");
        }
        assert!(w.held().await.is_empty());
    }

    async fn memory_beyond_the_hosts_is_refused(w: &mut dyn World) {
        let body = Body::Form("image=spindle/mimic&memory=900000g");
        let message = w.http().send("POST", "/v1/containers", body).await.expect_error(400, "invalid_field");
        says(&message, &["memory: \"900000g\" is not allowed", "this host has "]);
        assert!(w.held().await.is_empty());
    }

    /// 18: the message is v1's, word for word; what helps stands beside it.
    async fn s18_an_unknown_image_names_the_request_that_fetches_it(w: &mut dyn World) {
        let answer = w.http().send("POST", "/v1/containers", Body::Form("image=no/such-image")).await.expect(404).json();
        assert_eq!(answer["message"], "Image no/such-image not found on this server");
        says(answer["hint"].as_str().unwrap(), &["PUT /v1/images/no/such-image"]);
    }
}

/// What spin-docker took, and scripts of its time may still send.
async fn lenient(w: &dyn World) {
    let body = Body::Json(json!({"image": "spindle/mimic:bare", "unknown": {"field": [1]}}));
    let c = w.http().send("POST", "/v1/containers", body).await.expect(201).json();
    for body in [Body::Form("other=1"), Body::Json(json!({"stauts": "stopped"}))] {
        assert_eq!(w.http().send("PATCH", uri(&c), body).await.expect(200).json(), c);
    }
    w.http().send("PATCH", uri(&c), Body::Form("status=running&status=stopped")).await.expect(200);
    assert_eq!(w.http().get("/v1/containers?nonsense=1").await.expect(200).json(), json!([c]), "the first of a form");
    let twice = br#"{"status": "running", "status": "stopped"}"#.to_vec();
    let last = w.http().send("PATCH", uri(&c), Body::Raw("application/json", twice)).await.expect(200).json();
    assert_eq!(last["status"], "stopping", "the last of JSON");
    w.http().send("DELETE", uri(&c), Body::Form("force=true")).await.expect(204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contract_24_a_lenient_server_ignores_what_it_does_not_know() {
    lenient(&TestApp::with_api(|api| api.lenient = true).start().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contract_24_a_lenient_server_ignores_what_it_does_not_know_on_docker() {
    lenient(&Docker::start(&[("LENIENT", "true")]).await).await;
}

/// The engine's own word for a name in use is as good as ours.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_a_foreign_container_has_says_so_on_docker() {
    let w = Docker::start(&[]).await;
    let name = format!("{}-foreign", w.deployment);
    let foreign = w.docker(&["create", "--name", &name, "spindle/mimic"]);
    let answer =
        w.http().send("POST", "/v1/containers", Body::Form(&format!("image=spindle/mimic:bare&name={name}"))).await;
    w.docker(&["rm", "-f", &name]);
    let message = answer.expect_error(409, "name_taken");
    says(&message, &[&format!("name: {name:?} is taken by container {}", &foreign[..12]), "not this server's"]);
    assert!(w.held().await.is_empty());
}
