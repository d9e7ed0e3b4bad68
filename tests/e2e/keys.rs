//! Who gets in: with which key into a sandbox, and what the log says of those who do not get into the API.

use std::time::Duration;

use super::clients::{Learner, curl, curl_json, wait_for_ssh};
use crate::support::{
    World,
    docker::{Docker, wait_for},
};

/// A key stands in a form as `curl -d "ssh_key=$(cat key.pub)"` sends it: not encoded, with all its spaces and +.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_key_of_learner_and_instructors_opens_the_sandbox() {
    let mut world = Docker::prepare(None, &[]);
    let own = |name: &str, kind: &[&str]| Learner::with(&world.directory, name, kind);
    let (anna, laptop) = (own("anna", &["-t", "rsa", "-b", "4096"]), own("anna+laptop of 2026", &["-t", "ecdsa"]));
    let (first, second) = (own("first", &["-t", "ed25519"]), own("second", &["-t", "ed25519"]));
    world.set("DEFAULT_SSH_KEY", &format!("# instructors\n{}\n{}\n", first.public_key(), second.public_key()));
    world.spawn();
    world.until_well().await;
    let keys = format!("ssh_key={}\n{}", anna.public_key(), laptop.public_key());
    let create = |world: &Docker| curl_json(world, &["-d", "image=spindle/base", "-d", &keys], "/v1/containers", 201);
    let c = create(&world);
    wait_for_ssh(&c);
    for who in [&anna, &laptop, &first, &second] {
        assert_eq!(who.run(&c, &["id", "-un"]), "student");
    }
    let shown = anna.run(&c, &["cat", "/run/spindle/authorized_keys"]);
    let all: Vec<String> = [&anna, &laptop, &first, &second].iter().map(|who| who.public_key()).collect();
    assert_eq!(shown.lines().collect::<Vec<_>>(), all, "as they were sent, comments included");

    world.end("TERM");
    world.set("DEFAULT_SSH_KEY_ALWAYS", "false");
    world.spawn();
    world.until_well().await;
    let alone = create(&world);
    wait_for_ssh(&alone);
    assert_eq!(anna.run(&alone, &["id", "-un"]), "student");
    first.refused(&alone, &[], "student");
}

/// Ours, with address and user, and never the password; and not a line for each of a thousand.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_in_the_log_once_a_second() {
    let world = Docker::start(&[("LOG", "info")]).await;
    assert_eq!(curl(&world, &["-u", "root\nfaked:hunter2"], "/v1/containers").0, 401);
    assert_eq!(curl(&world, &["-u", "spindocker:admin"], "/v1/containers").0, 401);
    let headers = [("authorization", "Basic cm9vdDpodW50ZXIy")];
    let started = std::time::Instant::now();
    let mut compared = 0;
    for _ in 0..300 {
        let answer = world.http().bare("GET", "/v1/images", crate::support::Body::None, &headers).await;
        compared += usize::from(answer.status == 401);
        assert!([401, 429].contains(&answer.status), "{answer:?}");
    }
    assert!((5..30).contains(&compared), "{compared} were compared, and all others told to wait");
    let seconds = started.elapsed().as_secs() as usize + 1;
    let times = |log: &str| -> u64 {
        let lines = log.lines().filter(|line| line.contains("wrong credentials"));
        let numbers = lines.filter_map(|line| line.split("times=").nth(1)?.split(' ').next()?.parse::<u64>().ok());
        numbers.sum()
    };
    wait_for("every refusal counted", Duration::from_secs(10), || {
        curl(&world, &[], "/v1/health");
        times(&world.log()) == 302
    });
    let log = world.log();
    let lines: Vec<&str> =
        log.lines().filter(|line| line.contains("status=401") || line.contains("credentials")).collect();
    assert!(lines.len() <= seconds + 3, "{lines:#?}");
    assert!(lines[0].contains("WARN") && lines[0].contains("peer=\"127.0.0.1\""), "{lines:#?}");
    assert!(lines[0].contains("root\\nfaked"), "quoted: {lines:#?}");
    for never in ["hunter2", "spindocker", "guard", "catcher", "\nfaked"] {
        assert!(!log.contains(never), "{never:?} stands in {log}");
    }
}
