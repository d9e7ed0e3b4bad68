//! What is done about users, namespaces and the secrets that are given out is recorded, and none of the secrets.

use serde_json::{Value, json};

use super::{
    actions, named,
    support::{
        Answer, Body, Http, World,
        scripted::{Scripted, world},
        uri,
    },
    told,
};

async fn send(w: &Scripted, method: &str, path: &str, body: Value) -> Answer {
    let answer = w.http().send(method, path, Body::Json(body)).await;
    assert!(answer.status < 300, "{method} {path}: {answer:?}");
    assert_eq!(named(&answer).len(), 1, "{method} {path}: {answer:?}");
    answer
}

/// Signs in with a form, and returns the cookie.
async fn sign_in(http: &Http, password: &str) -> Answer {
    let body = json!({"name": "ann", "password": password});
    http.bare("POST", "/v1/session", Body::Json(body), &[]).await
}

const DONE: [[&str; 4]; 16] = [
    ["admin", "make_namespace", "db", "success"],
    ["admin", "change_namespace", "db", "success"],
    ["admin", "make_user", "ann", "success"],
    ["admin", "change_user", "ann", "success"],
    ["(nobody)", "sign_in", "ann", "failed"],
    ["ann", "sign_in", "", "success"],
    ["ann", "revoke", "", "success"],
    ["admin", "make_token", "script", "success"],
    ["admin", "change_token", "script", "success"],
    ["admin", "revoke", "script", "success"],
    ["admin", "create", "box", "success"],
    ["admin", "assign", "box", "success"],
    ["admin", "invite", "box", "success"],
    ["admin", "revoke", "", "success"],
    ["admin", "remove_namespace", "db", "failed"],
    ["admin", "remove_user", "ann", "failed"],
];

#[tokio::test]
async fn what_is_done_about_people_is_recorded_and_no_secret() {
    let w = world().await;
    send(&w, "POST", "/v1/namespaces", json!({"name": "db", "title": "Databases"})).await;
    send(&w, "PATCH", "/v1/namespaces/db", json!({"quota": {"containers": 5}})).await;
    let first = json!({"name": "ann", "role": "learner", "password": "secret-first", "namespaces": ["db"]});
    send(&w, "POST", "/v1/users", first).await;
    let made = send(&w, "PATCH", "/v1/users/ann", json!({"password": "generate"})).await.json();
    let password = made["password"].as_str().unwrap().to_owned();
    sign_in(w.http(), "secret-guess").await.expect(401);
    let signed_in = sign_in(w.http(), &password).await.expect(201);
    assert_eq!(named(&signed_in).len(), 1, "{signed_in:?}");
    let cookie = signed_in.header("set-cookie").split(';').next().unwrap().to_owned();
    w.http().bare("DELETE", "/v1/session", Body::None, &[("cookie", &cookie)]).await.expect(204);
    let token = send(&w, "POST", "/v1/tokens", json!({"name": "script", "scopes": ["read"]})).await.json();
    let at = format!("/v1/tokens/{}", token["id"].as_str().unwrap());
    send(&w, "PATCH", &at, json!({"expires_in": "2h"})).await;
    send(&w, "DELETE", &at, json!({})).await;
    let c = w.http().create("image=spindle/mimic&name=box&namespace=db").await;
    send(&w, "PATCH", uri(&c), json!({"owner": "ann"})).await;
    let invited = send(&w, "POST", &format!("{}/invite", uri(&c)), json!({})).await.json();
    let at = format!("{}/invitations/{}", uri(&c), invited["id"].as_str().unwrap());
    send(&w, "DELETE", &at, json!({})).await;
    for path in ["/v1/namespaces/db", "/v1/users/ann"] {
        assert_eq!(named(&w.http().send("DELETE", path, Body::None).await.expect(409)).len(), 1);
    }
    for path in ["/v1/namespaces/none", "/v1/users/none", "/v1/tokens/none"] {
        assert_eq!(named(&w.http().send("DELETE", path, Body::None).await.expect(404)), [""; 0]);
    }

    let found = actions(w.http(), "").await;
    // A session and an invitation have no name; what they are called is an id.
    let told = found.iter().map(|action| {
        let [actor, verb, name, state] = told(action);
        let kind = action["object"]["kind"].as_str().unwrap();
        let name = if ["session", "invitation"].contains(&kind) { String::new() } else { name };
        [actor, verb, name, state]
    });
    assert_eq!(told.collect::<Vec<_>>(), DONE);
    let text = w.http().get("/v1/actions?format=csv").await.expect(200).text
        + &w.http().get("/v1/actions?format=jsonl").await.expect(200).text;
    let cookie = cookie.split_once('=').unwrap().1;
    let secrets = ["secret-first", "secret-guess", &password, cookie, token["token"].as_str().unwrap()];
    for secret in secrets.into_iter().chain([invited["token"].as_str().unwrap_or("spindle_")]) {
        assert!(!text.contains(secret), "{secret} is in {text}");
    }
    assert!(!text.contains("spindle_"), "{text}");
    let of = |verb: &str| found.iter().find(|action| action["verb"] == verb).unwrap();
    assert_eq!(of("make_user")["changed"], json!(["name", "role", "namespaces", "password"]));
    assert_eq!((&of("make_user")["object"]["namespace"], &of("assign")["changed"]), (&json!("db"), &json!(["owner"])));
    assert!(of("revoke")["credential"].as_str().unwrap().starts_with("session "), "{}", of("revoke"));
    let only = actions(w.http(), "object=user:ann").await;
    assert_eq!(only.len(), 4, "{only:#?}");
}
