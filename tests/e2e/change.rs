//! A sandbox is changed, restarted and made anew, on real Docker with real ssh.

use std::time::Duration;

use super::clients::{Learner, curl, curl_json, text, wait_for_ssh};
use crate::support::{
    World,
    docker::{Docker, docker, wait_for},
    id, uri,
};

/// What Docker shows of a container.
fn shown(container: &serde_json::Value, format: &str) -> String {
    docker(&["inspect", "-f", format, id(container)])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_name_and_limits_are_changed_without_a_restart() {
    let world = Docker::start(&[]).await;
    let (lost, found) = (Learner::new(&world.directory, "lost"), Learner::new(&world.directory, "found"));
    let key = |who: &Learner| format!("ssh_key={}", who.public_key());
    let name = format!("before-{}", std::process::id());
    let (named, keyed) = (format!("name={name}"), key(&lost));
    let form = ["-d", "image=spindle/base", "-d", &named, "-d", &keyed, "-d", "memory=128m"];
    let c = curl_json(&world, &form, "/v1/containers", 201);
    wait_for_ssh(&c);
    assert_eq!(lost.run(&c, &["id", "-un"]), "student");
    let pid = shown(&c, "{{.State.Pid}}");
    let (renamed, keyed) = (format!("name={name}-after"), key(&found));
    let form = ["-X", "PATCH", "-d", &renamed, "-d", &keyed, "-d", "memory=160m", "-d", "cpus=0.5"];
    let changed = curl_json(&world, &form, uri(&c), 200);
    assert_eq!(text(&changed, "name"), format!("/{name}-after"));
    let limits = "{{.Name}} {{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.NanoCpus}} {{.State.Pid}}";
    let bytes = 160 << 20;
    assert_eq!(shown(&c, limits), format!("/{name}-after {bytes} {bytes} 500000000 {pid}"));
    assert_eq!(found.run(&c, &["id", "-un"]), "student");
    lost.refused(&c, &[], "student");
    assert_eq!(curl(&world, &[], &format!("/v1/containers/{name}")).0, 404);

    // More is in use than the new limit would allow.
    found.run(&c, &["nohup perl -e '$x = \"x\" x 60_000_000; print \"there\"; sleep 60' > /tmp/fat 2>&1 & sleep 0"]);
    let largest = || docker(&["exec", id(&c), "sh", "-c", "ps -eo rss= | sort -n | tail -1"]).trim().parse::<u64>();
    wait_for("the memory", Duration::from_secs(20), || largest().is_ok_and(|kib| kib > 55_000));
    let (status, refused) = curl(&world, &["-X", "PATCH", "-d", "memory=32m", "-d", "labels=a=b"], uri(&c));
    assert!(status == 502 && refused.contains("limits"), "{status} {refused}");
    let now = curl_json(&world, &[], uri(&c), 200);
    assert_eq!((&now["memory"], &now["labels"]), (&changed["memory"], &changed["labels"]));
    assert_eq!(shown(&c, "{{.HostConfig.Memory}}"), bytes.to_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_keeps_the_files_and_a_reset_does_not() {
    let world = Docker::start(&[]).await;
    // What is made anew has another host key, which whoever knows the old one would not trust.
    let (learner, later) = (Learner::new(&world.directory, "learner"), Learner::new(&world.directory, "later"));
    let key = format!("ssh_key={}\n{}", learner.public_key(), later.public_key());
    let c = curl_json(&world, &["-d", "image=spindle/base", "-d", &key], "/v1/containers", 201);
    wait_for_ssh(&c);
    learner.run(&c, &["echo work > ~/file"]);
    let token = learner.run(&c, &["cat /run/spindle/token"]);
    let again = curl_json(&world, &["-X", "POST"], &format!("{}/restart", uri(&c)), 200);
    assert_eq!((id(&again), &again["ssh_port"]), (id(&c), &c["ssh_port"]));
    wait_for_ssh(&again);
    assert_eq!(learner.run(&c, &["cat ~/file"]), "work");

    assert_eq!(curl(&world, &["-X", "POST"], &format!("{}/reset", uri(&c))).0, 400);
    let anew = curl_json(&world, &["-d", "confirm=true"], &format!("{}/reset", uri(&c)), 200);
    assert_ne!(id(&anew), id(&c));
    assert_eq!((&anew["ssh_port"], &anew["name"], &anew["status"]), (&c["ssh_port"], &c["name"], &"running".into()));
    wait_for_ssh(&anew);
    assert_eq!(later.run(&anew, &["ls ~/file 2>&1 | grep -c 'No such file'"]), "1");
    assert_eq!(later.run(&anew, &["cat /run/spindle/token"]), token);
    assert_eq!(id(&curl_json(&world, &[], uri(&c), 200)), id(&anew), "its old id means it");
    assert_eq!(world.held().await, [id(&anew)]);

    // One that rests is made anew, and rests.
    let rests = curl_json(&world, &["-d", "image=spindle/base", "-d", "start=false"], "/v1/containers", 201);
    let anew = curl_json(&world, &["-d", "confirm=true"], &format!("{}/reset", uri(&rests)), 200);
    assert_eq!((text(&anew, "status"), shown(&anew, "{{.State.Status}}")), ("stopped", "created".to_owned()));
    let runs = curl_json(&world, &["-X", "PATCH", "-d", "status=running"], uri(&rests), 200);
    assert_eq!((text(&runs, "status"), id(&runs)), ("running", id(&anew)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_is_started_as_it_was_said_and_after_a_reset_too() {
    let world = Docker::start(&[]).await;
    let said = serde_json::json!({
        "image": "spindle/mimic", "command": ["-c", "echo \"$A $0 $PWD $(id -u) $(hostname)\" > /tmp/said; sleep 600", "zero"],
        "entrypoint": ["sh"], "workdir": "/var", "user": "1234:1234", "hostname": "lab-7", "env": {"A": "b c"},
    });
    let body = said.to_string();
    let c = curl_json(&world, &["-H", "Content-Type: application/json", "-d", &body], "/v1/containers", 201);
    let says = |c: &serde_json::Value| {
        let mut written = String::new();
        wait_for("its words", Duration::from_secs(10), || {
            written = docker(&["exec", id(c), "sh", "-c", "cat /tmp/said 2>/dev/null || true"]);
            written.contains("lab-7")
        });
        written.trim().to_owned()
    };
    assert_eq!(says(&c), "b c zero /var 1234 lab-7");
    let anew = curl_json(&world, &["-d", "confirm=true"], &format!("{}/reset", uri(&c)), 200);
    assert_eq!(says(&anew), "b c zero /var 1234 lab-7");
}

/// A whole class with one line each: made, told, restarted, deleted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_class_at_once() {
    let world = Docker::start(&[]).await;
    let form = ["-d", "image=spindle/mimic", "-d", "name=class", "-d", "count=4", "-d", "labels=group=a"];
    let made = curl_json(&world, &form, "/v1/containers", 200);
    assert!(made.as_array().unwrap().iter().all(|one| one["status"] == 201), "{made}");
    let all = "/v1/containers?label=group=a";
    for (arguments, path, status) in [
        (vec!["-d", "text=Five minutes left"], "/v1/containers/message?label=group=a", 200),
        (vec!["-X", "POST"], "/v1/containers/restart?label=group=a", 200),
        (vec!["-X", "PATCH", "-d", "memory=96m"], all, 200),
        (vec!["-X", "PATCH", "-d", "status=stopped"], all, 200),
    ] {
        let done = curl_json(&world, &arguments, path, 200);
        let done = done.as_array().unwrap();
        assert!(done.len() == 4 && done.iter().all(|one| one["status"] == status), "{path}: {done:?}");
    }
    assert_eq!(curl(&world, &["-X", "DELETE"], all).0, 400);
    let gone = curl_json(&world, &["-X", "DELETE"], &format!("{all}&confirm=4"), 200);
    assert!(gone.as_array().unwrap().iter().all(|one| one["status"] == 204), "{gone}");
    world.until_none_is_held().await;
}
