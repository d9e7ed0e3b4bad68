//! Many at once: which containers a request selects, page by page, and what is done to all of them.

mod support;

use serde_json::Value;
use support::{
    World,
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
