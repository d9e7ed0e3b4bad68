//! Many at once: which containers a request selects, page by page, and what is done to all of them.

mod support;

use serde_json::{Value, json};
use support::{
    Body, World,
    people::{admin, by_password, course},
    scripted::{Scripted, TestApp},
};

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap().trim_start_matches('/')).collect()
}

/// Whom a query selects, by their names.
async fn selected(w: &Scripted, query: &str) -> String {
    let list = w.http().get(&format!("/v1/containers?{query}")).await.expect(200).json();
    names(&list).join(" ")
}

/// Four containers of two groups.
async fn class() -> Scripted {
    let w = TestApp::default().start().await;
    for (name, labels, image) in [
        ("alice", "group=a,year=2", "spindle/mimic"),
        ("alice-2", "group=b", "spindle/mimic:twin"),
        ("bob", "group=a", "spindle/mimic:latest"),
        ("carol", "", "spindle/mimic"),
    ] {
        w.http().create(&format!("image={image}&name={name}&labels={labels}")).await;
    }
    w
}

#[tokio::test]
async fn a_list_takes_conditions_that_must_all_hold() {
    let w = class().await;
    let bob = w.http().get("/v1/containers/bob").await.json();
    w.http().patch(&bob, "status=stopped").await.expect(200);
    support::scripted::settle(&w, &bob, "stopped").await;
    for (query, found) in [
        ("", "alice alice-2 bob carol"),
        ("label=group", "alice alice-2 bob"),
        ("label=group=a", "alice bob"),
        ("label=group%3Da", "alice bob"),
        ("label=group=a&label=year", "alice"),
        ("status=running", "alice alice-2 carol"),
        ("status=stopped&label=group=a", "bob"),
        ("image=spindle/mimic", "alice bob carol"),
        ("name=alice*", "alice alice-2"),
        ("name=%2Fcarol", "carol"),
        ("name=nobody", ""),
        ("namespace=default&owner=none&audit=true", "alice alice-2 bob carol"),
    ] {
        assert_eq!(selected(&w, query).await, found, "{query}");
    }
}

#[tokio::test]
async fn what_selects_nothing_that_we_know_is_refused() {
    let w = class().await;
    for (query, code, words) in [
        ("lable=group", "unknown_field", "did you mean \"label\""),
        ("status=paused", "invalid_field", "\"stopping\""),
        ("status=running&status=stopped", "duplicate_field", "once"),
        ("label==a", "invalid_field", "label: \"=a\""),
        ("name=a b", "invalid_field", "alice*"),
        ("limit=0", "invalid_field", "1 to 1000"),
        ("limit=1001", "invalid_field", "1 to 1000"),
        ("limit=2&after=x", "invalid_field", "Link"),
        ("owner=%ff", "invalid_utf8", "UTF-8"),
    ] {
        let query = query.replace(' ', "%20");
        let why = w.http().get(&format!("/v1/containers?{query}")).await.expect_error(400, code);
        assert!(why.contains(words), "{query}: {why}");
    }
}

/// The pages of a list, each as its names.
async fn pages(w: &Scripted, first: &str) -> Vec<String> {
    let (mut path, mut pages) = (first.to_owned(), Vec::new());
    loop {
        let answer = w.http().get(&path).await.expect(200);
        pages.push(names(&answer.json()).join(" "));
        match answer.header("link").split_once('>') {
            Some((next, "; rel=\"next\"")) => path = next.trim_start_matches('<').to_owned(),
            None => return pages,
            other => panic!("{other:?}"),
        }
        assert!(pages.len() < 10, "{pages:?}");
    }
}

#[tokio::test]
async fn pages_have_all_in_order_whatever_is_deleted_meanwhile() {
    let w = class().await;
    assert_eq!(pages(&w, "/v1/containers?limit=2").await, ["alice alice-2", "bob carol"]);
    assert_eq!(pages(&w, "/v1/containers?limit=3&label=group").await, ["alice alice-2 bob"], "all have room");
    assert_eq!(pages(&w, "/v1/containers?label=group&limit=1").await, ["alice", "alice-2", "bob"]);
    let first = w.http().get("/v1/containers?limit=2").await;
    let next = first.header("link").trim_start_matches('<').split('>').next().unwrap().to_owned();
    let last = first.json()[1].clone();
    w.http().delete(&last).await.expect(204);
    assert_eq!(pages(&w, &next).await, ["bob carol"], "though the last of the first page is gone");
    w.check().await;
}

/// Whoever may see only some has pages of these alone.
#[tokio::test]
async fn a_page_has_only_what_its_reader_may_see() {
    let w = course().await;
    for (owner, name) in [("bob", "b-1"), ("alice", "a-1"), ("bob", "b-2"), ("alice", "a-2")] {
        let form = format!("image=spindle/mimic&namespace=db&owner={owner}&name={name}");
        admin(&w, "POST", "/v1/containers", &form).await;
    }
    let alice = by_password(&w, "alice");
    let page = alice.get("/v1/containers?limit=2").await.expect(200);
    assert_eq!((names(&page.json()), page.header("link")), (vec!["a-1", "a-2"], ""));
    assert_eq!(names(&alice.get("/v1/containers?owner=bob").await.expect(200).json()), Vec::<&str>::new());
    let ina = by_password(&w, "ina").get("/v1/containers?owner=bob&name=*-2").await.expect(200).json();
    assert_eq!(names(&ina), ["b-2"]);
}

/// What became of each, as `name status`.
fn results(answer: &support::Answer) -> String {
    let results = answer.clone().expect(200).json();
    let one = |r: &Value| format!("{} {}", r["name"].as_str().unwrap().trim_start_matches('/'), r["status"]);
    results.as_array().unwrap().iter().map(one).collect::<Vec<_>>().join(", ")
}

async fn send(w: &Scripted, method: &str, path: &str, form: &str) -> support::Answer {
    let body = if form.is_empty() { Body::None } else { Body::Form(form) };
    w.http().send(method, &format!("/v1/containers{path}"), body).await
}

#[tokio::test]
async fn a_bulk_verb_has_a_result_for_each_and_one_that_fails_stops_no_other() {
    let w = class().await;
    let done = send(&w, "PATCH", "?label=group", "idle_timeout=45&labels=group=c").await;
    assert_eq!(results(&done), "alice 200, alice-2 200, bob 200");
    assert_eq!(selected(&w, "label=group=c").await, "alice alice-2 bob");
    let stopped = send(&w, "PATCH", "?name=alice*", "status=stopped").await;
    assert_eq!(results(&stopped), "alice 200, alice-2 200");
    for name in ["alice", "alice-2"] {
        let c = w.http().get(&format!("/v1/containers/{name}")).await.json();
        support::scripted::settle(&w, &c, "stopped").await;
    }
    let extended = send(&w, "POST", "/extend?name=*", "for=3h").await;
    assert_eq!(results(&extended), "alice 409, alice-2 409, bob 200, carol 200");
    assert_eq!(extended.json()[0]["error"]["code"], "not_running");
    assert_eq!(extended.json()[0]["container_id"], w.http().get("/v1/containers/alice").await.json()["container_id"]);
    let said = send(&w, "POST", "/message?name=*", "text=the end is near").await;
    assert_eq!(results(&said), "alice 409, alice-2 409, bob 200, carol 200");
    assert_eq!((&said.json()[2]["terminals"], said.json()[0].get("terminals")), (&json!(1), None));
    let again = send(&w, "POST", "/restart?name=*", "").await;
    assert_eq!(results(&again), "alice 200, alice-2 200, bob 200, carol 200");
    assert_eq!(selected(&w, "status=running").await, "alice alice-2 bob carol");
    let refused = send(&w, "PATCH", "?name=*", "memory=32m").await;
    assert_eq!(results(&refused), "alice 200, alice-2 200, bob 200, carol 200");
    let bob = w.http().get("/v1/containers/bob").await.json();
    w.engine.use_memory(&support::scripted::container(&bob), 31 << 20);
    assert_eq!(
        results(&send(&w, "PATCH", "?name=*", "memory=24m").await),
        "alice 200, alice-2 200, bob 502, carol 200"
    );
    w.check().await;
}

#[tokio::test]
async fn what_destroys_wants_the_number_and_nothing_bulk_is_done_to_all_by_mistake() {
    let w = class().await;
    for (method, path, form) in [
        ("DELETE", "", ""),
        ("DELETE", "?confirm=4", ""),
        ("PATCH", "", "status=stopped"),
        ("POST", "/extend", "for=1h"),
        ("POST", "/restart", ""),
        ("POST", "/message", "text=x"),
    ] {
        let why = send(&w, method, path, form).await.expect_error(400, "no_selection");
        assert!(why.contains("?label=") && why.contains("name=*"), "{why}");
    }
    let why = send(&w, "DELETE", "?label=group=a", "").await.expect_error(400, "confirm_required");
    assert!(why.contains("2 containers") && why.contains("confirm=2"), "{why}");
    let why = send(&w, "DELETE", "?label=group=a&confirm=3", "").await.expect_error(409, "confirm_mismatch");
    assert!(why.contains("2 are selected"), "{why}");
    send(&w, "DELETE", "?label=group=a&confirm=yes", "").await.expect_error(400, "invalid_field");
    send(&w, "PATCH", "?name=*", "name=x").await.expect_error(400, "unknown_field");
    send(&w, "PATCH", "?name=*&limit=2", "status=stopped").await.expect_error(400, "unknown_field");
    assert_eq!(selected(&w, "").await, "alice alice-2 bob carol");
    assert_eq!(results(&send(&w, "DELETE", "?label=group=a&confirm=2", "").await), "alice 204, bob 204");
    assert_eq!(results(&send(&w, "DELETE", "?name=nobody", "").await), "", "there is nothing to confirm");
    assert_eq!(selected(&w, "").await, "alice-2 carol");
    w.check().await;
}

/// Everybody's bulk verbs reach what they may see; what they may not do to one is told of that one.
#[tokio::test]
async fn a_bulk_verb_reaches_what_its_caller_may_see() {
    let w = course().await;
    for (owner, name) in [("alice", "a-1"), ("bob", "b-1")] {
        let form = format!("image=spindle/mimic&namespace=db&owner={owner}&name={name}");
        admin(&w, "POST", "/v1/containers", &form).await;
    }
    w.http().create("image=spindle/mimic&name=elsewhere").await;
    let alice = by_password(&w, "alice");
    assert_eq!(results(&alice.post("/v1/containers/extend?name=*", "").await), "a-1 200");
    alice.send("DELETE", "/v1/containers?name=*&confirm=1", Body::None).await.expect_error(403, "forbidden");
    alice.post("/v1/containers/message?name=*", "text=x").await.expect_error(403, "forbidden");
    let ina = by_password(&w, "ina");
    assert_eq!(results(&ina.patch("/v1/containers?name=*", "wake=never").await), "a-1 200, b-1 200");
    let form = Body::Form("name=t&scopes=operate");
    let token = ina.send("POST", "/v1/tokens", form).await.expect(201).json();
    let token = support::people::bearer(&w, &token);
    let both = token.patch("/v1/containers?name=*", "wake=idle&owner=none").await;
    assert_eq!(results(&both), "a-1 403, b-1 403", "it may change, and not assign");
}

#[tokio::test]
async fn several_are_created_at_once_each_by_itself() {
    let w = class().await;
    let made = send(&w, "POST", "", "image=spindle/mimic&names=dora,alice,emil&labels=group=d").await;
    assert_eq!(results(&made), "dora 201, alice 409, emil 201");
    let made = made.json();
    assert_eq!((&made[1]["error"]["code"], made[1].get("container")), (&json!("name_taken"), None));
    let dora = w.http().get("/v1/containers/dora").await.expect(200).json();
    assert_eq!((&made[0]["container"], &made[0]["container_id"]), (&dora, &dora["container_id"]));
    let counted = send(&w, "POST", "", "image=spindle/mimic&name=lab&count=3").await;
    assert_eq!(results(&counted), "lab-1 201, lab-2 201, lab-3 201");
    let unnamed = send(&w, "POST", "", "image=spindle/mimic&count=2").await.expect(200).json();
    assert!(unnamed.as_array().unwrap().iter().all(|r| r["name"].as_str().unwrap().starts_with("/sandbox-")));
    let listed = Body::Json(json!({"image": "spindle/mimic", "names": ["finn", "gita"]}));
    assert_eq!(results(&w.http().send("POST", "/v1/containers", listed).await), "finn 201, gita 201");
    for (form, words) in [
        ("names=x-1,x-1", "once"),
        ("names=x-1,a/b", "names: \"a/b\""),
        ("names=", "names"),
        ("names=x-1&name=lab", "say name, names"),
        ("names=x-1&count=2", "say name, names"),
        ("count=0", "1 to 1000"),
        ("count=1001", "1 to 1000"),
    ] {
        let why = send(&w, "POST", "", &format!("image=spindle/mimic&{form}")).await.expect_error(400, "invalid_field");
        assert!(why.contains(words), "{form}: {why}");
    }
    assert_eq!(selected(&w, "name=x*").await, "");
    w.check().await;
}

/// No more than so many are with the engine at a time, and the quota counts each.
#[tokio::test]
async fn a_class_is_created_within_its_quota_and_few_at_a_time() {
    let w = course().await;
    admin(&w, "PATCH", "/v1/namespaces/db", "quota=containers=5,running=3").await;
    let ina = by_password(&w, "ina");
    let form = "image=spindle/mimic&namespace=db&count=8";
    let made = ina.post("/v1/containers", form).await.expect(200).json();
    let status = |r: &Value| r["status"].as_u64().unwrap();
    let of = |wanted: u64| made.as_array().unwrap().iter().filter(|r| status(r) == wanted).count();
    assert_eq!((of(201), of(403)), (3, 5), "{made}");
    let resting = ina.post("/v1/containers", &format!("{form}&start=false")).await.expect(200).json();
    let created = resting.as_array().unwrap().iter().filter(|r| status(r) == 201).count();
    assert_eq!(created, 2, "those that do not run count as containers: {resting}");
    assert_eq!(w.engine.calls("start"), 3);
}

#[tokio::test]
async fn one_that_is_not_started_waits_for_its_first_start_and_is_no_orphan() {
    let mut w = TestApp::default().start().await;
    let c = w.http().create("image=spindle/mimic&name=later&start=false").await;
    assert_eq!((&c["status"], &c["stopped_reason"]), (&json!("stopped"), &json!("requested")));
    assert_eq!((c["ports"].as_array().unwrap().len(), &c["ssh_port"]), (2, &json!("")), "its ports are reserved");
    assert_eq!(w.engine.calls("start"), 0);
    w.pass_seconds(5).await;
    w.store = std::sync::Arc::new(spindle::store::Store::in_memory().unwrap());
    w.restart().await;
    let adopted = w.until(&c, support::is("stopped")).await;
    assert_eq!((&adopted["container_id"], &adopted["ports"]), (&c["container_id"], &c["ports"]));
    let started = w.http().patch(&c, "status=running").await.expect(200).json();
    assert_eq!((&started["status"], &started["container_id"]), (&json!("running"), &c["container_id"]));
    w.http()
        .send("POST", "/v1/containers", Body::Form("image=spindle/mimic&start=no"))
        .await
        .expect_error(400, "invalid_field");
    w.check().await;
}

#[tokio::test]
async fn what_a_program_is_started_with_is_checked_and_kept() {
    let mut w = TestApp::default().start().await;
    let said = json!({
        "image": "spindle/mimic", "name": "said", "command": ["sh", "-c", "sleep 60"], "entrypoint": "/bin/env -i",
        "workdir": "/tmp", "user": "1000:1000", "hostname": "lab-7", "env": {"B": "2", "A": "1"},
    });
    w.http().send("POST", "/v1/containers", Body::Json(said)).await.expect(201);
    let launch = |w: &Scripted| {
        let store = w.store.clone();
        async move { store.all().await.unwrap()[0].recipe.launch.clone().unwrap() }
    };
    let before = launch(&w).await;
    assert_eq!(before.command.as_deref(), Some(&["sh".to_owned(), "-c".into(), "sleep 60".into()][..]));
    assert_eq!(before.entrypoint.as_deref(), Some(&["/bin/env".to_owned(), "-i".into()][..]));
    assert_eq!((before.workdir.as_deref(), before.user.as_deref()), (Some("/tmp"), Some("1000:1000")));
    assert_eq!((before.hostname.as_deref(), before.env[0].clone()), (Some("lab-7"), ("A".into(), "1".into())));
    w.store = std::sync::Arc::new(spindle::store::Store::in_memory().unwrap());
    w.restart().await;
    w.http().get("/v1/containers/said").await.expect(200);
    assert_eq!(launch(&w).await, before);
    for (field, value) in [
        ("command", json!([])),
        ("command", json!([1])),
        ("entrypoint", json!({})),
        ("workdir", json!("tmp")),
        ("user", json!("a b")),
        ("hostname", json!("a_b")),
    ] {
        let body = Body::Json(json!({"image": "spindle/mimic", field: value}));
        let why = w.http().send("POST", "/v1/containers", body).await.expect_error(400, "invalid_field");
        assert!(why.starts_with(field), "{why}");
    }
}

/// One list tells who really works: a start and an instructor's extension are nobody's work.
#[tokio::test]
async fn the_list_tells_who_works_and_by_what() {
    let w = class().await;
    let bob = w.http().get("/v1/containers/bob").await.json();
    let carol = w.http().get("/v1/containers/carol").await.json();
    w.http().send("POST", "/v1/containers/carol/extend", Body::Form("for=1h")).await.expect(200);
    assert_eq!(w.check_in(&bob, "active=1").await, 200);
    w.clock.advance(std::time::Duration::from_secs(7));
    assert_eq!(w.check_in(&carol, "active=0").await, 200);
    let list = w.http().get("/v1/containers").await.json();
    let used: Vec<_> = list.as_array().unwrap().iter().map(|c| c["used_by"].clone()).collect();
    assert_eq!(used, [Value::Null, Value::Null, json!({"source": "check_in", "age": 7}), Value::Null]);
    assert!(list[2]["last_used_at"].is_string() && list[3]["last_used_at"].is_null(), "{list}");
}
