//! Figures on a real Prometheus, of Debian's package: it reads them, and knows every figure that alerts and dashboard
//! ask for. `make test` fetches it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::Value;

use crate::support::{Body, Http, World, docker::Docker, free_port};

const FILES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/ansible/files");

/// A Prometheus that reads one server each second.
struct Prometheus {
    child: Child,
    http: Http,
}

impl Prometheus {
    fn of(programs: &Path, server: &str, directory: &Path) -> Self {
        let (port, config) = (free_port(), directory.join("prometheus.yml"));
        let text = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [{FILES}/spindle-alerts.yml]\n\
             scrape_configs: [{{job_name: spindle, static_configs: [{{targets: ['{server}']}}]}}]\n"
        );
        fs::write(&config, text).unwrap();
        let log = fs::File::create(directory.join("prometheus.log")).unwrap();
        let mut serve = Command::new(programs.join("prometheus"));
        serve.arg(format!("--config.file={}", config.display()));
        serve.arg(format!("--storage.tsdb.path={}", directory.join("prometheus").display()));
        serve.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        let child = serve.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        Self { child, http: Http::new(format!("http://127.0.0.1:{port}")) }
    }

    /// Whether it answers.
    async fn is_ready(&self) -> bool {
        let asked = self.http.client.get(format!("{}/-/ready", self.http.base)).send().await;
        asked.is_ok_and(|answer| answer.status() == 200)
    }

    /// What an expression yields.
    async fn ask(&self, expression: &str) -> Vec<Value> {
        let url = format!("{}/api/v1/query", self.http.base);
        let asked = self.http.client.post(url).form(&[("query", expression)]).send().await;
        let answer: Value = asked.unwrap().json().await.unwrap();
        assert_eq!(answer["status"], "success", "{expression}: {answer}");
        answer["data"]["result"].as_array().unwrap().clone()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Every text under one of `keys` in a tree of JSON.
fn texts(value: &Value, key: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(name, value)| match value {
            Value::String(text) if name == key => found.push(text.clone()),
            value => texts(value, key, found),
        }),
        Value::Array(all) => all.iter().for_each(|value| texts(value, key, found)),
        _ => {}
    }
}

/// The names of figures in an expression.
fn names(expression: &str) -> impl Iterator<Item = &str> {
    let words = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| ["spindle_", "process_"].iter().any(|prefix| word.starts_with(prefix)))
}

#[tokio::test]
async fn prometheus_reads_the_figures_and_knows_all_that_is_asked_for() {
    let programs = PathBuf::from(std::env::var("SPINDLE_TEST_PROMETHEUS").unwrap_or("/usr/bin".into()));
    if !programs.join("prometheus").exists() {
        eprintln!("skipped: there is no prometheus; make test fetches it");
        return;
    }
    let rules = Path::new(FILES).join("spindle-alerts.yml");
    let checked = Command::new(programs.join("promtool")).args(["check", "rules"]).arg(&rules).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));

    let world = Docker::start(&[]).await;
    let c = world.http().create("image=spindle/mimic").await;
    assert_eq!(world.check_in(&c, "active=1").await, 200);
    world.http().patch(&c, "status=stopped").await.expect(200);
    world.until(&c, |c| c["status"] == "stopped").await;
    let server = world.http().base.trim_start_matches("http://").to_owned();
    let prometheus = Prometheus::of(&programs, &server, world.log_path().parent().unwrap());
    let started = std::time::Instant::now();
    while !prometheus.is_ready().await
        || prometheus.ask("spindle_stops_total{reason=\"requested\"} == 1").await.is_empty()
    {
        assert!(started.elapsed() < Duration::from_secs(30), "it reads nothing");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(prometheus.ask("up{job=\"spindle\"} == 1").await.len(), 1);

    let mut asked = Vec::new();
    let dashboard = fs::read_to_string(Path::new(FILES).join("spindle-dashboard.json")).unwrap();
    texts(&serde_json::from_str(&dashboard).unwrap(), "expr", &mut asked);
    let panels = asked.len();
    let told = prometheus.http.bare("GET", "/api/v1/rules", Body::None, &[]).await.expect(200).json();
    texts(&told, "query", &mut asked);
    assert!(panels > 15 && asked.len() - panels > 10, "the expressions are found: {asked:?}");
    for expression in &asked {
        prometheus.ask(&expression.replace("$__rate_interval", "1m")).await;
        for name in names(expression) {
            assert!(
                !prometheus.ask(name).await.is_empty(),
                "nothing has the figure {name}, which {expression} asks for"
            );
        }
    }
    let mut firing = Vec::new();
    for alert in prometheus.ask("ALERTS{alertstate=\"firing\"}").await {
        firing.push(alert["metric"]["alertname"].to_string());
    }
    assert!(firing.is_empty(), "all is well, and yet there is {firing:?}");
    world.http().delete(&c).await.expect(204);
    world.until_none_is_held().await;
}
