//! The lab images, from their creation through the API to the second start.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    clients::{Learner, curl_json, lab, said, wait_for_ssh},
    labs::{Django, Jupyter, Postgres, Service},
};
use crate::support::{
    World,
    docker::{Docker, docker, wait_for},
    id, uri,
};

/// From its creation, or its start, until a sandbox's port answers.
const BOOT: Duration = Duration::from_secs(10);

/// From its creation until a sandbox has reported: the reporter's minute, and some.
const FIRST_REPORT: Duration = Duration::from_secs(70);

/// Long enough for whatever takes a moment.
const MOMENT: Duration = Duration::from_secs(20);

/// The reporter's idea of "lately" here, in seconds, so that nobody waits for two minutes.
const RECENTLY: &str = "5";

fn create(world: &Docker, image: &str, env: &Value) -> Value {
    let body = json!({"image": image, "env": env}).to_string();
    curl_json(world, &["-H", "Content-Type: application/json", "-d", &body], "/v1/containers", 201)
}

fn now(world: &Docker, container: &Value) -> Value {
    curl_json(world, &[], uri(container), 200)
}

fn stop_and_start(world: &Docker, container: &Value) -> Value {
    curl_json(world, &["-X", "PATCH", "-d", "status=stopped"], uri(container), 200);
    wait_for("the stop", MOMENT, || now(world, container)["status"] == "stopped");
    curl_json(world, &["-X", "PATCH", "-d", "status=running"], uri(container), 200)
}

/// A new sandbox, whose port answers by now.
fn boot<S: Service>(world: &Docker, mut service: S) -> (S, Value) {
    let container = create(world, service.image(), &json!({"REPORT_WINDOW": RECENTLY}));
    let began = Instant::now();
    wait_for(&format!("{} to answer", service.image()), BOOT, || service.answers(&container));
    eprintln!("{} answered after {:?}", service.image(), began.elapsed());
    (service, container)
}

/// The life of a sandbox: used, left open, stopped, and there again.
fn live(world: &Docker, learner: &Learner, (mut service, container): (impl Service, Value)) {
    let image = service.image();
    let reported = || now(world, &container)["last_check_in_at"].is_string();
    wait_for(&format!("{image} to report"), FIRST_REPORT, reported);
    assert_eq!(learner.run(&container, &["sudo", "-n", "id", "-un"]), "root", "{image}");
    service.leave(&container);
    wait_for(&format!("{image} to report its use by itself"), FIRST_REPORT, || {
        service.go_on(&container);
        now(world, &container)["active"] != "0"
    });
    service.pause(&container);
    wait_for(&format!("{image} to report that it is used no more"), MOMENT, || {
        docker(&["exec", id(&container), "spindle-report", "-v"]).contains(" 0 from hooks: reported 0 to ")
    });
    assert_eq!(now(world, &container)["active"], "0", "{image}");

    let again = stop_and_start(world, &container);
    assert_eq!((&again["ports"], &again["app_port"]), (&container["ports"], &container["app_port"]), "{image}");
    wait_for(&format!("{image} to answer again"), BOOT, || service.answers(&again));
    assert!(service.is_still_there(&again), "{image}");
    // Another host key would be refused here, as the first one is known.
    assert_eq!(learner.run(&again, &["id", "-un"]), "student", "{image}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_image_answers_soon_reports_its_use_and_keeps_its_data() {
    let (world, learner) = lab(&[]).await;
    // One after another, so that the ten seconds are each image's own; then side by side, as the reporter takes its minute.
    let (postgres, django) = (boot(&world, Postgres::default()), boot(&world, Django));
    let jupyter = boot(&world, Jupyter::default());
    thread::scope(|scope| {
        scope.spawn(|| live(&world, &learner, postgres));
        scope.spawn(|| live(&world, &learner, django));
        live(&world, &learner, jupyter);
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_supervisor_keeps_ssh_alive_and_ends_at_once() {
    let (world, learner) = lab(&[]).await;
    let c = create(&world, "spindle/base", &json!({"TZ": "europe/berlin"}));
    wait_for_ssh(&c);
    let zone = learner.run(&c, &["date", "+%Z"]);
    assert!(["CET", "CEST"].contains(&zone.as_str()), "{zone}");
    assert_eq!(learner.run(&c, &["sudo", "-n", "id", "-un"]), "root");
    // The oldest is the one that listens.
    let listener = || docker(&["exec", id(&c), "pgrep", "-o", "-x", "sshd"]);
    let first = listener();
    docker(&["exec", id(&c), "kill", "-KILL", &first]);
    wait_for("another sshd", MOMENT, || {
        let output = learner.ssh(&c, &[], "student", &["true"]).stdin(Stdio::null()).output().unwrap();
        output.status.success()
    });
    assert_ne!(listener(), first);

    let began = Instant::now();
    docker(&["stop", id(&c)]);
    // Less than a second on an idle machine; a program that does not listen would be killed after ten.
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

/// The first Dockerfile under that heading of images/README.md.
fn dockerfile_under(heading: &str) -> String {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("images/README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let (_, section) = readme.split_once(&format!("\n## {heading}\n")).expect("the heading is there");
    let (_, block) = section.split_once("```dockerfile\n").expect("a Dockerfile is there");
    block.split_once("```").unwrap().0.to_owned()
}

/// Whether packages can be fetched while an image is built. Not so on an engine whose network has no way out, such as that
/// of `scripts/second-engine.sh`.
fn packages_can_be_had() -> bool {
    let routes = std::fs::read_to_string("/proc/net/route").unwrap();
    let has_way_out = routes.lines().any(|route| route.split_whitespace().nth(1) == Some("00000000"));
    if !has_way_out {
        println!("skipped: the packages of the image cannot be fetched, since this network has no way out");
    }
    has_way_out
}

/// An image that goes away with this.
struct Built {
    tag: String,
}

impl Built {
    fn new(tag: String, dockerfile: &str) -> Self {
        let mut build = Command::new("docker");
        build.args(["build", "-q", "-t", &tag, "-"]).stdin(Stdio::piped());
        let mut build = build.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        build.stdin.take().unwrap().write_all(dockerfile.as_bytes()).unwrap();
        let output = build.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        Self { tag }
    }
}

impl Drop for Built {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["image", "rm", "-f", &self.tag]).output();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_five_lines_of_the_readme_make_any_image_report() {
    if !packages_can_be_had() {
        return;
    }
    let world = Docker::start(&[]).await;
    let five_lines = dockerfile_under("Make any image report");
    assert_eq!(five_lines.lines().count(), 5, "{five_lines}");
    // As it stands it has bash to speak with; the other has wget alone.
    let by_wget = "RUN apt-get update && apt-get install -y --no-install-recommends wget && rm /bin/bash\n";
    for (name, dockerfile) in [("bash", five_lines.clone()), ("wget", format!("{five_lines}{by_wget}"))] {
        let image = Built::new(format!("spindle-{}:{name}", world.deployment), &dockerfile);
        let c = create(&world, &image.tag, &json!({}));
        wait_for("the first report", FIRST_REPORT, || now(&world, &c)["last_check_in_at"].is_string());
        assert_eq!(now(&world, &c)["active"], "0");
        let report = |jobs: &str| {
            docker(&["exec", id(&c), "sh", "-c", jobs]);
            docker(&["exec", id(&c), "spindle-report", "-v"])
        };
        let said = report("mkdir -p /srv/jobs && touch /srv/jobs/a /srv/jobs/b");
        assert!(said.contains("2 from hooks: reported 2 to ") && said.ends_with("answer 200"), "{name}: {said}");
        assert_eq!(now(&world, &c)["active"], "2");
        assert!(report("rm /srv/jobs/*").contains("0 from hooks: reported 0 to "), "{name}");
        world.http().delete(&c).await.expect(204);
    }
}

const IMAGES: [&str; 4] = ["spindle/base", "spindle/postgres", "spindle/django", "spindle/jupyter"];

/// Whether two lines of what `docker save` shows, where every zero byte ends a line, are the name and the mode of a file,
/// or the first of them gives somebody a password or asks for none.
fn is_secret(line: &str, next: &str) -> bool {
    let is_file = next.len() == 7 && next.chars().all(|c| c.is_digit(8));
    let fields: Vec<&str> = line.split(':').collect();
    let is_password = fields.len() == 9 && (fields[1].is_empty() || fields[1].starts_with('$'));
    is_file || is_password
}

/// In any layer: what a later one takes away is still handed on with the image.
#[test]
fn no_layer_of_an_image_holds_a_key_file_or_a_password() {
    let names = r"(^|/)(ssh_host_[a-z0-9]+_key|id_[a-z0-9]+|ssl-cert-snakeoil\.key|\.pgpass|\.secret_key|jupyter_cookie_secret)$";
    let pattern = format!(r"{names}|^[a-z_][a-z0-9_-]*:(\$[^:]+)?:[0-9]*:");
    let script = r#"pattern=$1; shift; docker save "$@" | tr -s '\0' '\n' | grep -aE -A1 "$pattern""#;
    let mut search = Command::new("sh");
    search.args(["-c", script, "sh", &pattern]).args(IMAGES).stdout(Stdio::piped());
    let mut search = search.spawn().unwrap();
    let lines = BufReader::new(search.stdout.take().unwrap()).split(b'\n');
    let lines: Vec<String> = lines.map(|line| String::from_utf8_lossy(&line.unwrap()).into_owned()).collect();
    search.wait().unwrap();
    // Programs that read keys have these names in them: so the search itself works.
    assert!(lines.iter().any(|l| l.ends_with("/etc/ssh/ssh_host_ed25519_key")), "{} lines", lines.len());
    let found: Vec<_> = lines.windows(2).filter(|pair| is_secret(&pair[0], &pair[1])).collect();
    assert!(found.is_empty(), "{found:#?}");
}

/// Whatever it is called. Libraries, which test themselves with keys that everybody knows, are no text and not looked at.
#[test]
fn no_image_holds_a_private_key() {
    let pattern = "^-----BEGIN ([A-Z]+ )*PRIVATE KEY( BLOCK)?-----";
    for image in IMAGES {
        let mut search = Command::new("docker");
        search.args(["run", "--rm", "--network", "none", "--entrypoint", "grep", image, "-rIlE"]);
        let found = search.args(["--exclude-dir=proc", "--exclude-dir=sys", "-e", pattern, "/"]).output().unwrap();
        assert_eq!((found.status.code(), said(&found)), (Some(1), String::new()), "{image}");
        let label = |name: &str| {
            docker(&["image", "inspect", "-f", &format!("{{{{index .Config.Labels \"spindle.{name}\"}}}}"), image])
        };
        assert!(!label("title").is_empty() && !label("description").is_empty(), "{image} says what it is");
    }
}
