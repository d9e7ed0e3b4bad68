//! Start-up: what cannot work is refused with one sentence, before anything is touched.

use std::{
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    process::{Output, Stdio},
    time::Duration,
};

use super::clients::said;
use crate::support::docker::{Docker, docker, wait_for};

/// Runs the program until it ends by itself; it is killed if it does not.
fn run(world: &Docker, arguments: &[&str]) -> Output {
    let mut command = world.command();
    let mut child = command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let started = std::time::Instant::now();
    while child.try_wait().unwrap().is_none() {
        if started.elapsed() > Duration::from_secs(20) {
            child.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.wait_with_output().unwrap()
}

/// The one sentence with which the server refuses to start.
#[track_caller]
fn refusal(world: &Docker) -> String {
    let output = run(world, &[]);
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(output.stdout.is_empty() && text.lines().count() == 1, "{}", said(&output));
    let sentence = text.strip_prefix("spindle: ").unwrap_or_else(|| panic!("{text}"));
    let networks = docker(&["network", "ls", "-q", "--filter", &format!("name=^{}$", world.deployment)]);
    assert!(networks.is_empty(), "a server that did not start has made a network");
    sentence.trim().to_owned()
}

#[track_caller]
fn refused(extra: &[(&str, &str)], words: &[&str]) {
    let world = Docker::prepare(None, extra);
    let sentence = refusal(&world);
    assert!(words.iter().all(|word| sentence.contains(word)), "{extra:?}: {sentence}");
}

#[test]
fn the_default_password_stays_on_loopback() {
    refused(&[("ADDRESS", "0.0.0.0")], &["SPINDLE_ADDRESS", "0.0.0.0", "SPINDLE_ADMIN_PASSWORD"]);
    refused(&[("ADDRESS", "::"), ("ADMIN_PASSWORD", "spindocker")], &["SPINDLE_ADMIN_PASSWORD"]);
}

#[test]
fn contradictions_and_misspellings_are_named() {
    refused(&[("IDLE_TIMEOUT", "29"), ("REPORT_PERIOD", "10")], &["SPINDLE_IDLE_TIMEOUT", "29", "30", "never"]);
    refused(&[("IDLE_TIMEOUT", "0")], &["SPINDLE_IDLE_TIMEOUT", "\"0\"", "never"]);
    refused(&[("RESUME_GRACE", "1"), ("REPORT_PERIOD", "2")], &["SPINDLE_RESUME_GRACE", "SPINDLE_REPORT_PERIOD"]);
    refused(&[("IDLE_TIMEUOT", "9000")], &["no setting", "SPINDLE_IDLE_TIMEUOT"]);
    refused(&[("PORT_RANGE", "30000-20000")], &["SPINDLE_PORT_RANGE", "30000-20000"]);
    refused(&[("MAX_RUNNING", "5000")], &["SPINDLE_MAX_RUNNING", "5000", "SPINDLE_SUBNET"]);
    refused(&[("PORT", "high")], &["SPINDLE_PORT", "high"]);
    refused(&[("LOG", "=,=")], &["SPINDLE_LOG"]);
    refused(&[("DEFAULT_SSH_KEY", "ssh-rsa rubbish")], &["SPINDLE_DEFAULT_SSH_KEY"]);
    refused(&[("CONFIG", "/no/such/file.toml")], &["/no/such/file.toml"]);
}

#[test]
fn a_database_that_cannot_be_used_is_left_alone() {
    let mut world = Docker::prepare(None, &[]);
    let file = world.directory.join("notes.txt");
    // Longer than the header by which SQLite knows its files.
    let notes = "These are my notes of the first lecture, and no database.\n".repeat(20);
    std::fs::write(&file, &notes).unwrap();
    let (file, below) = (file.display().to_string(), file.join("spindle.db").display().to_string());
    let folder = world.directory.display().to_string();
    // Where nobody can write, root neither.
    let nowhere = "/proc/spindle/spindle.db".to_owned();
    for path in [&file, &below, &folder, &nowhere] {
        world.set("DATABASE", path);
        let sentence = refusal(&world);
        assert!(sentence.starts_with(&format!("the database {path} cannot be used: ")), "{sentence}");
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), notes);
}

#[test]
fn a_database_of_a_newer_version_is_left_alone() {
    let world = Docker::prepare(None, &[]);
    let database = rusqlite::Connection::open(world.setting("DATABASE")).unwrap();
    database.execute_batch("PRAGMA user_version = 1000").unwrap();
    assert!(refusal(&world).contains("newer Spindle"));
    let version: i64 = database.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(version, 1000);
}

#[test]
fn a_port_that_is_taken_is_named() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port().to_string();
    refused(&[("PORT", &port)], &["cannot listen", &format!("127.0.0.1:{port}"), "in use", "SPINDLE_PORT"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_server_on_the_same_database_does_not_start() {
    let first = Docker::start(&[]).await;
    let second = Docker::prepare(None, &[("DATABASE", first.setting("DATABASE"))]);
    let sentence = refusal(&second);
    assert!(sentence.contains("another Spindle server"), "{sentence}");
    first.until_well().await;
    let private = std::fs::metadata(first.setting("DATABASE")).unwrap().permissions().mode();
    assert_eq!(private & 0o077, 0, "the database holds secrets");
}

#[test]
fn check_config_shows_what_is_in_force_and_no_secret() {
    let world = Docker::prepare(None, &[("ADMIN_PASSWORD", "correct horse"), ("IDLE_TIMEOUT", "never")]);
    let output = run(&world, &["check-config"]);
    let shown = said(&output);
    assert_eq!(output.status.code(), Some(0), "{shown}");
    assert!(!shown.contains("correct horse"), "{shown}");
    assert!(shown.lines().any(|l| l.contains("admin_password") && l.contains("set")), "{shown}");
    for line in ["idle_timeout = \"never\"", "report_period = 1", "cpus = \"1\""] {
        assert!(shown.lines().any(|l| l == line), "{line} is not in\n{shown}");
    }
    assert!(!std::path::Path::new(world.setting("DATABASE")).exists(), "it has opened the database");
    let bad = run(&Docker::prepare(None, &[("PORT", "0")]), &["check-config"]);
    assert_eq!(bad.status.code(), Some(1));
    assert!(said(&bad).starts_with("spindle: SPINDLE_PORT"), "{}", said(&bad));
}

#[test]
fn the_configuration_file_is_read_and_variables_win() {
    let mut world = Docker::prepare(None, &[("IDLE_TIMEOUT", "200")]);
    std::fs::write(world.directory.join("spindle.toml"), "idle_timeout = 100\nstop_grace = 3\n").unwrap();
    let shown = said(&run(&world, &["check-config"]));
    assert!(shown.contains("idle_timeout = \"200\"\n") && shown.contains("stop_grace = 3\n"), "{shown}");
    let other = world.directory.join("other.toml");
    std::fs::write(&other, "stop_grace = 4\nadmin_pasword = \"x\"\n").unwrap();
    world.set("CONFIG", &other.display().to_string());
    assert!(refusal(&world).contains("admin_pasword"));
}

#[test]
fn version_and_help() {
    let world = Docker::prepare(None, &[]);
    let version = run(&world, &["--version"]);
    assert_eq!(said(&version).trim(), concat!("spindle ", env!("CARGO_PKG_VERSION")));
    let help = run(&world, &["--help"]);
    assert!(["serve", "check-config", "--config"].iter().all(|word| said(&help).contains(word)), "{}", said(&help));
    assert_eq!((version.status.code(), help.status.code()), (Some(0), Some(0)));
    assert_eq!(run(&world, &["dance"]).status.code(), Some(2));
}

/// Another server's network, or a stranger's of the same name, is not taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_strangers_network_of_the_same_name_is_left_alone() {
    let mut world = Docker::prepare(None, &[]);
    docker(&["network", "create", "--subnet", &world.subnet, &world.deployment]);
    world.spawn();
    let health = || super::clients::curl(&world, &[], "/v1/health");
    wait_for("a word about the network", Duration::from_secs(20), || health().1.contains("is not Spindle"));
    assert_eq!(health().0, 503);
    assert_eq!(super::clients::curl(&world, &["-d", "image=spindle/mimic"], "/v1/containers").0 / 100, 5);
}
