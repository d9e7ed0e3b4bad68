//! Actions: what is recorded stays as it is, for as long as it is kept.

use super::*;
use crate::domain::{
    Act, ActedOn, Action, ActionFilter, ActionReader, ActionState, Failure, ImageRef, Namespace, ObjectKind, Verb,
};

fn action(n: u64, seconds: i64) -> Action {
    Action {
        id: format!("{n:016x}"),
        verb: Verb::Pull.word().into(),
        actor: "ann".into(),
        credential: "password".into(),
        from: Some("192.0.2.7".parse().unwrap()),
        request: Some("r".into()),
        on: ActedOn::from(&ImageRef::parse("lab").unwrap()),
        changed: vec!["image".into(), "name".into()],
        started_at: at(seconds),
        state: ActionState::InProgress,
        ended_at: None,
        failure: None,
    }
}

fn end(seconds: i64, state: ActionState) -> ActionEnd {
    let failure = (state != ActionState::Success).then(|| Failure::new("gone", "it is gone"));
    ActionEnd { at: at(seconds), state, container: None, failure }
}

/// A store with that many actions, one each second, each of which ended a second later: the even ones well.
fn with(number: u64) -> Store {
    let store = Store::in_memory().unwrap();
    for n in 0..number {
        let began = n as i64;
        store.begin_action(action(n, began), |written| written.unwrap());
        let state = if n % 2 == 0 { ActionState::Success } else { ActionState::Failed };
        store.end_action(format!("{n:016x}"), end(began + 1, state), |written| written.unwrap());
    }
    store
}

async fn ids(store: &Store, filter: ActionFilter, after: Option<&str>, limit: usize) -> Vec<u64> {
    let found = store.actions(&filter, after, limit).await.unwrap().expect("the page begins somewhere");
    found.iter().map(|action| u64::from_str_radix(&action.id, 16).unwrap()).collect()
}

async fn rows(store: &Store) -> i64 {
    store.reader.run(|c| Ok(c.query_row("SELECT count(*) FROM actions", (), |r| r.get(0))?)).await.unwrap()
}

#[tokio::test]
async fn an_action_is_the_view_of_its_rows() {
    let store = with(0);
    store.begin_action(action(1, 10), |written| written.unwrap());
    assert_eq!(store.action("0000000000000001").await.unwrap(), Some(action(1, 10)));
    store.end_action("0000000000000001".into(), end(12, ActionState::Failed), |written| written.unwrap());
    let ended = Action {
        state: ActionState::Failed,
        ended_at: Some(at(12)),
        failure: Some(Failure::new("gone", "it is gone")),
        ..action(1, 10)
    };
    assert_eq!(store.action("0000000000000001").await.unwrap(), Some(ended));
    store.end_action("no such action".into(), end(12, ActionState::Success), |written| written.unwrap());
    assert_eq!((rows(&store).await, store.action("no such action").await.unwrap()), (2, None));
}

#[tokio::test]
async fn no_row_is_changed_replaced_or_deleted() {
    let store = with(2);
    for sql in [
        "UPDATE actions SET actor = 'nobody'",
        "UPDATE OR REPLACE actions SET seq = 1 WHERE seq = 2",
        "DELETE FROM actions",
        "DELETE FROM actions WHERE seq = 1",
        "INSERT OR REPLACE INTO actions (seq, action, at, state) VALUES (1, 'x', 0, 'success')",
        "REPLACE INTO actions (seq, action, at, state) VALUES (4, 'x', 0, 'success')",
    ] {
        let refused = store.writer.run(move |c| Ok(c.execute(sql, ())?)).await;
        let why = refused.unwrap_err();
        assert!(chain(&why).contains("actions never change") || chain(&why).contains("actions are kept"), "{why:?}");
    }
    assert_eq!((rows(&store).await, ids(&store, ActionFilter::default(), None, 9).await), (4, vec![1, 0]));
}

fn chain(error: &dyn std::error::Error) -> String {
    let cause = error.source().map(chain).unwrap_or_default();
    format!("{error}: {cause}")
}

#[tokio::test]
async fn what_is_older_than_what_is_kept_goes_and_nothing_else() {
    let store = with(6);
    store.forget_actions(at(3), |written| written.unwrap());
    assert_eq!(ids(&store, ActionFilter::default(), None, 9).await, [5, 4, 3]);
    // Action 2 began before and ended at second 3, which is kept.
    assert_eq!(rows(&store).await, 7);
    let younger = store.writer.run(|c| Ok(c.execute("DELETE FROM actions WHERE at >= 3000", ())?)).await;
    assert!(younger.is_err(), "{younger:?}");
}

#[tokio::test]
async fn what_a_server_left_under_way_has_failed_and_nothing_else() {
    let store = with(2);
    let left = Failure::new("server_ended", "the server ended");
    assert_eq!(store.end_left_actions(at(50), left.clone()).await.unwrap(), 0);
    store.begin_action(action(7, 60), |written| written.unwrap());
    store.begin_action(action(8, 61), |written| written.unwrap());
    store.end_action("0000000000000008".into(), end(62, ActionState::Cancelled), |written| written.unwrap());
    assert_eq!(store.end_left_actions(at(70), left.clone()).await.unwrap(), 1);
    let ended = store.action("0000000000000007").await.unwrap().unwrap();
    assert_eq!((ended.state, ended.ended_at, ended.failure), (ActionState::Failed, Some(at(70)), Some(left.clone())));
    assert_eq!(store.end_left_actions(at(80), left).await.unwrap(), 0, "each once");
}

#[tokio::test]
async fn a_filter_finds_what_it_names() {
    let store = with(6);
    let mut own = action(9, 100);
    (own.actor, own.verb) = ("bob".into(), Act::from(Verb::Create).word().into());
    own.on = ActedOn { kind: ObjectKind::Sandbox, ..ActedOn::from(&running(0)) }.within(&Namespace::default());
    own.on.container = None;
    store.begin_action(own.clone(), |written| written.unwrap());
    let container = running(0).container;
    let made = ActionEnd { container: container.clone(), ..end(101, ActionState::Success) };
    store.end_action(own.id.clone(), made, |written| written.unwrap());
    let text = |text: &str| Some(text.to_owned());
    let reader = |actor: &str, namespaces: &[&str]| {
        let namespaces = namespaces.iter().map(|n| Namespace::parse("namespace", n).unwrap()).collect();
        Some(ActionReader { actor: actor.into(), namespaces })
    };
    let any = ActionFilter::default;
    for (what, filter, wanted) in [
        ("everything", any(), &[9, 5, 4, 3, 2, 1, 0][..]),
        ("its id", ActionFilter { object: text(&own.on.id), ..any() }, &[9]),
        ("its name", ActionFilter { object: own.on.name.clone(), ..any() }, &[9]),
        ("digits of a container", ActionFilter { object: text(&"a".repeat(12)), ..any() }, &[9]),
        ("too few digits", ActionFilter { object: text(&"a".repeat(11)), ..any() }, &[]),
        (
            "an image",
            ActionFilter { object: text("lab:latest"), kind: Some(ObjectKind::Image), ..any() },
            &[5, 4, 3, 2, 1, 0],
        ),
        ("another kind", ActionFilter { object: text("lab:latest"), kind: Some(ObjectKind::User), ..any() }, &[]),
        ("an actor", ActionFilter { actor: text("bob"), ..any() }, &[9]),
        ("a verb", ActionFilter { act: Some(Verb::Create.into()), ..any() }, &[9]),
        ("a state", ActionFilter { state: Some(ActionState::Failed), ..any() }, &[5, 3, 1]),
        ("a time", ActionFilter { since: Some(at(4)), ..any() }, &[9, 5, 4]),
        ("their namespace", ActionFilter { reader: reader("eve", &["a", "default"]), ..any() }, &[9]),
        ("another namespace", ActionFilter { reader: reader("eve", &["a"]), ..any() }, &[]),
        ("their own", ActionFilter { reader: reader("ann", &[]), ..any() }, &[5, 4, 3, 2, 1, 0]),
    ] {
        assert_eq!(ids(&store, filter, None, 9).await, wanted, "{what}");
    }
    assert_eq!(ids(&store, any(), Some("0000000000000004"), 2).await, [3, 2]);
    assert_eq!(ids(&store, any(), Some("0000000000000000"), 2).await, [0_u64; 0]);
    assert_eq!(store.actions(&any(), Some("none"), 2).await.unwrap(), None);
    assert_eq!(store.action(&own.id).await.unwrap().unwrap().on.container, container);
}

/// SQLite says how it looks for each page: by row numbers, and never through the whole table.
#[tokio::test]
async fn of_a_hundred_thousand_rows_the_newest_page_reads_few() {
    let store = with(0);
    let fill = |c: &Connection| {
        c.execute_batch(
            "WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < 49999)
             INSERT INTO actions (action, at, state, verb, actor, credential, kind, object, changed)
             SELECT printf('%016x', n), n, 'in_progress', 'pull', 'ann', 'password', 'image', 'lab:latest', '' FROM n;
             INSERT INTO actions (action, at, state) SELECT action, at + 1, 'success' FROM actions WHERE seq > 1;",
        )?;
        Ok(c.query_row("SELECT count(*) FROM actions", (), |r| r.get::<_, i64>(0))?)
    };
    assert_eq!(store.writer.run(fill).await.unwrap(), 99_999);
    let plan = store.reader.run(|c| Ok(super::super::actions::plan(c)?)).await.unwrap();
    assert!(plan.iter().any(|line| line.contains("USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)")), "{plan:#?}");
    assert!(!plan.iter().any(|line| line.starts_with("SCAN f") || line.contains("TEMP B-TREE")), "{plan:#?}");
    assert!(plan.iter().filter(|line| line.contains("actions_by_action")).count() == 1, "{plan:#?}");
    // Rare ones are found too, however far back.
    let failed = ActionFilter { state: Some(ActionState::InProgress), ..ActionFilter::default() };
    assert_eq!(ids(&store, failed, None, 3).await, [0]);
    let newest = ids(&store, ActionFilter::default(), None, 3).await;
    assert_eq!(newest, [49_999, 49_998, 49_997]);
}
