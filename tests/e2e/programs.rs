//! Programs and terminals inside real containers: as whom, how much, and what is left of them.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{
    Body, World,
    docker::{Docker, wait_for},
    id, is,
    socket::Client,
    uri,
};

const BRIEFLY: Duration = Duration::from_secs(20);

async fn run(world: &Docker, c: &Value, body: Value) -> Value {
    world.http().send("POST", &format!("{}/exec", uri(c)), Body::Json(body)).await.expect(200).json()
}

fn processes(world: &Docker, c: &Value) -> String {
    world.docker(&["top", id(c), "-eo", "pid,user,args"])
}

/// The resident memory of the server in KiB.
fn resident(world: &Docker) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", world.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_runs_as_whoever_logs_in() {
    let world = Docker::start(&[]).await;
    let c = world.http().create("image=spindle/base").await;
    let told = run(&world, &c, json!({"command": "echo $(id -un) $PWD $HOME; echo oops >&2; exit 4"})).await;
    assert_eq!(told["stdout"], "student /home/student /home/student\n", "{told}");
    assert_eq!((&told["stderr"], &told["exit_code"]), (&json!("oops\n"), &json!(4)));
    let told = run(&world, &c, json!({"command": ["id", "-un"], "user": "root", "workdir": "/tmp"})).await;
    assert_eq!(told["stdout"], "root\n");
    let form = "command=echo+it+works&stdin=";
    let told = world.http().send("POST", &format!("{}/exec", uri(&c)), Body::Form(form)).await.expect(200).json();
    assert_eq!(told["stdout"], "it works\n");
    let absent =
        world.http().send("POST", &format!("{}/exec", uri(&c)), Body::Json(json!({"command": ["absent"]}))).await;
    absent.expect_error(400, "program_not_started");
    let nobody = json!({"command": ["true"], "user": "nobody-here"});
    let refused = world.http().send("POST", &format!("{}/exec", uri(&c)), Body::Json(nobody)).await;
    assert!([400, 502].contains(&refused.status), "{refused:?}");

    let mut client = Client::open(world.http(), &format!("{}/terminal?cols=91&rows=31", uri(&c))).await;
    client.sees("$ ").await;
    client.types("stty size; id -un\n").await;
    client.sees("31 91\r\n").await;
    client.sees("student\r\n").await;
    client.says(r#"{"resize":{"cols":101,"rows":41}}"#).await;
    client.wipe();
    // A shell hears of a new size a moment later.
    client.types("until [ \"$(stty size)\" = '41 101' ]; do sleep 0.1; done; echo re''sized\n").await;
    client.sees("resized\r\n").await;
    client.types("(sleep 555 &) ; exit 6\n").await;
    assert_eq!(client.is_closed().await, (1000, json!({"exit_code": 6})));
    wait_for("nothing is left", BRIEFLY, || !processes(&world, &c).contains("sleep 555"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_output_costs_no_memory_and_who_leaves_takes_the_program_along() {
    let world = Docker::start(&[]).await;
    let c = world.http().create("image=spindle/mimic").await;
    run(&world, &c, json!({"command": ["true"]})).await;
    let before = resident(&world);
    let line = "yes 0123456789abcdef | head -c 1000000000";
    let running = run(&world, &c, json!({"command": line, "timeout": 120}));
    tokio::pin!(running);
    let mut most = before;
    let told = loop {
        tokio::select! {
            told = &mut running => break told,
            () = tokio::time::sleep(Duration::from_millis(20)) => most = most.max(resident(&world)),
        }
    };
    assert_eq!((&told["stdout_bytes"], &told["truncated"]), (&json!(1_000_000_000), &json!(true)));
    assert!(most < before + 16 * 1024, "{before} KiB became {most} KiB");

    let url = format!("{}{}/exec", world.http().base, uri(&c));
    let mut curl = Command::new("curl");
    curl.args(["-s", "-u", "admin:spindocker", "--data-urlencode", "command=sleep 444 & sleep 445", &url]);
    let mut curl = curl.stdout(Stdio::null()).spawn().unwrap();
    wait_for("both", BRIEFLY, || processes(&world, &c).matches("sleep 44").count() >= 2);
    curl.kill().unwrap();
    curl.wait().unwrap();
    let asked = Instant::now();
    wait_for("the end of both", BRIEFLY, || !processes(&world, &c).contains("sleep 44"));
    println!("gone after {:?}", asked.elapsed());
    let told = run(&world, &c, json!({"command": "trap '' TERM HUP; sleep 446", "timeout": 1})).await;
    assert_eq!((&told["timed_out"], &told["exit_code"]), (&json!(true), &Value::Null));
    assert!(!processes(&world, &c).contains("sleep 446"), "it is ended before the answer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_kill_9_nothing_stays_behind_inside() {
    let mut world = Docker::start(&[]).await;
    let c = world.http().create("image=spindle/mimic").await;
    let mut client = Client::open(world.http(), &format!("{}/terminal?command=bash", uri(&c))).await;
    client.types("trap '' HUP; sleep 666 & sleep 667\n").await;
    let (http, path) = (world.http().clone(), format!("{}/exec", uri(&c)));
    let waiting = tokio::spawn(async move {
        let request = http.client.post(format!("{}{path}", http.base)).basic_auth("admin", Some("spindocker"));
        request.form(&[("command", "sleep 668")]).send().await.is_ok()
    });
    wait_for("all of them", BRIEFLY, || processes(&world, &c).matches("sleep 66").count() >= 3);
    world.end("KILL");
    assert!(!waiting.await.unwrap());
    assert!(processes(&world, &c).contains("sleep 667"), "Docker leaves it");
    let started = Instant::now();
    world.spawn();
    world.until_well().await;
    wait_for("the first pass ends them", BRIEFLY, || !processes(&world, &c).contains("sleep 66"));
    println!("gone {:?} after the start", started.elapsed());
    assert!(is("running")(&world.http().now(&c).await));
    let told = run(&world, &c, json!({"command": ["echo", "on"]})).await;
    assert_eq!(told["stdout"], "on\n");

    // An end in good order says so, and takes as long as it may.
    let mut client = Client::open(world.http(), &format!("{}/terminal?command=sleep+669", uri(&c))).await;
    let asked = Instant::now();
    let ending = std::thread::spawn(move || (world.end("TERM"), world));
    assert_eq!(client.is_closed().await, (1012, json!({"reason": "the server is shutting down"})));
    let (code, world) = ending.join().unwrap();
    assert_eq!(code, Some(0));
    assert!(asked.elapsed() < Duration::from_secs(12), "{:?}", asked.elapsed());
    assert!(!processes(&world, &c).contains("sleep 669"));
}
