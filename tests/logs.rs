//! Logs: what a sandbox has written and goes on to write, for whoever may read it. On the scripted engine.

mod support;

use std::time::Duration;

use serde_json::Value;
use spindle::{
    app::Outlet,
    engine::{EngineError, Said, fake::Fault},
};
use support::{
    Answer, Body, World,
    people::{PASSWORD, admin, by_password, course, of_alice},
    scripted::{Scripted, TestApp, activity, container},
    streams::{ALONE, Follower, descriptors, eventually, rss},
};

const JSON: &[(&str, &str)] =
    &[("authorization", "Basic YWRtaW46c3BpbmRvY2tlcg=="), ("accept", "application/x-ndjson")];

fn path(c: &Value, query: &str) -> String {
    format!("{}/logs{query}", support::uri(c))
}

async fn world() -> (Scripted, Value) {
    let w = TestApp::default().start().await;
    let c = w.http().create("image=spindle/mimic").await;
    (w, c)
}

fn say(w: &Scripted, c: &Value, outlet: Outlet, at: &str, bytes: &'static [u8]) {
    w.engine.say(&container(c), Said { outlet, at: Some(at.parse().unwrap()), bytes: bytes.into() });
}

async fn json(w: &Scripted, c: &Value, query: &str) -> Vec<Value> {
    let answer = w.http().bare("GET", &path(c, query), Body::None, JSON).await.expect(200);
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    answer.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_log_is_text_or_json_and_as_much_of_it_as_is_wanted() {
    let _beside = ALONE.read().await;
    let (w, c) = world().await;
    say(&w, &c, Outlet::Stdout, "2026-11-20T08:00:00Z", b"one\n");
    say(&w, &c, Outlet::Stderr, "2026-11-20T08:50:00.123456789Z", b"t\xffo\n");
    say(&w, &c, Outlet::Stdout, "2026-11-20T08:59:00Z", b"thr");
    say(&w, &c, Outlet::Stdout, "2026-11-20T08:59:01Z", b"ee\n");
    let text = async |query: &str| w.http().get(&path(&c, query)).await.expect(200);
    let whole = text("").await;
    assert_eq!(whole.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(whole.text, "one\nt\u{fffd}o\nthree\n", "the client has replaced the byte that is no UTF-8");
    for (query, expected) in [
        ("?stream=stdout", "one\nthree\n"),
        ("?stream=both&tail=all", "one\nt\u{fffd}o\nthree\n"),
        ("?since=2026-11-20T08:50:00.123456789Z&stream=stdout", "three\n"),
        ("?since=10m", "t\u{fffd}o\nthree\n"),
        ("?since=1d&tail=0", ""),
        ("?stream=stderr&timestamps=true", "2026-11-20T08:50:00.123Z t\u{fffd}o\n"),
        ("?since=2026-11-20T08:59:00Z&timestamps=true", "2026-11-20T08:59:00.000Z three\n"),
    ] {
        assert_eq!(text(query).await.text, expected, "{query}");
    }
    assert_eq!(
        json(&w, &c, "?stream=stderr").await,
        [serde_json::json!({ "at": "2026-11-20T08:50:00.123Z", "stream": "stderr", "line": "t\u{fffd}o" })]
    );
    for (query, code) in [
        ("?tail=-1", "invalid_field"),
        ("?tail=some", "invalid_field"),
        ("?since=yesterday", "invalid_field"),
        ("?follow=yes", "invalid_field"),
        ("?stream=stdin", "invalid_field"),
        ("?lines=3", "unknown_field"),
    ] {
        w.http().get(&path(&c, query)).await.expect_error(400, code);
    }
    w.http().get("/v1/containers/nobody/logs").await.expect_error(404, "container_not_found");
}

#[tokio::test]
async fn of_a_stopped_one_too_and_a_long_line_comes_in_pieces() {
    let _beside = ALONE.read().await;
    let (w, c) = world().await;
    w.engine.say_text(&container(&c), Outlet::Stdout, &format!("{}\nlast\n", "x".repeat(100_000)));
    w.http().patch(&c, "status=stopped").await.expect(200);
    w.until(&c, support::is("stopped")).await;
    let followed = w.http().get(&path(&c, "?follow=true")).await.expect(200);
    assert_eq!(followed.text.len(), 100_001 + 5, "a stopped one writes nothing more, so its log ends");
    let lines = json(&w, &c, "").await;
    assert_eq!(lines.len(), 2);
    w.engine.say_text(&container(&c), Outlet::Stdout, &"y".repeat(70_000));
    let pieces = json(&w, &c, "?tail=1").await;
    assert_eq!(pieces[0]["partial"], true);
}

#[tokio::test]
async fn a_follower_sees_each_line_at_once_and_ends_with_the_sandbox() {
    let _beside = ALONE.read().await;
    let (w, c) = world().await;
    let mut follower = Follower::open(w.http(), &path(&c, "?follow=true"), &[]).await;
    for line in ["one\n", "two\n"] {
        w.engine.say_text(&container(&c), Outlet::Stdout, line);
        assert_eq!(follower.next().await.as_deref(), Some(line));
    }
    let before = activity(&w, &c).await["sources"].clone();
    w.engine.crash(&container(&c), spindle::domain::Exit { code: 1, oom_killed: false }, "bye\n");
    assert_eq!(follower.next().await.as_deref(), Some("bye\n"));
    assert_eq!(follower.next().await, None, "it ends");
    assert_eq!(activity(&w, &c).await["sources"], before, "reading is no evidence");
    eventually("the engine's stream ends", || w.engine.open_streams() == 0).await;
}

#[tokio::test]
async fn an_engine_that_goes_away_is_told() {
    let _beside = ALONE.read().await;
    let (w, c) = world().await;
    w.engine.say_text(&container(&c), Outlet::Stdout, "one\n");
    let mut text = Follower::open(w.http(), &path(&c, "?follow=true"), &[]).await;
    let mut json = Follower::open(w.http(), &path(&c, "?follow=true"), JSON).await;
    assert_eq!(text.next().await.as_deref(), Some("one\n"));
    assert!(json.next().await.unwrap().contains("one"));
    w.engine.set_away(true);
    assert_eq!(text.next().await, None, "a text ends");
    let last: Value = serde_json::from_str(&json.next().await.unwrap()).unwrap();
    assert_eq!(last["code"], "engine_unavailable", "{last}");
    assert_eq!(json.next().await, None);
    w.http().get(&path(&c, "")).await.expect_error(503, "engine_unavailable");
    w.engine.set_away(false);
    w.engine.next("logs", Fault::Fail(EngineError::Refused("its log driver cannot be read".into())));
    let why = w.http().get(&path(&c, "")).await.expect_error(502, "engine_failed");
    assert!(why.contains("log driver"), "{why}");
}

#[tokio::test]
async fn followers_end_with_the_server() {
    let _beside = ALONE.read().await;
    let (w, c) = world().await;
    let mut follower = Follower::open(w.http(), &path(&c, "?follow=true"), JSON).await;
    eventually("it is there", || w.engine.open_streams() == 1).await;
    let began = std::time::Instant::now();
    w.app.drain(Duration::from_secs(10)).await;
    let last: Value = serde_json::from_str(&follower.next().await.unwrap()).unwrap();
    assert_eq!(last["code"], "shutting_down");
    assert_eq!(follower.next().await, None);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test]
async fn an_assistant_reads_the_log_and_not_the_secret_in_it() {
    let _beside = ALONE.read().await;
    let w = course().await;
    admin(&w, "POST", "/v1/users", &format!("name=asta&role=assistant&namespaces=db&password={PASSWORD}")).await;
    let c = of_alice(&w).await;
    let token = w.token(&c).await;
    w.engine.say_text(&container(&c), Outlet::Stdout, &format!("go to /lab?token={token} now\n"));
    let seen = async |who: &str| -> Answer { by_password(&w, who).get(&path(&c, "")).await };
    assert_eq!(seen("alice").await.expect(200).text, format!("go to /lab?token={token} now\n"));
    assert_eq!(seen("asta").await.expect(200).text, format!("go to /lab?token={} now\n", "*".repeat(token.len())));
    seen("bob").await.expect_error(404, "container_not_found");
}

/// Nothing is written to them, so only the gate can notice that they are gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_followers_who_vanish_leave_nothing_behind() {
    let _alone = ALONE.write().await;
    let w = TestApp::with_api(|api| api.connections = 4_096).start().await;
    let c = w.http().create("image=spindle/mimic").await;
    w.engine.say_text(&container(&c), Outlet::Stdout, "one\n");
    let before = descriptors();
    for _ in 0..4 {
        let mut followers = Vec::new();
        for _ in 0..250 {
            let mut follower = Follower::open(w.http(), &path(&c, "?follow=true"), &[]).await;
            assert_eq!(follower.next().await.as_deref(), Some("one\n"));
            followers.push(follower);
        }
        assert_eq!(w.engine.open_streams(), 250);
        drop(followers);
        eventually("none is left", || w.engine.open_streams() == 0).await;
    }
    eventually("no descriptor is left", || descriptors() <= before + 8).await;
}

/// The log has no end, and none of them reads it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_followers_who_never_read_cost_bounded_memory() {
    let _alone = ALONE.write().await;
    let w = TestApp::with_api(|api| api.connections = 4_096).start().await;
    let c = w.http().create("image=spindle/mimic").await;
    for _ in 0..2_000 {
        w.engine.say_text(&container(&c), Outlet::Stdout, &"x".repeat(16_000));
    }
    let before = rss();
    let mut followers = Vec::new();
    for _ in 0..200 {
        followers.push(Follower::open(w.http(), &path(&c, "?follow=true&tail=all"), &[]).await);
    }
    // Until nobody gets on any more.
    let (mut pulled, mut looks) = (u64::MAX, tokio::time::interval(Duration::from_millis(500)));
    loop {
        looks.tick().await;
        let now = w.engine.pulled();
        if now == pulled {
            break;
        }
        pulled = now;
    }
    let grown = rss().saturating_sub(before);
    println!("200 followers who never read: {} KiB each", grown / 200 / 1024);
    assert!(pulled < 200 * 2_000 && w.engine.open_streams() == 200, "each waits for its client: {pulled}");
    assert!(grown < 200 * (512 << 10), "{} MiB", grown >> 20);
    drop(followers);
    eventually("none is left", || w.engine.open_streams() == 0).await;
}

#[tokio::test]
async fn who_may_no_longer_read_reads_no_more() {
    let _beside = ALONE.read().await;
    let w = course().await;
    let c = of_alice(&w).await;
    let token = admin(&w, "POST", "/v1/tokens", "name=x&scopes=read").await;
    let bearer = format!("Bearer {}", token["token"].as_str().unwrap());
    let by_token = [("authorization", bearer.as_str())];
    let mut log = Follower::open(w.http(), &path(&c, "?follow=true"), &by_token).await;
    let stats = format!("{}/stats?stream=true", support::uri(&c));
    let mut stats = Follower::open(w.http(), &stats, &by_token).await;
    admin(&w, "DELETE", &format!("/v1/tokens/{}", token["id"].as_str().unwrap()), "").await;
    assert_eq!(log.next().await, None);
    while stats.next().await.is_some() {}
}
