//! The engine goes away and comes back, under load: nothing is lost, nothing is stopped.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{
    clients::{text, wait_for_mimic},
    private_engine::PrivateEngine,
};
use crate::support::{
    Answer, Body, Http, World,
    docker::{Docker, wait_for},
    id, is, uri,
};

const GRACE: SignedDuration = SignedDuration::from_secs(6);
/// How long the engine is away at least.
const OUTAGE: SignedDuration = SignedDuration::from_secs(60);
const SANDBOXES: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn an_engine_that_is_away_is_waited_for_and_nothing_is_lost() {
    let Some(mut engine) = PrivateEngine::new() else { return };
    // Shorter than the outage.
    let settings = [("IDLE_TIMEOUT", "8"), ("RESUME_GRACE", "6")];
    let mut world = Docker::prepare(Some(&engine.host()), &settings);
    world.spawn();
    let server = world.pid();
    away_at_the_start(&world).await;
    engine.start();
    engine.load("spindle/mimic:latest");
    world.until_well().await;
    let first = world.http().create("image=spindle/mimic").await;
    assert_eq!(world.check_in(&first, "active-connections=1").await, 200);
    assert_eq!(world.http().now(&first).await["active"], "1", "the door is open");
    world.http().delete(&first).await.expect(204);

    let creates = (0..SANDBOXES).map(|_| world.http().create("image=spindle/mimic"));
    let sandboxes: Vec<Value> = join_all(creates).await;
    let before: Vec<Value> = sandboxes.iter().map(|c| world.inspect(c)["State"]["StartedAt"].clone()).collect();
    let tokens: Vec<String> = join_all(sandboxes.iter().map(|c| world.token(c))).await;
    let load = Load::begin(world.http());
    engine.stop();
    down(&world, &sandboxes, &tokens[2]).await;
    let back = Timestamp::now();
    let reporters = Reporters::begin(&world, &tokens[1..]);
    engine.start();
    world.until_well().await;
    let late = load.end().await;
    assert_eq!(world.pid(), server);
    let after: Vec<Value> = sandboxes.iter().map(|c| world.inspect(c)["State"]["StartedAt"].clone()).collect();
    assert_eq!(after, before, "they ran through");
    for c in &sandboxes {
        assert_eq!(world.http().now(c).await["status"], "running");
    }
    everything_agrees(&world, &sandboxes, &late).await;
    only_the_silent_is_stopped_after_the_grace(&world, &sandboxes, back).await;
    reporters.end().await;
    println!("{} creates succeeded at the edges of the outage", late.len());
    engine.stop();
    engine.live_restore = false;
    engine.start();
    a_reboot_stops_all_and_loses_none(&world, sandboxes.len() + late.len()).await;
}

async fn health(world: &Docker) -> Answer {
    world.http().bare("GET", "/v1/health", Body::None, &[]).await
}

/// What is true whenever the engine is away.
async fn engine_is_away(world: &Docker) {
    let said = health(world).await.expect(503).json();
    assert_eq!((text(&said, "status"), text(&said["engine"], "status")), ("unavailable", "unavailable"));
    assert!(text(&said["engine"], "message").contains("does not answer"), "{said}");
    assert_eq!(said["database"]["status"], "ok");
    for (method, path) in [("POST", "/v1/containers"), ("GET", "/v1/images")] {
        let body = if method == "POST" { Body::Form("image=spindle/mimic") } else { Body::None };
        let answer = world.http().send(method, path, body).await;
        assert!(!answer.header("retry-after").is_empty());
        answer.expect_error(503, "engine_unavailable");
    }
}

async fn away_at_the_start(world: &Docker) {
    wait_for("the server", Duration::from_secs(20), || {
        std::net::TcpStream::connect(format!("127.0.0.1:{}", world.setting("PORT"))).is_ok()
    });
    engine_is_away(world).await;
    assert_eq!(world.http().get("/v1/containers").await.expect(200).json(), json!([]));
    world.http().get("/v1/containers?audit=true").await.expect_error(503, "engine_unavailable");
}

/// A client of the check-in door with a connection of its own: one that is kept is closed after 15 s, maybe just as it is used.
fn door(gateway: impl std::fmt::Display) -> Http {
    Http::new(format!("http://{gateway}"))
}

/// The engine is away for longer than anybody's limit. Who reports meanwhile is heard.
async fn down(world: &Docker, sandboxes: &[Value], token: &str) {
    wait_for("health to notice", Duration::from_secs(10), || super::clients::curl(world, &[], "/v1/health").0 == 503);
    let (one, two) = (&sandboxes[0], &sandboxes[1]);
    let overdue = sandboxes.iter().map(|c| text(c, "stops_at").parse::<Timestamp>().unwrap()).max().unwrap();
    let until = (overdue + SignedDuration::from_secs(2)).max(Timestamp::now() + OUTAGE);
    while Timestamp::now() < until {
        engine_is_away(world).await;
        let report = Body::Form("active-connections=3");
        door(world.gateway()).bare("POST", "/v1/check-in", report, &[("x-spindle-token", token)]).await.expect(200);
        world.http().patch(one, "status=stopped").await.expect_error(503, "engine_unavailable");
        world.http().delete(two).await.expect_error(503, "engine_unavailable");
        let listed = world.http().get("/v1/containers").await.expect(200).json();
        for c in sandboxes {
            let shown = listed.as_array().unwrap().iter().find(|l| id(l) == id(c));
            assert_eq!(shown.unwrap_or_else(|| panic!("{} is gone", id(c)))["status"], "running");
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let now = world.http().now(&sandboxes[2]).await;
    assert_eq!(now["active"], "3");
    assert!(text(&now, "stops_at").parse::<Timestamp>().unwrap() > Timestamp::now(), "{now}");
}

/// Clients that go on creating and listing, come what may.
struct Load {
    over: Arc<AtomicBool>,
    creators: Vec<JoinHandle<Vec<Value>>>,
}

impl Load {
    fn begin(http: &Http) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let creators = (0..3).map(|_| tokio::spawn(create_on_and_on(http.clone(), Arc::clone(&over)))).collect();
        Self { over, creators }
    }

    /// Ends it; what was created.
    async fn end(self) -> Vec<Value> {
        self.over.store(true, Ordering::Relaxed);
        join_all(self.creators).await.into_iter().flat_map(Result::unwrap).collect()
    }
}

async fn create_on_and_on(http: Http, over: Arc<AtomicBool>) -> Vec<Value> {
    let mut made = Vec::new();
    while !over.load(Ordering::Relaxed) {
        http.get("/v1/containers").await.expect(200);
        let form = Body::Form("image=spindle/mimic&idle_timeout=never");
        let answer = http.send("POST", "/v1/containers", form).await;
        if answer.status == 201 {
            made.push(answer.json());
        } else {
            answer.expect_error(503, "engine_unavailable");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    made
}

/// What the engine holds, what the API lists and what clients were told is the same.
async fn everything_agrees(world: &Docker, sandboxes: &[Value], late: &[Value]) {
    let mut told: Vec<&str> = sandboxes.iter().chain(late).map(id).collect();
    told.sort();
    let started = std::time::Instant::now();
    loop {
        let answer = world.http().get("/v1/containers").await.expect(200).json();
        let mut listed: Vec<&str> = answer.as_array().unwrap().iter().map(id).collect();
        let mut held = world.held().await;
        listed.sort();
        held.sort();
        if listed == told && held == told {
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(10), "told {told:#?}\nlisted {listed:#?}\nheld {held:#?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Sandboxes that check in again and again. From here, as a program inside takes long to start while the machine is busy.
struct Reporters {
    over: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Reporters {
    fn begin(world: &Docker, tokens: &[String]) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (gateway, tokens, ended) = (world.gateway(), tokens.to_vec(), over.clone());
        let task = tokio::spawn(async move {
            while !ended.load(Ordering::Relaxed) {
                for token in &tokens {
                    let form = Body::Form("active-connections=1");
                    let reporter = door(&gateway);
                    reporter.bare("POST", "/v1/check-in", form, &[("x-spindle-token", token)]).await.expect(200);
                }
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        });
        Self { over, task }
    }

    async fn end(self) {
        self.over.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
    }
}

/// All but the first check in until that one is stopped, which must not be before everybody had the chance to.
async fn only_the_silent_is_stopped_after_the_grace(world: &Docker, sandboxes: &[Value], back: Timestamp) {
    let (silent, busy) = sandboxes.split_first().unwrap();
    let stopped = world.until(silent, is("stopped")).await;
    assert_eq!(stopped["stopped_reason"], "idle");
    assert!(text(&stopped, "stopped_at").parse::<Timestamp>().unwrap() >= back + GRACE, "within the grace: {stopped}");
    for c in busy {
        assert_eq!(world.http().now(c).await["status"], "running", "{}", uri(c));
    }
}

/// Everything has ended with the machine: the records say so, and a start brings back the same.
async fn a_reboot_stops_all_and_loses_none(world: &Docker, expected: usize) {
    world.until_well().await;
    let all = world.http().get("/v1/containers").await.expect(200).json();
    let all = all.as_array().unwrap();
    assert_eq!(all.len(), expected);
    let mut by_engine = 0;
    for c in all {
        let stopped = world.until(c, is("stopped")).await;
        assert_eq!(stopped["ports"], c["ports"]);
        assert_ne!(stopped["stopped_reason"], "exited", "none of them ended by itself: {stopped}");
        by_engine += usize::from(stopped["stopped_reason"] == "engine");
    }
    assert!(by_engine > 0, "those that ran were ended with the engine");
    let again = world.http().patch(&all[1], "status=running").await.expect(200).json();
    assert_eq!((id(&again), &again["ports"]), (id(&all[1]), &all[1]["ports"]));
    wait_for_mimic(&again);
    assert_eq!(world.check_in(&again, "active-connections=1").await, 200);
    assert_eq!(world.http().now(&again).await["active"], "1");
}
