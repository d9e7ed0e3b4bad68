//! Actions: whoever does something, by whatever way, leaves a record of it; and what those may read who look for it.

mod support;

#[path = "actions/people.rs"]
mod people;

#[path = "actions/reading.rs"]
mod reading;

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use spindle::{
    domain::{Actor, Limit, Verb},
    engine::EngineError,
    store::Store,
};
use support::{
    Answer, Body, Http, World, is,
    scripted::{LIMIT, Scripted, TestApp, settle, world},
    uri,
};
use tokio::{io::AsyncWriteExt, net::TcpStream};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGluc2VjdXJlLXRlc3Qta2V5LW5vdC1zZWNyZXQtMDEx secret-comment";

/// The actions that a question finds, oldest first.
async fn actions(http: &Http, query: &str) -> Vec<Value> {
    let answer = http.get(&format!("/v1/actions?format=jsonl&{query}")).await.expect(200);
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    let mut found: Vec<Value> = answer.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    found.reverse();
    found
}

/// Who did what to what, and how it ended.
fn told(action: &Value) -> [String; 4] {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let object = &action["object"];
    let name = if object["name"].is_null() { &object["id"] } else { &object["name"] };
    [text(&action["actor"]), text(&action["verb"]), text(name), text(&action["state"])]
}

/// The actions that an answer names.
fn named(answer: &Answer) -> Vec<String> {
    answer.header("spindle-action").split(", ").filter(|id| !id.is_empty()).map(str::to_owned).collect()
}

async fn connect(container: &Value) -> TcpStream {
    let port = container["ports"][1]["host_port"].as_u64().unwrap() as u16;
    TcpStream::connect(("127.0.0.1", port)).await.unwrap()
}

/// All that is recorded in a world in which somebody has acted in each way, and all that is secret in it.
async fn busy() -> (Vec<Value>, String, Vec<String>) {
    let mut app = TestApp::default();
    app.settings.policy.idle_limit = Limit::After(Duration::from_secs(LIMIT));
    let mut w = app.start().await;
    let body = json!({
        "image": "spindle/mimic", "name": "alice", "ssh_key": KEY, "memory": "64m",
        "env": {"PASSWORD": "secret-of-env", "TOKEN": "secret-of-env"}, "labels": {"note": "secret-label"},
    });
    let c = w.http().send("POST", "/v1/containers", Body::Json(body)).await.expect(201).json();
    w.http().patch(&c, "idle_timeout=70&keep_until=none&wake=always").await.expect(200);
    w.http().send("POST", &format!("{}/extend", uri(&c)), Body::Form("for=65")).await.expect(200);
    assert_eq!(w.check_in_at(&c, "/v1/check-in", "keep=20m", "").await.0, 200);
    w.http().patch(&c, "status=stopped").await.expect(200);
    settle(&w, &c, "stopped").await;
    w.http().patch(&c, "status=running&keep_until=none&idle_timeout=default").await.expect(200);
    w.pass_seconds(20 * 60 + LIMIT + 1).await;
    settle(&w, &c, "stopped").await;
    connect(&c).await.write_all(b"hello\n").await.unwrap();
    w.until(&c, is("running")).await;
    w.engine.move_to_registry("spindle/mimic:twin");
    w.http().send("PUT", "/v1/images/spindle/mimic:twin", Body::None).await.expect(200);
    w.http().send("DELETE", "/v1/images/spindle/mimic:twin", Body::None).await.expect(204);
    // mallory:secret-guess, and the password in the name's place
    for wrong in ["Basic bWFsbG9yeTpzZWNyZXQtZ3Vlc3M=", "Basic c3BpbmRvY2tlcjp4"] {
        w.http().bare("GET", "/v1/images", Body::None, &[("authorization", wrong)]).await.expect(401);
    }
    let mut secrets = vec![w.token(&c).await, "spindocker".into()];
    secrets.extend(["secret-guess", "secret-of-env", "secret-label", "secret-comment", "AAAAC3Nza"].map(String::from));
    w.http().delete(&c).await.expect(204);
    w.until_none_is_held().await;
    let d = w.http().create("image=spindle/mimic&name=dora").await;
    secrets.push(w.token(&d).await);
    let setting = |value: &str| vec![("log".to_owned(), value.to_owned()), ("port".to_owned(), "8080".to_owned())];
    w.app.actions.take_over(setting("info")).await;
    w.app.actions.take_over(setting("debug")).await;
    // Its record is lost with the record of what was done.
    let mut done = actions(w.http(), "").await;
    let mut text = String::new();
    for form in ["csv", "jsonl"] {
        text += &w.http().get(&format!("/v1/actions?format={form}")).await.expect(200).text;
    }
    w.store = Arc::new(Store::in_memory().unwrap());
    w.restart().await;
    w.until(&d, is("running")).await;
    done.extend(actions(w.http(), "").await);
    (done, text, secrets)
}

/// What is done in [`busy`].
const DONE: [[&str; 4]; 16] = [
    ["admin", "create", "alice", "success"],
    ["admin", "change", "alice", "success"],
    ["admin", "extend", "alice", "success"],
    ["inside", "extend", "alice", "success"],
    ["admin", "stop", "alice", "success"],
    ["admin", "change", "alice", "success"],
    ["admin", "start", "alice", "success"],
    ["the pass", "stop", "alice", "success"],
    ["a connection", "start", "alice", "success"],
    ["admin", "pull", "spindle/mimic:twin", "success"],
    ["admin", "remove_image", "spindle/mimic:twin", "success"],
    ["(nobody)", "sign_in", "mallory", "failed"],
    ["admin", "delete", "alice", "success"],
    ["admin", "create", "dora", "success"],
    ["Spindle itself", "configure", "spindle", "success"],
    ["the pass", "adopt", "dora", "success"],
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_way_of_acting_is_recorded_and_no_secret() {
    let (done, text, secrets) = busy().await;
    assert_eq!(done.iter().map(told).collect::<Vec<_>>(), DONE);
    for secret in secrets {
        assert!(!text.contains(&secret), "{secret} is in {text}");
    }
    let of = |verb: &str, actor: &str| done.iter().find(|a| a["verb"] == verb && a["actor"] == actor).unwrap();
    let create = of("create", "admin");
    assert_eq!(create["changed"], json!(["image", "name", "ssh_key", "env", "memory", "labels"]));
    assert_eq!((&create["credential"], &create["from"]), (&json!("password"), &json!("127.0.0.1")));
    let object = &create["object"];
    assert_eq!((&object["kind"], &object["namespace"]), (&json!("container"), &json!("default")));
    assert_eq!(object["container_id"].as_str().unwrap().len(), 64, "{create}");
    assert!(create["request_id"].is_string() && create["ended_at"].is_string() && create["error"].is_null());
    assert_eq!(of("configure", "Spindle itself")["changed"], json!(["log"]));
    assert_eq!(of("start", "a connection")["from"], "127.0.0.1");
    let sign_in = of("sign_in", "(nobody)");
    assert_eq!(sign_in["error"], json!({"code": "unauthorized", "message": "wrong credentials"}));
    assert_eq!((&sign_in["object"]["kind"], &sign_in["from"]), (&json!("user"), &json!("127.0.0.1")));
}

#[tokio::test]
async fn an_answer_names_its_actions_and_a_mistake_is_none() {
    let w = world().await;
    let created = w.http().send("POST", "/v1/containers", Body::Form("image=spindle/mimic")).await.expect(201);
    let c = created.json();
    let [created] = named(&created).try_into().unwrap();
    let several = w.http().patch(&c, "status=stopped&wake=never&idle_timeout=90").await.expect(200);
    let mut verbs = Vec::new();
    for id in named(&several) {
        let action = w.http().get(&format!("/v1/actions/{id}")).await.expect(200).json();
        assert_eq!(action["request_id"], several.header("x-request-id"));
        assert_eq!((&action["state"], &action["object"]["container_id"]), (&json!("success"), &c["container_id"]));
        verbs.push(action["verb"].as_str().unwrap().to_owned());
    }
    assert_eq!(verbs, ["change", "stop"]);
    settle(&w, &c, "stopped").await;
    let again = w.http().patch(&c, "status=stopped").await.expect(200);
    assert_eq!(named(&again).len(), 1, "nothing was to be done, and it was asked for");
    let refused = w.http().send("POST", &format!("{}/extend", uri(&c)), Body::None).await;
    let [refused] = named(&refused).try_into().unwrap();
    let refused = w.http().get(&format!("/v1/actions/{refused}")).await.expect(200).json();
    assert_eq!((&refused["state"], &refused["error"]["code"]), (&json!("failed"), &json!("not_running")));

    let known = actions(w.http(), "").await.len();
    let nobody = json!({"uri": "/v1/containers/nobody"});
    for answer in [
        w.http().get(uri(&c)).await.expect(200),
        w.http().get("/v1/actions").await.expect(200),
        w.http().patch(&c, "").await.expect(200),
        w.http().patch(&nobody, "status=stopped").await.expect(404),
        w.http().delete(&nobody).await.expect(404),
        w.http().patch(&c, "idle_timeout=1").await.expect(400),
        w.http().patch(&c, "keep_until=2020-01-01T00:00:00Z").await.expect(400),
        w.http().send("POST", "/v1/containers", Body::Form("image=no/such")).await.expect(404),
        w.http().send("POST", "/v1/containers", Body::Form("image=spindle/mimic&memory=900g")).await.expect(400),
        w.http().send("DELETE", "/v1/images/no/such", Body::None).await.expect(404),
        w.http().get("/v1/actions/nothing").await.expect(404),
    ] {
        assert_eq!(named(&answer), [""; 0], "{answer:?}");
    }
    assert_eq!(actions(w.http(), "").await.len(), known);
    assert_eq!(actions(w.http(), "").await[0]["id"], created.as_str());
}

#[tokio::test]
async fn what_fails_says_why() {
    let w = world().await;
    w.engine.set_away(true);
    let answer = w.http().send("POST", "/v1/containers", Body::Form("image=spindle/mimic&name=aa")).await.expect(503);
    assert_eq!(named(&answer).len(), 1);
    w.engine.set_away(false);
    let c = w.http().create("image=spindle/mimic&name=bb").await;
    w.http().send("POST", "/v1/containers", Body::Form("image=spindle/mimic&name=bb")).await.expect(409);
    w.http().send("DELETE", "/v1/images/spindle/mimic:latest", Body::None).await.expect(409);
    w.engine.move_to_registry("spindle/mimic:twin");
    w.engine.break_pulls(EngineError::Refused("no space left on device".into()));
    w.http().send("PUT", "/v1/images/spindle/mimic:twin", Body::None).await.expect(502);
    w.engine.next("start", spindle::engine::fake::Fault::Fail(EngineError::Refused("no memory".into())));
    w.http().patch(&c, "status=stopped").await.expect(200);
    settle(&w, &c, "stopped").await;
    w.http().patch(&c, "status=running").await.expect(502);
    let failed = actions(w.http(), "state=failed").await;
    let codes: Vec<_> =
        failed.iter().map(|a| (a["verb"].as_str().unwrap(), a["error"]["code"].as_str().unwrap())).collect();
    assert_eq!(
        codes,
        [
            ("create", "engine_unavailable"),
            ("create", "name_taken"),
            ("remove_image", "image_in_use"),
            ("pull", "engine_failed"),
            ("start", "engine_failed"),
        ]
    );
    assert_eq!(failed[0]["object"]["kind"], "image", "no container was meant yet");
    assert!(failed[4]["error"]["message"].as_str().unwrap().contains("no memory"), "{}", failed[4]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_lasts_until_its_end_and_can_be_cancelled() {
    let w = world().await;
    w.engine.move_to_registry("spindle/mimic:twin");
    w.engine.stall_pulls(true);
    let put = || w.http().send("PUT", "/v1/images/spindle/mimic:twin", Body::None);
    let (first, second, cancelled) = tokio::join!(put(), put(), async {
        let pull = loop {
            match actions(w.http(), "verb=pull&state=in_progress").await.pop() {
                Some(pull) => break pull,
                None => tokio::task::yield_now().await,
            }
        };
        assert_eq!(pull["ended_at"], Value::Null);
        cancel(&w, id_of(&pull)).await
    });
    assert_eq!(named(&cancelled.clone().expect(200)), named(&first));
    assert_eq!(named(&first), named(&second), "they share a pull");
    let cancelled = cancelled.json();
    assert_eq!(
        (&cancelled["state"], &cancelled["error"]["message"]),
        (&json!("cancelled"), &json!("cancelled by admin"))
    );
    // It ended before the answer began; later it would be the last line of the answer.
    assert_eq!(first.expect_error(409, "cancelled"), "cancelled by admin");
    cancel(&w, id_of(&cancelled)).await.expect_error(409, "not_cancellable");
    cancel(&w, "nothing").await.expect_error(404, "action_not_found");

    let mut late = w.http().client.put(format!("{}/v1/images/spindle/mimic:twin", w.http().base));
    late = late.basic_auth("admin", Some("spindocker"));
    let mut answer = late.send().await.unwrap();
    let pull = answer.headers()["spindle-action"].to_str().unwrap().to_owned();
    cancel(&w, &pull).await.expect(200);
    let mut lines = String::new();
    while let Some(chunk) = answer.chunk().await.unwrap() {
        lines.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    let last: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert_eq!(last, json!({"status": "cancelled", "message": "cancelled by admin"}));
    w.engine.stall_pulls(false);
    let again = put().await.expect(200);
    assert_eq!(actions(w.http(), "").await.last().map(id_of), named(&again).first().map(String::as_str));
}

fn id_of(action: &Value) -> &str {
    action["id"].as_str().unwrap()
}

async fn cancel(w: &Scripted, action: &str) -> Answer {
    w.http().send("POST", &format!("/v1/actions/{action}/cancel"), Body::None).await
}

#[tokio::test]
async fn what_was_under_way_when_the_server_ended_has_failed() {
    let mut w = world().await;
    let c = w.http().create("image=spindle/mimic").await;
    let sandbox = w.store.all().await.unwrap().remove(0);
    let mut acting = w.app.actions.of(&Actor::admin("ann"), Verb::Stop, &*sandbox);
    acting.begin();
    // The server ends here.
    std::mem::forget(acting);
    let under_way = actions(w.http(), "state=in_progress").await;
    assert_eq!(told(&under_way[0]), ["ann", "stop", sandbox.name.as_str(), "in_progress"]);
    w.restart().await;
    let ended = w.http().get(&format!("/v1/actions/{}", id_of(&under_way[0]))).await.expect(200).json();
    assert_eq!((&ended["state"], &ended["error"]["code"]), (&json!("failed"), &json!("server_ended")));
    assert_eq!(actions(w.http(), "state=success").await.len(), 1, "what had ended stays as it was: {c}");
}

/// All that fails is the record: what is asked is done.
#[tokio::test]
async fn a_record_that_fails_stops_nothing() {
    let directory = std::env::temp_dir().join(format!("spindle-actions-{}", std::process::id()));
    let database = directory.join("spindle.db");
    let w = TestApp { loops: false, database: Some(database.clone()), ..TestApp::default() }.start().await;
    let c = w.http().create("image=spindle/mimic").await;
    assert_eq!(actions(w.http(), "").await.len(), 1);
    rusqlite::Connection::open(&database).unwrap().execute_batch("DROP TABLE actions").unwrap();
    w.http().patch(&c, "wake=never").await.expect(200);
    w.http().delete(&c).await.expect(204);
    w.check().await;
    std::fs::remove_dir_all(directory).unwrap();
}

/// They are kept for as long as they shall be, and then go by themselves.
#[tokio::test]
async fn what_is_too_old_is_forgotten_by_the_pass() {
    let mut app = TestApp { loops: false, ..TestApp::default() };
    app.settings.actions_keep = Duration::from_hours(24);
    let w = app.start().await;
    w.http().create("image=spindle/mimic&idle_timeout=never").await;
    w.clock.advance(Duration::from_hours(23));
    w.app.pass.converge().await;
    assert_eq!(actions(w.http(), "").await.len(), 1);
    w.clock.advance(Duration::from_hours(2));
    w.app.pass.converge().await;
    assert_eq!(actions(w.http(), "").await.len(), 0);
}
