//! Programs that are run inside and waited for, on the scripted engine.

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use spindle::{
    domain::{Begun, ContainerId, Exit, Program, SandboxRef},
    engine::{EngineError, Exec, fake::Fault},
};
use support::{
    Answer, Body, World, id,
    people::{admin, by_password, course, of_alice, text},
    programs::{descriptors, nothing_is_left, until},
    scripted::{LIMIT, Scripted, activity, container, settle, world},
    uri,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

async fn run(w: &Scripted, c: &Value, body: Value) -> Answer {
    w.http().send("POST", &format!("{}/exec", uri(c)), Body::Json(body)).await
}

#[tokio::test]
async fn a_program_is_run_and_its_end_is_told() {
    let w = world().await;
    let c = w.http().create("image=spindle/mimic&name=alice").await;
    let told = run(&w, &c, json!({"command": ["echo", "one", "two"]})).await.expect(200).json();
    assert_eq!((&told["exit_code"], &told["stdout"], &told["stderr"]), (&json!(0), &json!("one two\n"), &json!("")));
    assert_eq!((&told["truncated"], &told["timed_out"], &told["lossy"]), (&json!(false), &json!(false), &json!(false)));
    let told = w.http().send("POST", &format!("{}/exec", uri(&c)), Body::Form("command=fail oh no")).await;
    assert_eq!((&told.json()["exit_code"], &told.json()["stderr"]), (&json!(1), &json!("oh no\n")));
    let told = run(&w, &c, json!({"command": ["cat"], "stdin": "heard"})).await.expect(200).json();
    assert_eq!(told["stdout"], "heard");
    let told = run(&w, &c, json!({"command": ["rubbish"]})).await.expect(200).json();
    assert_eq!((&told["stdout"], &told["lossy"]), (&json!("a\u{fffd}b\n"), &json!(true)));

    let all =
        json!({"command": ["exit", "7"], "user": "student", "workdir": "/tmp", "env": {"A": "b"}, "timeout": "5s"});
    assert_eq!(run(&w, &c, all).await.expect(200).json()["exit_code"], 7);
    let (program, _) = w.engine.last_program(&container(&c)).unwrap();
    let command = vec!["exit".into(), "7".into()];
    let (user, workdir, env) = (Some("student".into()), Some("/tmp".into()), vec![("A".into(), "b".into())]);
    assert_eq!(program, Program { command, user, workdir, env, ..Program::default() });
    nothing_is_left(&w).await;
}

#[tokio::test]
async fn what_cannot_be_run_is_refused_with_its_reason() {
    let w = world().await;
    let c = w.http().create("image=spindle/mimic&name=alice").await;
    let message = run(&w, &c, json!({"command": ["absent"]})).await.expect_error(400, "program_not_started");
    assert!(message.contains("executable file not found"), "{message}");
    for (body, field) in [
        (json!({"command": []}), "command"),
        (json!({"command": ["a"], "user": "a b"}), "user"),
        (json!({"command": ["a"], "workdir": "tmp"}), "workdir"),
        (json!({"command": ["a"], "timeout": "2h"}), "timeout"),
        (json!({"command": ["a"], "timeout": 0}), "timeout"),
        (json!({"command": ["a"], "env": {"SPINDLE_EXEC": "x"}}), "env"),
    ] {
        let message = run(&w, &c, body).await.expect_error(400, "invalid_field");
        assert!(message.starts_with(field), "{message}");
    }
    run(&w, &c, json!({})).await.expect_error(400, "missing_field");
    run(&w, &c, json!({"command": ["a"], "tty": true})).await.expect_error(400, "unknown_field");
    w.http().patch(&c, "status=stopped").await.expect(200);
    settle(&w, &c, "stopped").await;
    run(&w, &c, json!({"command": ["echo"]})).await.expect_error(409, "not_running");
    w.engine.set_away(true);
    nothing_is_left(&w).await;
}

#[tokio::test]
async fn what_is_too_much_is_thrown_away_and_what_takes_too_long_is_ended() {
    let w = world().await;
    let c = w.http().create("image=spindle/mimic").await;
    let told = run(&w, &c, json!({"command": ["yes", "64000000"]})).await.expect(200).json();
    assert_eq!(
        (&told["truncated"], &told["stdout_bytes"], &told["exit_code"]),
        (&json!(true), &json!(64_000_000), &json!(0))
    );
    assert_eq!(told["stdout"].as_str().unwrap().len(), 1 << 20);
    for command in ["sleep", "yes"] {
        let told = run(&w, &c, json!({"command": [command], "timeout": 1})).await.expect(200).json();
        assert_eq!((&told["timed_out"], &told["exit_code"]), (&json!(true), &Value::Null), "{command}");
    }
    nothing_is_left(&w).await;
}

/// 1,000 clients that leave while their programs run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_vanishes_takes_its_program_with_it() {
    let w = world().await;
    let c = w.http().create("image=spindle/mimic").await;
    let at = w.http().base.trim_start_matches("http://").to_owned();
    let body = r#"{"command": ["sleep"]}"#;
    let request = format!(
        "POST {}/exec HTTP/1.1\r\nHost: {at}\r\nAuthorization: Basic YWRtaW46c3BpbmRvY2tlcg==\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        uri(&c),
        body.len()
    );
    let mut before = None;
    for round in 0..50 {
        let mut clients = Vec::new();
        for _ in 0..20 {
            let mut client = TcpStream::connect(&at).await.unwrap();
            client.write_all(request.as_bytes()).await.unwrap();
            clients.push(client);
        }
        until(&w, "all of them run", async || w.engine.running_programs() == 20).await;
        drop(clients);
        nothing_is_left(&w).await;
        if round == 4 {
            before = Some(descriptors());
        }
    }
    let before = before.unwrap();
    until(&w, "no descriptor is leaked", async || descriptors() <= before + 4).await;
    assert_eq!(run(&w, &c, json!({"command": ["echo", "on"]})).await.expect(200).json()["stdout"], "on\n");
}

#[tokio::test]
async fn the_container_ends_amid() {
    let w = world().await;
    let c = w.http().create("image=spindle/mimic").await;
    let running = async {
        until(&w, "it runs", async || w.engine.running_programs() == 1).await;
        w.engine.crash(&container(&c), Exit { code: 1, oom_killed: false }, "");
    };
    let (told, ()) = tokio::join!(run(&w, &c, json!({"command": ["sleep"]})), running);
    assert_eq!(told.expect(200).json()["exit_code"], 137, "as the engine says");
    nothing_is_left(&w).await;
}

#[tokio::test]
async fn the_engine_goes_away_amid_and_what_was_begun_is_ended_when_it_is_back() {
    let w = world().await;
    let c = w.http().create("image=spindle/mimic").await;
    let going = async {
        until(&w, "it runs", async || w.engine.running_programs() == 1).await;
        w.engine.set_away(true);
        w.engine.cut_off_programs();
    };
    let (told, ()) = tokio::join!(run(&w, &c, json!({"command": ["sleep"]})), going);
    told.expect_error(503, "engine_unavailable");
    assert_eq!((w.engine.running_programs(), w.store.execs().await.unwrap().len()), (1, 1), "it runs on, recorded");
    w.engine.set_away(false);
    nothing_is_left(&w).await;
}

/// Whether a start that was answered by a lie, or not at all, was one, nobody knows.
#[tokio::test]
async fn a_start_that_failed_leaves_nothing() {
    let w = world().await;
    let c = w.http().create("image=spindle/mimic").await;
    for call in ["prepare_exec", "begin_exec", "look_at_exec", "end_exec"] {
        w.engine.next(call, Fault::Lie(EngineError::Unavailable("scripted".into())));
        let told = run(&w, &c, json!({"command": ["echo"]})).await;
        assert!([200, 503].contains(&told.status), "{call}: {told:?}");
        nothing_is_left(&w).await;
    }
}

/// As after a kill -9: the record is there, and nobody looks after it.
#[tokio::test]
async fn what_an_earlier_server_left_is_ended_by_the_first_pass() {
    let w = world().await;
    let c = w.http().create("image=spindle/mimic").await;
    let program = Program { command: vec!["sleep".into()], ..Program::default() };
    let exec = w.engine.prepare_exec(&container(&c), &program, "left").await.unwrap();
    w.engine.begin_exec(&exec, false).await.unwrap();
    let sandbox = w.store.meant(&SandboxRef::parse(id(&c))).await.unwrap().pop().unwrap();
    let container = ContainerId::parse(id(&c)).unwrap();
    let never = Begun { id: "left".into(), sandbox: sandbox.id.clone(), container, exec, user: None };
    w.store.begin_exec(Begun { id: "never".into(), exec: "exec-99".into(), ..never.clone() }).await.unwrap();
    w.store.begin_exec(never).await.unwrap();
    let mut w = w;
    w.begin_anew().await;
    nothing_is_left(&w).await;
    assert_eq!(w.http().now(&c).await["status"], "running");
}

#[tokio::test]
async fn a_program_is_evidence_and_whose_it_is_is_said() {
    let w = world().await;
    let c = w.http().create("image=spindle/mimic").await;
    w.pass_seconds(LIMIT - 5).await;
    run(&w, &c, json!({"command": ["echo"]})).await.expect(200);
    w.pass_seconds(10).await;
    let now = w.http().now(&c).await;
    assert_eq!(now["status"], "running", "{now}");
    assert!(text(&now, "why").contains("admin, not its owner, worked in it through the API"), "{now}");
    assert_eq!(now["last_active_at"], Value::Null, "that is no work of its learner's");
    let sources = activity(&w, &c).await["sources"].clone();
    let of = |name: &str| sources.as_array().unwrap().iter().find(|s| s["source"] == name).unwrap().clone();
    assert_eq!((&of("staff")["class"], &of("staff")["counts"]), (&json!("interactive"), &json!(true)));
    assert_eq!(of("exec")["count"], 0);
    w.pass_seconds(LIMIT).await;
    settle(&w, &c, "stopped").await;
}

/// How often it was recorded that somebody other than its owner works in it.
async fn worked(w: &Scripted, c: &Value) -> u64 {
    let sources = activity(w, c).await["sources"].clone();
    sources.as_array().unwrap().iter().find(|s| s["source"] == "staff").unwrap()["count"].as_u64().unwrap()
}

#[tokio::test]
async fn a_program_that_somebody_waits_for_keeps_its_container() {
    let w = world().await;
    let c = w.http().create("image=spindle/mimic").await;
    let passing = async {
        until(&w, "it runs", async || w.engine.running_programs() == 1).await;
        for _ in 0..3 {
            let before = worked(&w, &c).await;
            w.clock.advance(Duration::from_secs(LIMIT / 2));
            // The report period is a second of ours, the clock is the test's.
            let again = async || worked(&w, &c).await > before;
            while !again().await {
                tokio::task::yield_now().await;
            }
            w.app.pass.converge().await;
        }
    };
    let (told, ()) = tokio::join!(run(&w, &c, json!({"command": ["sleep"], "timeout": 5})), passing);
    assert_eq!(told.expect(200).json()["timed_out"], true);
    assert_eq!(w.http().now(&c).await["status"], "running");
}

#[tokio::test]
async fn who_may_run_programs_and_a_namespace_lets_its_assistants() {
    let w = course().await;
    let form = format!("name=asta&role=assistant&namespaces=db&password={}", support::people::PASSWORD);
    admin(&w, "POST", "/v1/users", &form).await;
    let alice = of_alice(&w).await;
    let path = format!("{}/exec", uri(&alice));
    let asks = async |who: &str| by_password(&w, who).post(&path, "command=echo").await.status;
    assert_eq!([asks("ina").await, asks("alice").await, asks("bob").await, asks("asta").await], [200, 200, 404, 403]);
    by_password(&w, "ina").patch("/v1/namespaces/db", "assistant_exec=true").await.expect_error(403, "forbidden");
    let changed = admin(&w, "PATCH", "/v1/namespaces/db", "assistant_exec=true").await;
    assert_eq!(changed["assistant_exec"], true);
    assert_eq!(asks("asta").await, 200, "at once, with the password that is remembered");
    let seen = by_password(&w, "asta").get(uri(&alice)).await.expect(200).json();
    assert!(text(&seen, "why").contains("asta, not its owner") || text(&seen, "why").contains("program"), "{seen}");
    admin(&w, "PATCH", "/v1/namespaces/db", "assistant_exec=false").await;
    assert_eq!(asks("asta").await, 403);
    let sources = by_password(&w, "ina").get(&format!("{}/activity", uri(&alice))).await.json()["sources"].clone();
    let count = |name: &str| sources.as_array().unwrap().iter().find(|s| s["source"] == name).unwrap()["count"].clone();
    assert_eq!((count("exec").as_u64() >= Some(1), count("staff").as_u64() >= Some(1)), (true, true), "{sources}");
    let done = by_password(&w, "ina").get("/v1/actions?verb=exec").await.expect(200).json();
    let states: Vec<_> = done.as_array().unwrap().iter().map(|a| (text(a, "actor"), text(a, "state"))).collect();
    assert_eq!(
        states,
        [("asta", "failed"), ("asta", "success"), ("asta", "failed"), ("alice", "success"), ("ina", "success")]
    );
}

/// An answer that was broken off is none.
#[tokio::test]
async fn the_server_ends_amid() {
    let w = world().await;
    let c = w.http().create("image=spindle/mimic").await;
    let ending = async {
        until(&w, "it runs", async || w.engine.running_programs() == 1).await;
        w.app.drain(Duration::from_secs(10)).await;
    };
    let (told, ()) = tokio::join!(run(&w, &c, json!({"command": ["sleep"]})), ending);
    told.expect_error(503, "shutting_down");
    assert_eq!((w.engine.running_programs(), w.store.execs().await.unwrap()), (0, vec![]));
    // What is left of the connection is for the client.
    let mut stream = TcpStream::connect(w.http().base.trim_start_matches("http://")).await.unwrap();
    stream.write_all(b"GET /v1/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut read = String::new();
    stream.read_to_string(&mut read).await.unwrap();
    assert!(read.starts_with("HTTP/1.1"), "{read}");
}
