//! People of a scripted world: a course with an instructor and two learners, and how they ask.

use serde_json::Value;

use super::{
    Answer, Body, Http, World,
    scripted::{Scripted, TestApp},
};

pub const PASSWORD: &str = "correct horse";

pub fn basic(user: &str, password: &str) -> String {
    http_auth_basic::Credentials::new(user, password).as_http_header()
}

/// A caller with an `Authorization` or a `Cookie`.
pub struct Caller<'w> {
    pub http: &'w Http,
    pub header: (&'static str, String),
}

impl Caller<'_> {
    pub async fn send(&self, method: &str, path: &str, body: Body<'_>) -> Answer {
        self.http.bare(method, path, body, &[(self.header.0, &self.header.1)]).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, Body::None).await
    }

    pub async fn post(&self, path: &str, form: &str) -> Answer {
        self.send("POST", path, Body::Form(form)).await
    }

    pub async fn patch(&self, path: &str, form: &str) -> Answer {
        self.send("PATCH", path, Body::Form(form)).await
    }
}

pub fn by_password<'w>(w: &'w Scripted, user: &str) -> Caller<'w> {
    Caller { http: w.http(), header: ("authorization", basic(user, PASSWORD)) }
}

pub fn bearer<'w>(w: &'w Scripted, given: &Value) -> Caller<'w> {
    Caller { http: w.http(), header: ("authorization", format!("Bearer {}", text(given, "token"))) }
}

pub fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_else(|| panic!("no {key} in {value}"))
}

pub async fn admin(w: &Scripted, method: &str, path: &str, form: &str) -> Value {
    let answer = w.http().send(method, path, Body::Form(form)).await;
    assert!(answer.status < 300, "{method} {path} {form}: {answer:?}");
    if answer.text.is_empty() { Value::Null } else { answer.json() }
}

/// A course `db` with an instructor and two learners.
pub async fn course() -> Scripted {
    let w = TestApp::default().start().await;
    admin(&w, "POST", "/v1/namespaces", "name=db&title=Databases").await;
    for (name, role) in [("ina", "instructor"), ("alice", "learner"), ("bob", "learner")] {
        let form = format!("name={name}&role={role}&namespaces=db&password={PASSWORD}");
        admin(&w, "POST", "/v1/users", &form).await;
    }
    w
}

pub async fn of_alice(w: &Scripted) -> Value {
    by_password(w, "ina").post("/v1/containers", "image=spindle/mimic&owner=alice&name=alice").await.expect(201).json()
}

/// Signs in, and returns who has the cookie.
pub async fn session<'w>(w: &'w Scripted, form: &str) -> (Caller<'w>, Value) {
    let answer = w.http().bare("POST", "/v1/session", Body::Form(form), &[]).await.expect(201);
    let cookie = answer.header("set-cookie").to_owned();
    assert!(
        cookie.contains("; HttpOnly") && cookie.contains("; SameSite=Lax") && cookie.contains("; Path=/"),
        "{cookie}"
    );
    assert!(answer.json().get("token").is_none(), "scripts never see it");
    let pair = cookie.split(';').next().unwrap().to_owned();
    (Caller { http: w.http(), header: ("cookie", pair) }, answer.json())
}
