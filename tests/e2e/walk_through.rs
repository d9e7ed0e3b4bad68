//! The walk through the README, with curl and ssh, on the lab image.

use std::{
    io::{Read, Write},
    process::Stdio,
    time::Duration,
};

use serde_json::Value;

use super::{
    clients::{Learner, curl, curl_json, said, text, wait_for_ssh},
    terminal::Terminal,
};
use crate::support::{
    World,
    docker::{Docker, docker, wait_for},
    id, uri,
};

fn active(world: &Docker, container: &Value) -> u64 {
    text(&curl_json(world, &[], uri(container), 200), "active").parse().unwrap()
}

fn create(world: &Docker, learner: &Learner) -> Value {
    let key = format!("ssh_key@{}", learner.public_key_file());
    curl_json(world, &["-d", "image=spindle/base", "--data-urlencode", &key], "/v1/containers", 201)
}

/// Types a wrong password at the prompt that `su` makes for a learner; what the terminal showed.
fn try_su(learner: &Learner, container: &Value) -> String {
    let mut su = learner.ssh(container, &["-tt"], "student", &["su", "root", "-c", "id"]);
    let mut su = su.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let (mut shown, mut byte) = (Vec::new(), [0]);
    let mut screen = su.stdout.take().unwrap();
    while !shown.ends_with(b"Password: ") && screen.read(&mut byte).unwrap() == 1 {
        shown.push(byte[0]);
    }
    // Input that comes before the prompt is thrown away, hence not sooner.
    su.stdin.as_mut().unwrap().write_all(b"wrong\n").unwrap();
    screen.read_to_end(&mut shown).unwrap();
    su.wait().unwrap();
    String::from_utf8_lossy(&shown).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn create_log_in_check_in_stop_start_delete() {
    let world = Docker::start(&[]).await;
    let learner = Learner::new(&world.directory, "learner");
    assert!(curl(&world, &[], "/v1/images").1.contains("\"spindle/base:latest\""));
    let c = create(&world, &learner);
    assert_eq!((text(&c, "status"), text(&c, "active")), ("running", "0"));
    wait_for_ssh(&c);
    assert_eq!(learner.run(&c, &["id", "-un"]), "student");
    let mut terminal = Terminal::open(&learner, &c);
    terminal.type_line("spindle-report -v");
    terminal.wait_for("spindle-report: 1 of 1 terminals in use, 0 from hooks: reported 1 to ");
    terminal.wait_for("answer 200");
    assert_eq!(active(&world, &c), 1);
    drop(terminal);
    let by_hand = "curl -s -w '%{http_code}' -d active-connections=7 $(cat /run/spindle/check_in_url)";
    assert_eq!(learner.run(&c, &[by_hand]), "200");
    assert_eq!(active(&world, &c), 7);

    let stopping = curl_json(&world, &["-X", "PATCH", "-d", "status=stopped"], uri(&c), 200);
    assert_eq!((text(&stopping, "status"), &stopping["ssh_port"]), ("stopping", &c["ssh_port"]));
    let stopped = || curl_json(&world, &[], uri(&c), 200);
    wait_for("the stop", Duration::from_secs(20), || stopped()["status"] == "stopped");
    assert_eq!((text(&stopped(), "ssh_port"), &stopped()["ports"]), ("", &c["ports"]));
    let again = curl_json(&world, &["-X", "PATCH", "-d", "status=running"], uri(&c), 200);
    assert_eq!((&again["ssh_port"], &again["app_port"]), (&c["ssh_port"], &c["app_port"]));
    assert_eq!((id(&again), text(&again, "active")), (id(&c), "0"));
    wait_for_ssh(&again);
    // Another host key would be refused here, as the first one is known.
    assert_eq!(learner.run(&again, &["id", "-un"]), "student");

    assert_eq!(curl(&world, &["-X", "DELETE"], uri(&c)), (204, String::new()));
    assert_eq!(curl(&world, &[], uri(&c)).0, 404);
    world.until_none_is_held().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_owners_key_opens_a_sandbox_and_only_for_student() {
    let world = Docker::start(&[]).await;
    let (owner, other) = (Learner::new(&world.directory, "owner"), Learner::new(&world.directory, "other"));
    let (c, others) = (create(&world, &owner), create(&world, &other));
    wait_for_ssh(&c);
    wait_for_ssh(&others);
    assert_eq!(owner.run(&c, &["whoami"]), "student");
    assert_eq!(other.run(&others, &["whoami"]), "student");
    for attempt in [
        other.refused(&c, &[], "student"),
        owner.refused(&others, &[], "student"),
        owner.refused(&c, &[], "root"),
        owner.refused(&c, &["-o", "PreferredAuthentications=password,keyboard-interactive"], "student"),
    ] {
        // What the server offers stands in brackets: keys, and nothing else.
        assert!(attempt.contains("Permission denied (publickey)."), "{attempt}");
    }
    let host_key = |c: &Value| docker(&["exec", id(c), "cut", "-d ", "-f2", "/etc/ssh/ssh_host_ed25519_key.pub"]);
    assert_ne!(host_key(&c), host_key(&others), "every sandbox has a host key of its own");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn su_and_the_environment_work_inside() {
    let world = Docker::start(&[]).await;
    let learner = Learner::new(&world.directory, "learner");
    // As many and as large as are taken, of letters that are escaped twice on their way.
    let mut env: serde_json::Map<_, _> = (0..510).map(|n| (format!("V{n:03}"), "\"".repeat(50).into())).collect();
    env.insert("COURSE".into(), "databases, \"first\" part".into());
    env.insert("PATH".into(), "/opt/bin:$PATH".into());
    let body = serde_json::json!({"image": "spindle/base", "ssh_key": learner.public_key(), "env": env});
    let body = body.to_string();
    let c = curl_json(&world, &["-H", "Content-Type: application/json", "-d", &body], "/v1/containers", 201);
    wait_for_ssh(&c);
    let as_student = docker(&["exec", id(&c), "/bin/su", "student", "-c", "/usr/bin/id -un"]);
    assert_eq!(as_student, "student");
    let shown = try_su(&learner, &c);
    assert!(shown.contains("Password:") && shown.contains("Authentication failure"), "{shown}");
    assert_eq!(learner.run(&c, &["echo \"$COURSE\""]), "databases, \"first\" part");
    assert_eq!(learner.run(&c, &["env | grep -c '^V[0-9]*=\"\"'"]), "510");
    let raised = learner.ssh(&c, &[], "student", &["cat", "/etc/shadow"]).output().unwrap();
    assert!(said(&raised).contains("Permission denied"), "{raised:?}");
}
