//! Programs that are run inside: what every engine promises, and what Docker alone can show.

use futures_util::StreamExt;
use spindle::{
    domain::{Begun, ContainerId, Program, SandboxId, Size},
    engine::{Attached, Channel, Engine, EngineError, Exec, Ran},
};
use tokio::io::AsyncWriteExt;

use crate::{
    stand::{BRIEFLY, Own, started},
    support::docker::{docker, wait_for},
};

fn program(line: &str) -> Program {
    Program { command: Program::shell(line), ..Program::default() }
}

async fn begin(engine: &dyn Engine, container: &ContainerId, program: &Program, id: &str) -> (Begun, Attached) {
    let exec = engine.prepare_exec(container, program, id).await.unwrap();
    assert_eq!(engine.look_at_exec(&exec).await.unwrap().pid, None, "nothing is started yet");
    let attached = engine.begin_exec(&exec, program.terminal.is_some()).await.unwrap();
    let sandbox = SandboxId::from_bytes([1; 16]);
    (Begun { id: id.into(), sandbox, container: container.clone(), exec, user: program.user.clone() }, attached)
}

/// All that a program says, and what became of it.
async fn said(engine: &dyn Engine, (begun, mut attached): (Begun, Attached)) -> (String, String, Ran) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    while let Some(piece) = attached.output.next().await {
        let (channel, bytes) = piece.unwrap();
        if channel == Channel::Out { &mut out } else { &mut err }.extend(bytes);
    }
    let ran = until(engine, &begun, |ran| !ran.running).await;
    (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap(), ran)
}

async fn until(engine: &dyn Engine, begun: &Begun, holds: impl Fn(&Ran) -> bool) -> Ran {
    let wait = async {
        loop {
            let ran = engine.look_at_exec(&begun.exec).await.unwrap();
            if holds(&ran) {
                return ran;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(BRIEFLY, wait).await.expect("it becomes so")
}

/// What every engine promises of programs in a container that runs.
pub async fn programs(engine: &dyn Engine, container: &ContainerId) {
    let (out, _, ran) = said(engine, begin(engine, container, &program("echo one two"), "a1").await).await;
    assert_eq!((out.as_str(), ran.code, ran.running, ran.pid.is_some()), ("one two\n", Some(0), false, true));
    let (_, _, ran) = said(engine, begin(engine, container, &program("exit 7"), "a2").await).await;
    assert_eq!(ran.code, Some(7));

    let (begun, mut attached) = begin(engine, container, &Program { stdin: true, ..program("cat") }, "a3").await;
    attached.input.write_all(b"heard\n").await.unwrap();
    attached.input.shutdown().await.unwrap();
    let (out, _, ran) = said(engine, (begun, attached)).await;
    assert_eq!((out.as_str(), ran.code), ("heard\n", Some(0)), "the end of its input is its end");

    let absent = Program { command: vec!["absent".into()], ..Program::default() };
    let (why, _, ran) = said(engine, begin(engine, container, &absent, "a4").await).await;
    assert!([Some(126), Some(127)].contains(&ran.code) && ran.pid.is_none(), "{ran:?}: {why}");
    assert!(why.contains("executable file not found") || why.contains("no such file"), "{why}");

    let (begun, attached) = begin(engine, container, &program("sleep 60"), "a5").await;
    until(engine, &begun, |ran| ran.running).await;
    drop(attached);
    assert!(engine.look_at_exec(&begun.exec).await.unwrap().running, "who is left alone goes on");
    engine.end_exec(&begun).await.unwrap();
    assert!(!until(engine, &begun, |ran| !ran.running).await.running);
    engine.end_exec(&begun).await.expect("it has ended already");

    let terminal = Program { terminal: Some(Size { cols: 90, rows: 30 }), stdin: true, ..program("cat") };
    let (begun, mut attached) = begin(engine, container, &terminal, "a6").await;
    until(engine, &begun, |ran| ran.running).await;
    engine.resize_exec(&begun.exec, Size { cols: 100, rows: 40 }).await.unwrap();
    attached.input.write_all(b"typed\r\n").await.unwrap();
    let mut shown = Vec::new();
    while !String::from_utf8_lossy(&shown).contains("typed\r\n") {
        shown.extend(attached.output.next().await.expect("a terminal shows what is typed").unwrap().1);
    }
    engine.end_exec(&begun).await.unwrap();
    let nobody = Begun { exec: "f".repeat(64), id: "nobody".into(), ..begun };
    engine.end_exec(&nobody).await.expect("there is nothing to end");
}

/// What an engine says of programs in a container that is stopped.
pub async fn refused(engine: &dyn Engine, container: &ContainerId) {
    let refused = engine.prepare_exec(container, &program("echo"), "a7").await;
    assert!(matches!(refused, Err(EngineError::Refused(_))), "{refused:?}");
}

fn processes(container: &ContainerId) -> String {
    docker(&["top", container.as_str(), "-eo", "pid,args"])
}

#[tokio::test]
async fn docker_leaves_nothing_of_a_program_that_is_ended() {
    let own = Own::new("session", 8);
    let container = started(&own, 13).await;
    let engine = own.engine.as_ref();
    // A shell that ignores what asks it to end, with a child in the background and one below that.
    let line = "trap '' HUP TERM; (sleep 321 & sleep 322) & sleep 323";
    for terminal in [None, Some(Size::default())] {
        let (begun, attached) = begin(engine, &container, &Program { terminal, ..program(line) }, "b1").await;
        wait_for("all of them", BRIEFLY, || processes(&container).matches("sleep 32").count() >= 3);
        drop(attached);
        engine.end_exec(&begun).await.unwrap();
        assert!(!processes(&container).contains("sleep 32"), "{}", processes(&container));
    }
    // What a program leaves when it ends by itself, and what it has put into a session of its own.
    let line = "sleep 321 >/dev/null 2>&1 & setsid sleep 324 >/dev/null 2>&1 & exit 3";
    let (begun, attached) = begin(engine, &container, &program(line), "b2").await;
    let (_, _, ran) = said(engine, (begun.clone(), attached)).await;
    assert_eq!(ran.code, Some(3));
    let is_there = |line: &str| line.contains("sleep 324") && !line.contains("setsid");
    wait_for("both are left", BRIEFLY, || {
        let shown = processes(&container);
        shown.contains("sleep 321") && shown.lines().any(is_there)
    });
    engine.end_exec(&begun).await.unwrap();
    assert!(!processes(&container).contains("sleep 321") && processes(&container).contains("sleep 324"));
}

#[tokio::test]
async fn docker_ends_a_program_that_it_has_forgotten_and_one_that_only_the_inside_reaches() {
    let own = Own::new("marked", 9);
    let container = started(&own, 14).await;
    let engine = own.engine.as_ref();
    let (begun, attached) = begin(engine, &container, &program("sleep 331 & sleep 332"), "c1").await;
    wait_for("both", BRIEFLY, || processes(&container).matches("sleep 33").count() >= 2);
    drop(attached);
    // As after a restart of Docker with live-restore.
    let forgotten = Begun { exec: "e".repeat(64), ..begun };
    engine.end_exec(&forgotten).await.unwrap();
    assert!(!processes(&container).contains("sleep 33"));
    let (begun, _attached) = begin(engine, &container, &program("sleep 341 & sleep 342"), "c2").await;
    wait_for("both", BRIEFLY, || processes(&container).matches("sleep 34").count() >= 2);
    engine.end_from_inside(&begun).await.unwrap();
    wait_for("the end of both", BRIEFLY, || !processes(&container).contains("sleep 34"));
}

/// What a terminal shows is bytes, whatever they look like.
#[tokio::test]
async fn docker_hands_on_a_terminals_bytes_as_they_are() {
    let own = Own::new("bytes", 10);
    let container = started(&own, 15).await;
    let engine = own.engine.as_ref();
    let line = r"stty raw; stty size; printf '\001\000\000\000\377\377\377\377\002end'";
    let size = Size { cols: 91, rows: 31 };
    let terminal = Program { terminal: Some(size), stdin: true, ..program(line) };
    let (begun, mut attached) = begin(engine, &container, &terminal, "d1").await;
    let mut shown = Vec::new();
    while let Ok(Some(piece)) = tokio::time::timeout(BRIEFLY, attached.output.next()).await {
        shown.extend(piece.unwrap().1);
    }
    assert!(shown.ends_with(b"\x01\0\0\0\xff\xff\xff\xff\x02end"), "{shown:?}");
    assert!(!until(engine, &begun, |ran| !ran.running).await.running);
}
