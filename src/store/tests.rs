//! Tests of the store on real SQLite: ports, compare-and-set, evidence, durability.

mod actions;
mod evidence;

use std::sync::Arc;

use jiff::SignedDuration;

use super::*;
use crate::domain::{
    Change, Decided, Decision, Evidence, EvidenceLog, Extension, Label, Life, Limit, Policy, PortSpec, Reach, Rhythm,
    Sandbox, SandboxId, SandboxName, SandboxRef, Source, State, StopReason, Token, Wake, deadline,
    fixtures::{self, at, running},
};

fn pool() -> PortPool {
    PortPool { host: "127.0.0.1".parse().unwrap(), range: 20_000..=20_009 }
}

fn room(capacity: u32) -> Room {
    Room { capacity, runs: true, request: None }
}

fn creating(n: u8) -> Sandbox {
    let id = SandboxId::from_bytes([n; 16]);
    Sandbox {
        name: SandboxName::generated(&id),
        token: Token::from_bytes([n; 16]),
        container: None,
        life: Life { state: State::Creating, generation: 0, ..running(0).life },
        id,
        ..running(0)
    }
}

fn two_ports() -> Vec<PortSpec> {
    vec![PortSpec::SSH, PortSpec::parse("8000").unwrap()]
}

async fn insert(store: &Store, n: u8) -> Result<Sandbox> {
    store.insert(creating(n), two_ports(), pool(), vec![], room(1_000)).await
}

/// A sandbox that was inserted and started at second 0, as the store gives it back.
async fn started(store: &Store, n: u8) -> Sandbox {
    let sandbox = insert(store, n).await.unwrap();
    let to = State::Running {
        since: at(0),
        mark: "m".into(),
        reach: Reach { address: Some("10.0.0.2".parse().unwrap()), pid: Some(7), boot: Some("b".into()) },
    };
    assert!(store.mark_started(&sandbox, to).await.unwrap());
    store.get(&sandbox.id).await.unwrap().unwrap()
}

/// A limit of 200 s and a cap of 1,000 s.
const POLICY: Policy = Policy {
    idle_limit: Limit::After(Duration::from_secs(200)),
    connection_cap: Limit::After(Duration::from_secs(1_000)),
    ..fixtures::POLICY
};

async fn stops(store: &Store, seen: &Sandbox, to: &State) -> bool {
    let decision = Decision { at: at(201), decided: Decided::Stopped, why: "idle".into(), evidence: None };
    store.mark_idle(seen, POLICY, to.clone(), decision, || true).await.unwrap()
}

/// Evidence that a connection of a start was in use.
fn used(seen: &Sandbox, generation: u64, seconds: i64) -> Vec<(SandboxId, u64, Evidence)> {
    vec![(seen.id.clone(), generation, Evidence { source: Source::Connection, at: at(seconds) })]
}

#[tokio::test]
async fn what_is_written_is_read_back_whole() {
    let store = Store::in_memory().unwrap();
    let mut sandbox = creating(1);
    sandbox.recipe.labels = vec![Label::parse("course", "db 101").unwrap()];
    sandbox.recipe.app_port = PortSpec::parse("8000");
    sandbox.recipe.own.idle_limit = Some(Limit::Never);
    sandbox.recipe.own.evidence = crate::domain::Sources::read("cpu=7");
    let written = store.insert(sandbox, two_ports(), pool(), vec![], room(10)).await.unwrap();
    assert_eq!(
        store.get(&written.id).await.unwrap(),
        Some(Sandbox { life: Life { evidence: EvidenceLog::default(), ..written.life }, ..written })
    );
}

#[tokio::test]
async fn ports_are_reserved_once_and_rest_before_they_return() {
    let store = Store::in_memory().unwrap();
    for n in 1..=5 {
        insert(&store, n).await.unwrap();
    }
    assert!(matches!(insert(&store, 6).await, Err(StoreError::NoPort)));
    assert_eq!(store.all().await.unwrap().len(), 5, "a refused insert leaves nothing");
    let second = store.get(&creating(2).id).await.unwrap().unwrap();
    assert!(store.forget(&second).await.unwrap());
    let again = insert(&store, 7).await.unwrap();
    assert_eq!(again.ports, second.ports);
    let first = store.get(&creating(1).id).await.unwrap().unwrap();
    store.forget(&first).await.unwrap();
    store.forget(&again).await.unwrap();
    let next = insert(&store, 8).await.unwrap().ports[0].outside.port;
    assert_eq!(next, 20_000, "the search goes on behind the last port given out");
}

#[tokio::test]
async fn a_hundred_concurrent_inserts_share_no_port() {
    let store = Arc::new(Store::in_memory().unwrap());
    let wide = PortPool { range: 20_000..=29_999, ..pool() };
    let tasks: Vec<_> = (0..100)
        .map(|n| {
            let (store, wide) = (store.clone(), wide.clone());
            tokio::spawn(
                async move { store.insert(creating(n), two_ports(), wide, vec![], room(1_000)).await.unwrap() },
            )
        })
        .collect();
    let mut ports = std::collections::HashSet::new();
    for task in tasks {
        for p in task.await.unwrap().ports {
            assert!(ports.insert(p.outside.port));
        }
    }
    assert_eq!(ports.len(), 200);
}

#[tokio::test]
async fn exchanged_ports_avoid_what_others_hold() {
    let store = Store::in_memory().unwrap();
    let sandbox = insert(&store, 1).await.unwrap();
    let ports = store.exchange_ports(&sandbox.id, pool(), vec![20_002, 20_003]).await.unwrap();
    let ports: Vec<u16> = ports.iter().map(|p| p.outside.port).collect();
    assert_eq!(ports, [20_004, 20_005]);
}

#[tokio::test]
async fn names_are_unique_and_capacity_is_kept() {
    let store = Store::in_memory().unwrap();
    insert(&store, 1).await.unwrap();
    let same_name = Sandbox { name: creating(1).name, ..creating(2) };
    let refused = store.insert(same_name, vec![], pool(), vec![], room(10)).await;
    assert!(matches!(refused, Err(StoreError::NameTaken)));
    let refused = store.insert(creating(3), vec![], pool(), vec![], room(1)).await;
    assert!(matches!(refused, Err(StoreError::Full(1))));
}

#[tokio::test]
async fn references_find_by_name_and_unique_prefix() {
    let store = Store::in_memory().unwrap();
    let mut ids = Vec::new();
    for (n, tail) in [(1, "0"), (2, "1")] {
        let sandbox = insert(&store, n).await.unwrap();
        let container = crate::domain::ContainerId::parse(&format!("{}{tail}", "ab".repeat(31) + "a")).unwrap();
        store.set_container(&sandbox.id, &container).await.unwrap();
        let to = State::Running {
            since: at(0),
            mark: "m".into(),
            reach: Reach { pid: Some(7), boot: Some("b".into()), address: None },
        };
        store.mark_started(&sandbox, to).await.unwrap();
        ids.push((sandbox, container));
    }
    let find = async |text: &str| {
        store.meant(&SandboxRef::parse(text)).await.unwrap().into_iter().map(|s| s.id).collect::<Vec<_>>()
    };
    assert_eq!(find(ids[0].1.as_str()).await, [ids[0].0.id.clone()]);
    assert_eq!(find("abababababab").await.len(), 2);
    assert_eq!(find(ids[1].0.name.as_str()).await, [ids[1].0.id.clone()]);
    assert_eq!(find("nobody").await, []);
}

#[tokio::test]
async fn a_failing_write_undoes_itself_and_no_other() {
    let store = Store::in_memory().unwrap();
    let half = creating(1);
    let failing = store.writer.run(move |c| {
        sandboxes::insert_row(c, &half)?;
        Ok(c.execute("INSERT INTO nowhere VALUES (1)", [])?)
    });
    let lost = creating(2);
    let panicking = store.writer.run(move |c| -> Result<()> {
        sandboxes::insert_row(c, &lost)?;
        panic!("on purpose")
    });
    let (failed, panicked, good) = tokio::join!(failing, panicking, insert(&store, 3));
    assert!(failed.is_err() && panicked.is_err() && good.is_ok());
    let left: Vec<_> = store.all().await.unwrap().iter().map(|s| s.id.clone()).collect();
    assert_eq!(left, [creating(3).id]);
}

#[tokio::test]
async fn a_file_survives_its_handle_and_admits_one_server() {
    let dir = std::env::temp_dir().join(format!("spindle-store-{}", std::process::id()));
    let path = dir.join("deep/spindle.db");
    {
        let store = Store::open(&path).unwrap();
        started(&store, 1).await;
        let second = Store::open(&path).unwrap_err().to_string();
        assert!(second.contains("another Spindle server"), "{second}");
    }
    let store = Store::open(&path).unwrap();
    assert_eq!(store.all().await.unwrap().len(), 1);
    drop(store);
    std::fs::write(dir.join("rubbish.db"), "this is no database, it is a letter to my mother").unwrap();
    let refused = Store::open(&dir.join("rubbish.db")).unwrap_err().to_string();
    assert!(refused.contains("not a database"), "{refused}");
    std::fs::remove_dir_all(dir).unwrap();
}

#[tokio::test]
async fn a_database_with_sandboxes_keeps_its_deployment() {
    let store = Store::in_memory().unwrap();
    store.belong_to("a").await.unwrap();
    store.belong_to("b").await.expect("it is empty");
    insert(&store, 1).await.unwrap();
    store.belong_to("b").await.unwrap();
    let refused = store.belong_to("a").await.unwrap_err().to_string();
    assert!(refused.contains("\"b\""), "{refused}");
}

#[test]
fn the_hot_statements_use_their_indexes() {
    let mut connection = Connection::open_in_memory().unwrap();
    migrations::run(&mut connection).unwrap();
    for (sql, index) in [
        ("SELECT id FROM sandboxes WHERE state = 'running' AND address = 'x'", "sandboxes_by_address"),
        ("SELECT id FROM sandboxes WHERE token = 'x'", "sqlite_autoindex_sandboxes"),
        ("SELECT * FROM sandboxes WHERE container >= 'x' AND container < 'x' || 'g'", "sqlite_autoindex_sandboxes"),
    ] {
        let plan: String = connection.query_row(&format!("EXPLAIN QUERY PLAN {sql}"), [], |r| r.get("detail")).unwrap();
        assert!(plan.contains(index), "{sql}: {plan}");
    }
}

/// After an answer everybody reads the change, whoever made it and in whichever table.
#[tokio::test]
async fn what_is_known_is_what_is_on_the_disk() {
    let dir = std::env::temp_dir().join(format!("spindle-known-{}", std::process::id()));
    let store = Store::open(&dir.join("spindle.db")).unwrap();
    let same = async |after: &str| {
        let disk = store.reader.run(|c| rows::load(c, rows::ALL, &())).await.unwrap();
        let known: Vec<Sandbox> = store.all().await.unwrap().iter().map(|s| Sandbox::clone(s)).collect();
        assert_eq!(known, disk, "after {after}");
    };
    let (a, b) = (started(&store, 1).await, insert(&store, 2).await.unwrap());
    same("inserts and a start").await;
    store.exchange_ports(&b.id, pool(), vec![b.ports[0].outside.port]).await.unwrap();
    same("an exchange of ports").await;
    store.check_in(Some(a.token.clone()), None, 3, at(7)).await.unwrap();
    same("a report").await;
    store.record_use(used(&a, a.life.generation, 9)).await.unwrap();
    same("use").await;
    let name = SandboxName::parse("another").ok();
    let labels = Some(vec![Label::parse("group", "a").unwrap()]);
    let change = Change { keep_until: Some(Some(at(900))), name, labels, wake: Some(Wake::Never), ..Change::default() };
    assert!(store.intend(&a, change.clone()).await.unwrap());
    same("the intent of a change").await;
    store.take_back(&a).await.unwrap();
    same("an intent that was taken back").await;
    store.change(&a, change, POLICY, at(300)).await.unwrap();
    store.settle(&a.id).await.unwrap();
    same("a change").await;
    let extension = Extension { at: at(10), by: crate::domain::Who::Inside, until: at(50) };
    assert!(store.extend(&a, extension).await.unwrap());
    same("an extension").await;
    store.mark_warned(&a, Some(at(900))).await.unwrap();
    store.set_container(&b.id, &crate::domain::ContainerId::parse(&"b".repeat(64)).unwrap()).await.unwrap();
    same("small things").await;
    let failed = store.writer.run(|c| {
        c.execute("UPDATE sandboxes SET active = 99", ())?;
        Err::<(), _>(StoreError::NoPort)
    });
    assert!(failed.await.is_err());
    same("what was undone").await;
    assert!(store.forget(&a).await.unwrap());
    same("a removal").await;
    drop(store);
    let again = Store::open(&dir.join("spindle.db")).unwrap();
    assert_eq!(again.all().await.unwrap().len(), 1, "and of a file that was there");
    std::fs::remove_dir_all(&dir).unwrap();
}
