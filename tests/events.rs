//! Events: what is told of what happens, to whom, from when on, and how soon.

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{
    Body, Http, World, id,
    people::{Caller, admin, by_password, course, of_alice, text},
    scripted::{Scripted, TestApp, settle, world},
    uri,
};
use tokio::time::timeout;

/// An event on its way: its name, and what is told.
type Line = (String, Value);

/// The events in a text, and whether each has its id.
fn lines(text: &str) -> Vec<Line> {
    let field = |event: &str, name: &str| {
        let line = event.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(|value| value.trim_start().to_owned())
    };
    let read = |event: &str| -> Option<Line> {
        let (name, data): (_, Value) = (field(event, "event")?, serde_json::from_str(&field(event, "data")?).unwrap());
        assert_eq!(field(event, "id"), data["id"].as_u64().map(|id| id.to_string()), "{event}");
        Some((name, data))
    };
    text.split("\n\n").filter_map(read).collect()
}

async fn kept(who: &Caller<'_>, query: &str) -> Vec<Line> {
    let answer = who.get(&format!("/v1/events?follow=false{query}")).await.expect(200);
    assert!(answer.header("content-type").starts_with("text/event-stream"), "{answer:?}");
    lines(&answer.text)
}

fn admins(w: &Scripted) -> Caller<'_> {
    Caller { http: w.http(), header: ("authorization", "Basic YWRtaW46c3BpbmRvY2tlcg==".into()) }
}

fn names(events: &[Line]) -> Vec<&str> {
    events.iter().map(|(name, _)| name.as_str()).collect()
}

/// A stream of events that is being read.
struct Stream {
    response: reqwest::Response,
    text: String,
}

impl Stream {
    async fn open(http: &Http, path: &str, last: Option<&str>) -> Self {
        let mut request = http.client.get(format!("{}{path}", http.base)).basic_auth("admin", Some("spindocker"));
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        Self { response, text: String::new() }
    }

    /// The next event; `None` if the stream ends.
    async fn next(&mut self) -> Option<Line> {
        loop {
            if let Some((event, left)) = self.text.split_once("\n\n") {
                let (event, left) = (lines(event), left.to_owned());
                self.text = left;
                if let Some(event) = event.into_iter().next() {
                    return Some(event);
                }
            } else {
                let more = timeout(Duration::from_secs(20), self.response.chunk()).await.expect("something comes");
                self.text += std::str::from_utf8(&more.ok()??).unwrap();
            }
        }
    }
}

#[tokio::test]
async fn what_happens_is_told_in_its_order() {
    let w = world().await;
    let c = w.http().create("image=spindle/mimic&name=alice&labels=group=a").await;
    w.http().patch(&c, "status=stopped").await.expect(200);
    settle(&w, &c, "stopped").await;
    w.http().patch(&c, "status=running").await.expect(200);
    w.http().patch(&c, "idle_timeout=2h").await.expect(200);
    w.http().send("POST", &format!("{}/extend", uri(&c)), Body::Form("for=1h")).await.expect(200);
    w.http().patch(&c, "wake=never").await.expect(200);
    w.http().delete(&c).await.expect(204);
    let told = kept(&admins(&w), "").await;
    assert_eq!(names(&told), ["created", "stopped", "started", "changed", "extended", "changed", "deleted"]);
    let ids: Vec<u64> = told.iter().map(|(_, event)| event["id"].as_u64().unwrap()).collect();
    assert!(ids.is_sorted_by(|one, next| one < next), "{ids:?}");
    for (name, event) in &told {
        let object = &event["object"];
        assert_eq!((event["type"].as_str(), text(object, "name")), (Some(name.as_str()), "/alice"), "{event}");
        assert_eq!((text(object, "container_id"), &object["labels"]), (id(&c), &json!({"group": "a"})));
    }
    assert_eq!(told[1].1["detail"], json!({"reason": "requested"}));
    assert!(text(&told[5].1["detail"], "why").starts_with("wake=never by admin"), "{}", told[5].1);
    assert!(text(&told[3].1["detail"], "why").starts_with("idle_timeout=7200 by admin"), "{}", told[3].1);
}

#[tokio::test]
async fn a_filter_tells_what_fits_and_refuses_what_it_does_not_know() {
    let w = world().await;
    for (name, group) in [("alice", "a"), ("bob", "b")] {
        w.http().create(&format!("image=spindle/mimic&name={name}&labels=group={group}")).await;
    }
    let all = admins(&w);
    let told = kept(&all, "").await;
    assert_eq!(names(&told), ["created", "created"]);
    for (query, wanted) in [
        ("&object=alice", vec!["/alice"]),
        ("&label=group=b", vec!["/bob"]),
        ("&label=group=c", vec![]),
        ("&type=stopped", vec![]),
        ("&type=stopped,created", vec!["/alice", "/bob"]),
    ] {
        let told = kept(&all, query).await;
        let of: Vec<&str> = told.iter().map(|(_, event)| text(&event["object"], "name")).collect();
        assert_eq!(of, wanted, "{query}");
    }
    let first = told[0].1["id"].as_u64().unwrap();
    assert_eq!(kept(&all, &format!("&after={first}")).await, told[1..]);
    let wrong = all.get("/v1/events?type=stoped").await.expect_error(400, "invalid_field");
    assert!(wrong.contains("did you mean \\\"stopped\\\"?") || wrong.contains("did you mean \"stopped\"?"), "{wrong}");
    for query in ["after=x", "label=group", "follow=yes"] {
        all.get(&format!("/v1/events?{query}")).await.expect_error(400, "invalid_field");
    }
    all.get("/v1/events?since=x").await.expect_error(400, "unknown_field");
}

#[tokio::test]
async fn everybody_hears_of_what_they_may_see() {
    let w = course().await;
    let made = of_alice(&w).await;
    let told = async |name| kept(&by_password(&w, name), "").await;
    assert_eq!(names(&told("alice").await), ["created"]);
    assert_eq!(names(&told("ina").await), ["created"]);
    assert_eq!(told("bob").await, []);
    admin(&w, "PATCH", uri(&made), "owner=bob").await;
    // What happened while it was hers stays hers.
    assert_eq!(names(&told("alice").await), ["created"]);
    assert_eq!(names(&told("bob").await), ["changed"]);
    w.http().bare("GET", "/v1/events", Body::None, &[]).await.expect_error(401, "unauthorized");
}

#[tokio::test]
async fn a_follower_hears_at_once_and_goes_on_where_it_was_over_a_restart() {
    let directory = std::env::temp_dir().join(format!("spindle-events-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let database = Some(directory.join("spindle.db"));
    let mut w = TestApp { database, ..TestApp::default() }.start().await;
    let mut stream = Stream::open(w.http(), "/v1/events", None).await;
    let c = w.http().create("image=spindle/mimic").await;
    let (name, event) = stream.next().await.unwrap();
    assert_eq!((name.as_str(), text(&event["object"], "container_id")), ("created", id(&c)));
    w.restart().await;
    while let Some((name, _)) = stream.next().await {
        assert_ne!(name, "created", "a shutdown ends it");
    }
    w.http().delete(&c).await.expect(204);
    let last = event["id"].to_string();
    let mut again = Stream::open(w.http(), "/v1/events?type=created,deleted", Some(&last)).await;
    assert_eq!(again.next().await.unwrap().0, "deleted", "what it has heard is not told again");
    // Numbers of another database.
    let mut lost = Stream::open(w.http(), "/v1/events", Some("999999")).await;
    assert_eq!(lost.next().await.unwrap().0, "missed");
    assert_eq!(lost.next().await.unwrap().0, "created");
    std::fs::remove_dir_all(directory).unwrap();
}

#[tokio::test]
async fn the_engine_and_use_are_told_of() {
    let w = world().await;
    let c = w.http().create("image=spindle/mimic&name=alice").await;
    w.app.pass.converge().await;
    assert_eq!(w.check_in(&c, "active=1").await, 200);
    w.app.pass.converge().await;
    w.engine.set_away(true);
    w.app.pass.converge().await;
    w.engine.set_away(false);
    w.app.pass.converge().await;
    let told = kept(&admins(&w), "").await;
    assert_eq!(names(&told), ["created", "evidence", "engine_lost", "engine_back"]);
    assert_eq!(told[1].1["detail"], json!({"class": "person"}));
    assert_eq!(told[2].1["object"], Value::Null);
}

#[tokio::test]
async fn a_stream_ends_with_the_credentials_of_its_reader() {
    let w = course().await;
    let token = admin(&w, "POST", "/v1/tokens", "name=x&scopes=read").await;
    let request = w.http().client.get(format!("{}/v1/events", w.http().base)).bearer_auth(text(&token, "token"));
    let mut stream = Stream { response: request.send().await.unwrap(), text: String::new() };
    admin(&w, "DELETE", &format!("/v1/tokens/{}", text(&token, "id")), "").await;
    of_alice(&w).await;
    assert_eq!(stream.next().await, None, "it ends before what happens next is told");
    let last = "18446744073709551615";
    assert_eq!(names(&kept(&admins(&w), &format!("&after={last}&type=created")).await), ["missed", "created"]);
}

#[tokio::test]
async fn several_labels_must_all_be_there() {
    let w = world().await;
    w.http().create("image=spindle/mimic&labels=group=a,year=1").await;
    w.http().create("image=spindle/mimic&labels=group=a,year=2").await;
    assert_eq!(kept(&admins(&w), "&label=group=a&label=year=2").await.len(), 1);
}
