//! Terminals over WebSockets, on the scripted engine.

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use spindle::domain::{Exit, Size};
use support::{
    Body, World,
    people::{PASSWORD, admin, basic, by_password, course, of_alice, session, text},
    programs::{descriptors, nothing_is_left, until},
    scripted::{LIMIT, Scripted, container, settle, world},
    socket::{ADMIN, Client},
    uri,
};

fn path(c: &Value) -> String {
    format!("{}/terminal", uri(c))
}

async fn open(w: &Scripted, c: &Value) -> Vec<Value> {
    w.http().get(&format!("{}/terminals", uri(c))).await.expect(200).json().as_array().unwrap().clone()
}

#[tokio::test]
async fn a_terminal_carries_both_ways_and_says_its_exit_code() {
    let w = world().await;
    let c = w.http().create("image=spindle/mimic").await;
    let mut client = Client::open(w.http(), &format!("{}?cols=100&rows=40&user=student", path(&c))).await;
    client.types("hello\n").await;
    client.sees("hello\n").await;
    let (program, _) = w.engine.last_program(&container(&c)).unwrap();
    assert_eq!((program.user.as_deref(), program.terminal), (Some("student"), Some(Size { cols: 100, rows: 40 })));
    client.says(r#"{"resize":{"cols":120,"rows":50}}"#).await;
    let resized = || w.engine.last_program(&container(&c)).unwrap().1 == Some(Size { cols: 120, rows: 50 });
    until(&w, "the size", async || resized()).await;
    let listed = open(&w, &c).await;
    assert_eq!(
        (listed.len(), text(&listed[0], "id"), &listed[0]["writers"]),
        (1, client.id.as_str(), &json!(["admin"]))
    );
    client.types("exit 3\n").await;
    assert_eq!(client.is_closed().await, (1000, json!({"exit_code": 3})));
    nothing_is_left(&w).await;
    assert!(open(&w, &c).await.is_empty());
}

#[tokio::test]
async fn what_is_asked_wrongly_is_refused() {
    let w = world().await;
    let c = w.http().create("image=spindle/mimic").await;
    let message = w.http().get(&path(&c)).await.expect_error(426, "upgrade_required");
    assert!(message.contains("WebSocket"), "{message}");
    for (query, status, code) in [
        ("cols=0", 400, "invalid_field"),
        ("rows=x", 400, "invalid_field"),
        ("share=all", 400, "invalid_field"),
        ("share=read", 400, "missing_field"),
        ("user=a%20b", 400, "invalid_field"),
        ("size=3", 400, "unknown_field"),
        ("terminal=none", 404, "terminal_not_found"),
        ("terminal=x&command=ls", 400, "invalid_field"),
    ] {
        let refused = Client::try_open(w.http(), &format!("{}?{query}", path(&c)), &[ADMIN]).await.err().unwrap();
        assert_eq!((refused.0, text(&refused.1, "code")), (status, code), "{query}");
    }
    let mut client = Client::open(w.http(), &path(&c)).await;
    client.says("ls").await;
    assert_eq!(client.is_closed().await.0, 1008);
    let mut client = Client::open(w.http(), &path(&c)).await;
    client.types(&"x".repeat(100_000)).await;
    let (code, reason) = client.is_closed().await;
    assert!(code == 1008 && text(&reason, "reason").contains("64 KiB") || code == 1006, "{code} {reason}");
    w.http().patch(&c, "status=stopped").await.expect(200);
    settle(&w, &c, "stopped").await;
    let refused = Client::try_open(w.http(), &path(&c), &[ADMIN]).await.err().unwrap();
    assert_eq!((refused.0, text(&refused.1, "code")), (409, "not_running"));
}

#[tokio::test]
async fn another_sites_page_opens_none() {
    let w = course().await;
    let alice = of_alice(&w).await;
    let (browser, _) = session(&w, &format!("name=alice&password={PASSWORD}")).await;
    let cookie = (browser.header.0, browser.header.1.as_str());
    let own = w.http().base.clone();
    for (name, value) in [("origin", "https://evil.example"), ("origin", "null"), ("sec-fetch-site", "cross-site")] {
        for credential in [cookie, ADMIN] {
            let headers = [credential, (name, value)];
            let refused = Client::try_open(w.http(), &path(&alice), &headers).await.err().expect(value);
            assert_eq!((refused.0, text(&refused.1, "code")), (403, "cross_site"), "{value}");
        }
    }
    assert_eq!(w.engine.running_programs(), 0, "none was opened");
    let mut client = Client::try_open(w.http(), &path(&alice), &[cookie, ("origin", &own)]).await.ok().unwrap();
    client.types("mine\n").await;
    client.sees("mine").await;
}

#[tokio::test]
async fn a_ticket_opens_one_terminal_once() {
    let w = course().await;
    let alice = of_alice(&w).await;
    let ask = async |who: &str, path: &str| {
        let made = by_password(&w, who).post("/v1/tickets", &format!("path={path}")).await.expect(201).json();
        assert_eq!(made["expires_in"], 30);
        text(&made, "ticket").to_owned()
    };
    let with =
        async |ticket: &str, place: &str| Client::try_open(w.http(), &format!("{place}?ticket={ticket}"), &[]).await;
    let ticket = ask("alice", &path(&alice)).await;
    let mut client = with(&ticket, &path(&alice)).await.ok().unwrap();
    client.types("hello\n").await;
    client.sees("hello").await;
    assert_eq!(with(&ticket, &path(&alice)).await.err().unwrap().0, 401, "once");
    let elsewhere = ask("alice", "/v1/containers/other/terminal").await;
    assert_eq!(with(&elsewhere, &path(&alice)).await.err().unwrap().0, 401, "for one path");
    let others = ask("bob", &path(&alice)).await;
    assert_eq!(with(&others, &path(&alice)).await.err().unwrap().0, 404, "it gives no right");
    by_password(&w, "alice").post("/v1/tickets", "path=nowhere").await.expect_error(400, "invalid_field");
}

#[tokio::test]
async fn who_comes_back_finds_what_was_shown_and_who_does_not_finds_nothing() {
    let w = world().await;
    let c = w.http().create("image=spindle/mimic").await;
    let mut client = Client::open(w.http(), &path(&c)).await;
    client.types("before\n").await;
    client.sees("before\n").await;
    let id = client.id.clone();
    drop(client);
    let again = format!("{}?terminal={id}", path(&c));
    let mut client = Client::open(w.http(), &again).await;
    assert_eq!(client.sees("before\n").await, "before\n");
    client.types("after\n").await;
    client.sees("after\n").await;
    drop(client);
    // Its patience is two seconds here.
    nothing_is_left(&w).await;
    let refused = Client::try_open(w.http(), &again, &[ADMIN]).await.err().unwrap();
    assert_eq!((refused.0, text(&refused.1, "code")), (404, "terminal_not_found"));
}

#[tokio::test]
async fn a_learner_sees_who_watches_and_a_watcher_types_nothing() {
    let w = course().await;
    let alice = of_alice(&w).await;
    let (as_alice, as_ina, as_bob) = (basic("alice", PASSWORD), basic("ina", PASSWORD), basic("bob", PASSWORD));
    let mut learner = Client::try_open(w.http(), &path(&alice), &[("authorization", &as_alice)]).await.ok().unwrap();
    learner.types("work\n").await;
    learner.sees("work\n").await;
    learner.wipe();
    let watch = format!("{}?terminal={}&share=read", path(&alice), learner.id);
    assert_eq!(Client::try_open(w.http(), &watch, &[("authorization", &as_bob)]).await.err().unwrap().0, 404);
    let mut watcher = Client::try_open(w.http(), &watch, &[("authorization", &as_ina)]).await.ok().unwrap();
    watcher.sees("work\n").await;
    assert_eq!(learner.sees("this terminal\r\n").await, "\r\n[Spindle] ina watches this terminal\r\n");
    learner.wipe();
    learner.types("more\n").await;
    watcher.sees("more\n").await;
    let listed = by_password(&w, "ina").get(&format!("{}/terminals", uri(&alice))).await.expect(200).json();
    assert_eq!((&listed[0]["writers"], &listed[0]["watchers"]), (&json!(["alice"]), &json!(["ina"])));
    watcher.types("mischief\n").await;
    assert_eq!(watcher.is_closed().await.0, 1008);
    drop(watcher);
    let seen = learner.sees("ina no longer watches this terminal").await;
    assert!(!seen.contains("mischief"), "{seen}");
    let done = by_password(&w, "ina").get("/v1/actions?verb=exec&actor=ina").await.expect(200).json();
    assert_eq!(done[0]["changed"], json!(["watched"]));
}

#[tokio::test]
async fn a_right_that_ends_ends_the_terminal() {
    let w = course().await;
    let alice = of_alice(&w).await;
    let token = by_password(&w, "alice").post("/v1/tokens", "name=x&scopes=operate").await.expect(201).json();
    let bearer = format!("Bearer {}", text(&token, "token"));
    let guest = admin(&w, "POST", &format!("{}/invite", uri(&alice)), "").await;
    let guests = format!("Bearer {}", text(&guest, "token"));
    let ina = basic("ina", PASSWORD);
    let at =
        async |with: &str| Client::try_open(w.http(), &path(&alice), &[("authorization", with)]).await.ok().unwrap();
    let (mut by_token, mut by_guest, mut by_ina) = (at(&bearer).await, at(&guests).await, at(&ina).await);
    by_ina.types("a\n").await;
    by_ina.sees("a\n").await;
    by_password(&w, "alice")
        .send("DELETE", &format!("/v1/tokens/{}", text(&token, "id")), Body::None)
        .await
        .expect(204);
    assert_eq!(by_token.is_closed().await.0, 1008);
    let invitation = format!("{}/invitations/{}", uri(&alice), text(&guest, "id"));
    w.http().send("DELETE", &invitation, Body::None).await.expect(204);
    assert_eq!(by_guest.is_closed().await.0, 1008);
    let (browser, _) = session(&w, &format!("name=alice&password={PASSWORD}")).await;
    let cookie = (browser.header.0, browser.header.1.as_str());
    let mut by_session = Client::try_open(w.http(), &path(&alice), &[cookie]).await.ok().unwrap();
    admin(&w, "PATCH", "/v1/users/alice", "password=another horse").await;
    assert_eq!(by_session.is_closed().await.0, 1008, "a session ends with a new password");
    admin(&w, "PATCH", "/v1/users/ina", "namespaces=default").await;
    assert_eq!(by_ina.is_closed().await.0, 1008);
    nothing_is_left(&w).await;
}

#[tokio::test]
async fn the_end_of_the_container_of_the_engine_and_of_the_server_is_said() {
    let w = world().await;
    let c = w.http().create("image=spindle/mimic").await;
    let mut client = Client::open(w.http(), &path(&c)).await;
    w.engine.crash(&container(&c), Exit { code: 1, oom_killed: false }, "");
    assert_eq!(client.is_closed().await, (1001, json!({"reason": "the container has ended"})));
    nothing_is_left(&w).await;
    let c = w.http().create("image=spindle/mimic").await;
    let mut client = Client::open(w.http(), &path(&c)).await;
    w.engine.set_away(true);
    w.engine.cut_off_programs();
    assert_eq!(client.is_closed().await, (1011, json!({"reason": "the container engine has gone away"})));
    w.engine.set_away(false);
    nothing_is_left(&w).await;
    let mut client = Client::open(w.http(), &path(&c)).await;
    let (closed, ()) = tokio::join!(client.is_closed(), w.app.drain(Duration::from_secs(10)));
    assert_eq!(closed, (1012, json!({"reason": "the server is shutting down"})));
    assert_eq!(w.engine.running_programs(), 0);
}

/// Output that nobody takes waits in the queues, which are bounded, and the client is dropped after a while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_reads_nothing_slows_its_own_terminal_and_is_dropped() {
    let w = world().await;
    let c = w.http().create("image=spindle/mimic").await;
    let silent = Client::open(w.http(), &format!("{}?command=yes", path(&c))).await;
    let mut other = Client::open(w.http(), &path(&c)).await;
    for n in 0..20 {
        other.types(&format!("line {n}\n")).await;
        other.sees(&format!("line {n}\n")).await;
    }
    let listed = async || open(&w, &c).await.iter().filter(|t| t["writers"] == json!([])).count();
    until(&w, "it is dropped", async || listed().await == 1 || open(&w, &c).await.len() == 1).await;
    other.types("still\n").await;
    other.sees("still\n").await;
    drop(silent);
    until(&w, "its program is ended", async || w.engine.running_programs() == 1).await;
}

/// 1,000 clients that vanish from their terminals.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_vanish_leave_nothing() {
    let w = world().await;
    let c = w.http().create("image=spindle/mimic").await;
    let mut kept = Client::open(w.http(), &path(&c)).await;
    let join = format!("{}?terminal={}", path(&c), kept.id);
    let mut before = None;
    for round in 0..90 {
        let mut clients = Vec::new();
        for _ in 0..10 {
            let mut client = Client::open(w.http(), &join).await;
            client.types("x\n").await;
            clients.push(client);
        }
        drop(clients);
        until(&w, "they are gone", async || open(&w, &c).await[0]["writers"].as_array().unwrap().len() == 1).await;
        if round == 4 {
            before = Some(descriptors());
        }
    }
    // Terminals of their own: each ends when nobody comes back.
    for _ in 0..10 {
        let mut clients = Vec::new();
        for _ in 0..10 {
            let mut client = Client::open(w.http(), &path(&c)).await;
            client.types("y\n").await;
            clients.push(client);
        }
        drop(clients);
        until(&w, "their programs are ended", async || w.engine.running_programs() == 1).await;
    }
    kept.wipe();
    kept.types("on\n").await;
    kept.sees("on\n").await;
    let before = before.unwrap();
    until(&w, "no descriptor is leaked", async || descriptors() <= before + 4).await;
    assert_eq!(w.store.execs().await.unwrap().len(), 1);
}

#[tokio::test]
async fn typing_is_use_and_an_open_terminal_is_not() {
    let w = world().await;
    let [typed, silent] = [w.http().create("image=spindle/mimic").await, w.http().create("image=spindle/mimic").await];
    let mut at_one = Client::open(w.http(), &path(&typed)).await;
    let mut at_other = Client::open(w.http(), &format!("{}?command=yes%2010000000", path(&silent))).await;
    w.pass_seconds(LIMIT - 5).await;
    at_one.types("x\n").await;
    at_one.sees("x\n").await;
    w.pass_seconds(10).await;
    assert_eq!(w.http().now(&typed).await["status"], "running");
    settle(&w, &silent, "stopped").await;
    assert_eq!(at_other.is_closed().await.1, json!({"reason": "the container has ended"}), "output alone is no typing");
    w.pass_seconds(LIMIT).await;
    settle(&w, &typed, "stopped").await;
}
