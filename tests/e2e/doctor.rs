//! The doctor, on real hosts in real states of health. What this machine lacks, such as disk quotas, may be warned of.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::Value;

use super::clients::said;
use crate::support::{
    World,
    docker::{Docker, docker, wait_for},
    id,
};

/// What the doctor says, and its exit code. Nothing of it may be left in Docker.
#[track_caller]
fn examine(world: &Docker, arguments: &[&str]) -> (i32, String) {
    let output = world.command().arg("doctor").args(arguments).stderr(Stdio::inherit()).output().unwrap();
    let left = docker(&["ps", "-aq", "--filter", "label=spindle.doctor", "--filter", &ours(world)]);
    assert!(left.is_empty(), "left behind: {left}");
    (output.status.code().unwrap(), said(&output))
}

fn ours(world: &Docker) -> String {
    format!("label=spindle.deployment={}", world.deployment)
}

/// What `--json` says of one check.
#[track_caller]
pub fn finding(world: &Docker, check: &str) -> Value {
    let report: Value = serde_json::from_str(&examine(world, &["--json"]).1).unwrap();
    let all = report["findings"].as_array().unwrap();
    all.iter().find(|f| f["check"] == check).unwrap_or_else(|| panic!("{check}: {report}")).clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_well_is_found_well() {
    let world = Docker::start(&[]).await;
    let c = world.http().create("image=spindle/mimic").await;
    let (code, text) = examine(&world, &[]);
    assert_eq!(code, 0, "{text}");
    let line = |word: &str, check: &str, found: &str| {
        let begins = format!("{word:<6}  {check:<13}  ");
        assert!(text.lines().any(|l| l.starts_with(&begins) && l.contains(found)), "{word} {check} {found}\n{text}");
    };
    line("ok", "engine", "Docker ");
    // Some kernels count no swap unless they are told to.
    let tried = ["hold in a container of spindle/mimic", "swap is not limited"];
    assert!(tried.iter().any(|words| text.contains(words)), "{text}");
    line("ok", "subnet", &world.subnet);
    line("ok", "bridge", "1 of 1,023 places taken");
    line("ok", "ports left", "98 of 100, enough for 49 more sandboxes");
    line("warn", "password", "the default one");
    line("ok", "server", &format!("runs at http://127.0.0.1:{}", world.setting("PORT")));
    line("ok", "check-in", &format!("{}:80 answers inside a container", world.gateway()));
    assert!(
        text.contains("\nThis host holds about ") && text.contains(" sandboxes of 512 MB; the first limit is "),
        "{text}"
    );
    assert!(text.contains("\nNothing prevents work; ") && !text.contains('\x1b'), "{text}");
    let (code, text) = examine(&world, &["--json"]);
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &report["ok"]), (0, &Value::Bool(true)), "{text}");
    assert!(report["capacity"]["sandboxes"].as_u64().unwrap() > 0, "{text}");
    for f in report["findings"].as_array().unwrap() {
        let explained = f["why"].is_string() && f["fix"].is_string();
        assert!(explained || ["ok", "unseen"].contains(&f["status"].as_str().unwrap()), "{f}");
    }
    // Nobody takes the container on trial for a sandbox, nor what it asks for as a report.
    let all = world.http().get("/v1/containers").await.expect(200).json();
    assert_eq!(all.as_array().unwrap().len(), 1);
    assert_eq!(world.http().now(&c).await["last_check_in_at"], Value::Null);
    let log = world.log();
    let complaints: Vec<&str> = log.lines().filter(|l| l.contains(" WARN ") || l.contains(" ERROR ")).collect();
    assert!(complaints.iter().all(|l| l.contains("nobody can log in by key")), "{complaints:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_down_is_found_before_and_after() {
    let mut world = Docker::prepare(None, &[]);
    let sentence = format!("no Spindle answers at http://127.0.0.1:{}: Connection refused", world.setting("PORT"));
    let (code, text) = examine(&world, &[]);
    assert!(code == 1 && text.contains(&sentence) && text.contains("systemctl start spindle"), "{text}");
    assert!(text.contains("is made when the server starts"), "{text}");
    let made = docker(&["network", "ls", "-q", "--filter", &ours(&world)]);
    assert!(made.is_empty() && !std::path::Path::new(world.setting("DATABASE")).exists(), "it changed something");
    world.spawn();
    world.until_well().await;
    world.end("TERM");
    let (code, text) = examine(&world, &[]);
    assert!(code == 1 && text.contains(&sentence), "{text}");
    // That nobody answers at the door is then no sign of a firewall.
    assert!(text.contains("unseen  check-in       the server does not answer"), "{text}");
    assert!(text.contains("1 thing prevents work"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_engine_the_rest_is_still_looked_at() {
    let mut world = Docker::prepare(None, &[]);
    world.environment.push(("DOCKER_HOST".into(), "unix:///nonexistent/docker.sock".into()));
    let output = world.command().arg("doctor").output().unwrap();
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("fail    engine         none answers at unix:///nonexistent/docker.sock: "), "{text}");
    assert!(text.contains("DOCKER_HOST") && text.contains("ok      database disk  "), "{text}");
    assert!(text.contains("This host holds about ") && text.contains("2 things prevent work"), "{text}");
}

/// A rule that keeps one subnet from one port, until it is dropped.
struct Rule(Vec<String>);

impl Rule {
    /// None where this machine's firewall cannot be changed.
    fn new(world: &Docker) -> Option<Self> {
        let rule = format!("INPUT -s {} -d {} -p tcp --dport 80 -j DROP", world.subnet, world.gateway());
        let rule = Self(rule.split(' ').map(str::to_owned).collect());
        let made = rule.run("-I");
        if !made {
            // Nothing to remove.
            std::mem::forget(rule);
            println!("skipped: iptables cannot be used here");
            return None;
        }
        Some(rule)
    }

    fn run(&self, what: &str) -> bool {
        let mut command = Command::new("iptables");
        command.args(["--wait", "5", what]).args(&self.0);
        command.output().is_ok_and(|o| o.status.success())
    }
}

impl Drop for Rule {
    fn drop(&mut self) {
        if !self.run("-D") {
            eprintln!("this stays in the firewall: {:?}", self.0);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_firewall_in_the_way_is_found() {
    let world = Docker::start(&[]).await;
    let Some(rule) = Rule::new(&world) else { return };
    let found = finding(&world, "check-in");
    assert_eq!(found["status"], "fail", "{found}");
    let (from, to) = (&world.subnet, world.gateway());
    assert!(found["found"].as_str().unwrap().contains("a firewall is in the way"), "{found}");
    // Where somebody manages the firewall it is that one's command.
    let fix = found["fix"].as_str().unwrap();
    assert!(fix.contains(from.as_str()) && (fix.contains(&to) || fix.contains("firewall-cmd")), "{found}");
    drop(rule);
    assert_eq!(finding(&world, "check-in")["status"], "ok");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_password_is_named() {
    let mut world = Docker::start(&[]).await;
    world.set("ADMIN_PASSWORD", "not the server's");
    let found = finding(&world, "reports");
    assert_eq!(found["status"], "unseen", "{found}");
    assert!(found["found"].as_str().unwrap().contains("another user or password"), "{found}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_that_never_reports_is_named_until_it_does() {
    let world = Docker::start(&[]).await;
    let c = world.http().create("image=spindle/mimic").await;
    assert_eq!(finding(&world, "reports")["status"], "ok", "it has had no time yet");
    wait_for("three report periods", Duration::from_secs(20), || finding(&world, "reports")["status"] == "warn");
    assert_eq!(finding(&world, "reports")["found"], "never reported: spindle/mimic");
    world.docker(&["exec", id(&c), "mimic", "check-in", "0"]);
    assert_eq!(finding(&world, "reports")["status"], "ok");
}
