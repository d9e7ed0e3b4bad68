//! Authentication and errors: statements 1 to 6.

use super::support::{Body, World, docker::Docker, scripted::TestApp, uri};
use serde_json::json;

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
            ("PUT", "/v1/containers", "GET, HEAD, POST, PATCH, DELETE"),
            ("POST", uri(&c), "GET, HEAD, PATCH, DELETE"),
            ("GET", "/v1/check-in", "POST"),
            ("DELETE", "/v1/health", "GET, HEAD"),
        ] {
            let answer = w.http().send(method, path, Body::None).await;
            assert_eq!(answer.header("allow"), allow, "{method} {path}");
            answer.expect_error(405, "method_not_allowed");
        }
    }
}
