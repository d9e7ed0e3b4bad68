//! What those may read who look for actions: page by page, as an export, and only what concerns them.

use std::time::Duration;

use spindle::domain::{Act, ActedOn, ActionFilter, ActionState, Actor, Namespace, ObjectKind, Rights, Role, Verb};

use super::{
    actions, id_of,
    support::{Body, World, id, scripted::world},
};

#[tokio::test]
async fn pages_follow_each_other_and_questions_are_clear() {
    let w = world().await;
    let c = w.http().create("image=spindle/mimic&name=ann").await;
    for _ in 0..4 {
        w.http().patch(&c, "wake=never").await.expect(200);
        w.clock.advance(Duration::from_secs(10));
    }
    let (mut seen, mut page) = (Vec::new(), Some("/v1/actions?limit=2&actor=admin".to_owned()));
    while let Some(at) = page {
        let answer = w.http().get(&at).await.expect(200);
        seen.extend(answer.json().as_array().unwrap().iter().map(|a| id_of(a).to_owned()));
        let link = answer.header("link").strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\""));
        page = link.map(str::to_owned);
    }
    let mut all: Vec<_> = actions(w.http(), "").await.iter().map(|a| id_of(a).to_owned()).collect();
    all.reverse();
    assert_eq!((seen.len(), &seen), (5, &all));
    let found = async |query: &str| actions(w.http(), query).await.len();
    for (query, number) in [
        ("object=ann", 5),
        ("object=/ann", 5),
        ("object=container:ann", 5),
        ("object=image:ann", 0),
        (&format!("object={}", &id(&c)[..12]), 5),
        ("verb=change", 4),
        ("actor=nobody", 0),
        ("since=25s", 2),
        ("since=2026-11-20T09:00:20Z", 2),
        ("since=2026-11-20T10:00:20+01:00", 2),
        ("state=failed", 0),
    ] {
        assert_eq!(found(query).await, number, "{query}");
    }
    for (query, field) in [
        ("verb=creat", "did you mean \"create\"?"),
        ("state=done", "state: \"done\""),
        ("since=yesterday", "since: \"yesterday\""),
        ("limit=0", "limit: \"0\""),
        ("limit=1001", "1 to 1000"),
        ("after=nothing", "after: \"nothing\""),
        ("format=xml", "format: \"xml\""),
        ("format=csv&limit=3", "an export has no pages"),
        ("object=debian:bookworm", "a kind"),
    ] {
        let message = w.http().get(&format!("/v1/actions?{query}")).await.expect_error(400, "invalid_field");
        assert!(message.contains(field), "{query}: {message}");
    }
    let message = w.http().get("/v1/actions?who=ann").await.expect_error(400, "unknown_field");
    assert!(message.contains("actor"), "{message}");
    let csv = w.http().bare(
        "GET",
        "/v1/actions?verb=create",
        Body::None,
        &[("authorization", "Basic YWRtaW46c3BpbmRvY2tlcg=="), ("accept", "text/csv")],
    );
    let csv = csv.await.expect(200);
    let rows: Vec<&str> = csv.text.split("\r\n").collect();
    assert!(csv.header("content-type").starts_with("text/csv") && rows.len() == 3 && rows[2].is_empty(), "{csv:?}");
    assert!(rows[0].starts_with("id,verb,state,actor,") && rows[1].contains(",create,success,admin,"), "{csv:?}");
}

/// An export reads page by page; nothing is left out between them.
#[tokio::test]
async fn an_export_has_all() {
    let w = world().await;
    let by = Actor::admin("ann");
    for _ in 0..2_500 {
        w.app.actions.of(&by, Act::SignIn, ActedOn::named(ObjectKind::User, "=ann")).done();
    }
    let ids: std::collections::BTreeSet<_> = actions(w.http(), "").await.iter().map(|a| id_of(a).to_owned()).collect();
    assert_eq!(ids.len(), 2_500);
    let csv = w.http().get("/v1/actions?format=csv").await.expect(200).text;
    assert_eq!((csv.lines().count(), csv.matches(",'=ann,").count()), (2_501, 2_500));
}

#[tokio::test]
async fn everybody_sees_what_concerns_them_and_only_a_puller_or_an_admin_cancels() {
    let w = world().await;
    let namespace = |name: &str| Namespace::parse("namespace", name).unwrap();
    let somebody = |name: &str, role, namespaces: &[&str]| {
        let rights = Rights::of(role, namespaces.iter().map(|name| namespace(name)).collect());
        Actor { rights, ..Actor::admin(name) }
    };
    let c = w.http().create("image=spindle/mimic").await;
    w.engine.move_to_registry("spindle/mimic:twin");
    w.engine.stall_pulls(true);
    let [ann, bob] = ["ann", "bob"].map(|name| somebody(name, Role::Instructor, &["default"]));
    let image = spindle::domain::ImageRef::parse("spindle/mimic:twin").unwrap();
    w.app.asked.ensure_image(&ann, &image).await.unwrap();
    let helper = somebody("eve", Role::Assistant, &["default"]);
    let refused = w.app.asked.delete(&helper, id(&c)).await.unwrap_err();
    assert_eq!(refused.code(), "forbidden");
    w.app.asked.ensure_image(&helper, &image).await.unwrap_err();

    let seen = async |by: &Actor| {
        let found = w.app.asked.actions(by, ActionFilter::default(), None, 9).await.unwrap();
        found.into_iter().rev().map(|a| format!("{} {} {}", a.actor, a.verb, a.state.word())).collect::<Vec<_>>()
    };
    let all = ["admin create success", "ann pull in_progress", "eve delete failed", "eve pull failed"];
    assert_eq!(seen(&Actor::admin("admin")).await, all);
    assert_eq!(seen(&ann).await, [all[0], all[1], all[2]]);
    assert_eq!(seen(&bob).await, [all[0], all[2]]);
    assert_eq!(seen(&somebody("eve", Role::Assistant, &["other"])).await, [all[3]]);
    let nobody = somebody("dan", Role::Learner, &["default"]);
    let refused = w.app.asked.actions(&nobody, ActionFilter::default(), None, 9).await.unwrap_err();
    assert_eq!(refused.code(), "forbidden");

    let pull =
        ActionFilter { act: Some(Verb::Pull.into()), state: Some(ActionState::InProgress), ..ActionFilter::default() };
    let pull = w.app.asked.actions(&ann, pull, None, 1).await.unwrap().remove(0).id;
    let code = async |by: &Actor| w.app.asked.cancel(by, &pull).await.map_err(|e| e.code());
    assert_eq!(code(&bob).await, Err("action_not_found"));
    assert_eq!(code(&ann).await.map(|a| a.state), Ok(ActionState::Cancelled));
    assert_eq!(code(&Actor::admin("admin")).await, Err("not_cancellable"));
}
