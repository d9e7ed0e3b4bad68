//! The story of a container's log, on the scripted engine and on Docker.

use std::sync::Arc;

use futures_util::StreamExt;
use spindle::{
    domain::{ContainerId, SandboxId},
    engine::{Containers, Engine, EngineError, LogsWanted, Outlet, Said, fake::FakeEngine},
};

use crate::{
    stand::{BRIEFLY, GRACE, Own, spec, started},
    support::docker::docker,
};

const ALL: LogsWanted = LogsWanted { tail: None, since: None, only: None, follow: false };

async fn read(engine: &dyn Engine, container: &ContainerId, wanted: LogsWanted) -> Vec<(Outlet, String)> {
    let said = engine.logs(container, &wanted).await.unwrap().map(Result::unwrap);
    let text = |said: Said| (said.outlet, String::from_utf8_lossy(&said.bytes).into_owned());
    said.map(text).filter(|(_, text)| std::future::ready(!text.starts_with("mimic:"))).collect().await
}

/// `say` has the container's program write a line.
async fn story(engine: Arc<dyn Engine>, container: ContainerId, say: impl Fn(Outlet, &str)) {
    use Outlet::{Stderr, Stdout};
    let line = |outlet, text: &str| (outlet, text.to_owned());
    say(Stdout, "one");
    say(Stderr, "two");
    say(Stdout, "three");
    let mut said = Vec::new();
    while said.len() < 3 {
        said = read(engine.as_ref(), &container, ALL).await;
    }
    assert_eq!(said, [line(Stdout, "one\n"), line(Stderr, "two\n"), line(Stdout, "three\n")]);
    let errors = LogsWanted { only: Some(Stderr), ..ALL };
    assert_eq!(read(engine.as_ref(), &container, errors).await, [line(Stderr, "two\n")]);
    let last = LogsWanted { tail: Some(1), ..ALL };
    assert_eq!(read(engine.as_ref(), &container, last).await, [line(Stdout, "three\n")]);
    let mut all = engine.logs(&container, &ALL).await.unwrap();
    let mut at = None;
    while let Some(said) = all.next().await {
        let said = said.unwrap();
        if said.bytes == "three\n" {
            at = said.at;
        }
    }
    let since = LogsWanted { since: Some(at.expect("it says when")), ..ALL };
    assert_eq!(read(engine.as_ref(), &container, since).await, [line(Stdout, "three\n")]);

    let followed = LogsWanted { follow: true, ..last };
    let mut follower = engine.logs(&container, &followed).await.unwrap();
    for expected in ["three\n", "four\n"] {
        let said = tokio::time::timeout(BRIEFLY, follower.next()).await.expect("at once").unwrap().unwrap();
        assert_eq!(said.bytes, expected);
        if expected == "three\n" {
            say(Stderr, "four");
        }
    }
    engine.stop(&container, GRACE).await.unwrap();
    let rest = tokio::time::timeout(BRIEFLY, follower.collect::<Vec<_>>()).await.expect("it ends");
    assert!(rest.iter().all(Result::is_ok), "{rest:?}");
    assert_eq!(read(engine.as_ref(), &container, last).await.len(), 1, "it is read while the container is stopped too");
    engine.remove(&SandboxId::from_bytes([0; 16]), Some(&container)).await.unwrap();
    assert!(matches!(engine.logs(&container, &ALL).await, Err(EngineError::NoContainer)));
}

#[tokio::test]
async fn the_scripted_engine_has_logs() {
    let engine = Arc::new(FakeEngine::default());
    engine.add_image("spindle/mimic:latest", &["8000"], None);
    let container = engine.create(&spec(20, "spindle/mimic", 16_010)).await.unwrap();
    engine.start(&container).await.unwrap();
    let (teller, of) = (engine.clone(), container.clone());
    let moment = std::cell::Cell::new(0);
    story(engine, container, |outlet, text| {
        moment.set(moment.get() + 1);
        let at = Some(jiff::Timestamp::from_second(moment.get()).unwrap());
        teller.say(&of, Said { outlet, at, bytes: format!("{text}\n").into() });
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn docker_has_logs() {
    let own = Own::new("logs", 21);
    let container = started(&own, 21).await;
    let of = container.clone();
    story(own.engine.clone(), container, |outlet, text| {
        let pipe = if outlet == Outlet::Stdout { 1 } else { 2 };
        docker(&["exec", "-u", "0", of.as_str(), "sh", "-c", &format!("echo {text} >/proc/1/fd/{pipe}")]);
    })
    .await;
}

/// Docker cuts a line after 16 KiB; each piece has its moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn docker_hands_a_long_line_on_in_pieces() {
    let own = Own::new("long", 22);
    let container = started(&own, 22).await;
    let code = "open my $out, '>', '/proc/1/fd/1'; print $out 'x' x 40_000, qq(\\n);";
    docker(&["exec", "-u", "0", container.as_str(), "perl", "-e", code]);
    let mut all = String::new();
    while !all.ends_with("x\n") {
        all = read(own.engine.as_ref(), &container, ALL).await.into_iter().map(|(_, text)| text).collect();
    }
    assert_eq!(all.len(), 40_001);
}
