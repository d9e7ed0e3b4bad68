//! kill -9 at random moments: what Docker holds and what the API lists agree soon after the restart.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::Value;
use tokio::task::JoinHandle;

use super::records::{reserved_ports, sandbox_files};
use crate::support::{
    Http, World,
    docker::{Docker, wait_for},
    id, uri,
};

const ROUNDS: usize = 5;
const IN_FLIGHT: usize = 50;

/// What the issue allows from the restart to agreement.
const SOON: Duration = Duration::from_secs(5);

/// Random numbers that a seed repeats (SplitMix64).
struct Random(u64);

impl Random {
    fn seeded() -> Self {
        let given = std::env::var("TEST_SEED").ok().map(|seed| seed.parse().expect("TEST_SEED is a number"));
        let seed = given.unwrap_or_else(|| jiff::Timestamp::now().as_nanosecond() as u64);
        println!("TEST_SEED={seed}");
        Self(seed)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// Something asked of the server, and what it must mean if the answer arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Deed {
    Create,
    Stop,
    Start,
    Delete,
}

/// A deed whose success was told, with the container's id.
type Told = Option<(Deed, String)>;

async fn ask(http: Http, deed: Deed, container: Option<Value>) -> Told {
    let path = container.as_ref().map_or("/v1/containers", uri);
    let (method, form, good) = match deed {
        Deed::Create => (Method::POST, "image=spindle/mimic", 201),
        Deed::Stop => (Method::PATCH, "status=stopped", 200),
        Deed::Start => (Method::PATCH, "status=running", 200),
        Deed::Delete => (Method::DELETE, "", 204),
    };
    let request = http.client.request(method, format!("{}{path}", http.base)).basic_auth("admin", Some("spindocker"));
    let request = request.header("content-type", "application/x-www-form-urlencoded").body(form);
    // The connection breaks when the server is killed: then nothing was told.
    let response = request.send().await.ok()?;
    assert_eq!(response.status().as_u16(), good, "{deed:?}");
    let body = response.text().await.ok()?;
    let shown = if body.is_empty() { container? } else { serde_json::from_str(&body).ok()? };
    Some((deed, id(&shown).to_owned()))
}

fn listed(answer: &Value) -> Vec<Value> {
    answer.as_array().unwrap().clone()
}

/// Begins as many requests at once as the issue says: to half of the containers a stop or a start, to a
/// quarter a delete, and creates for the rest.
async fn storm(world: &Docker, random: &mut Random) -> Vec<JoinHandle<Told>> {
    let mut deeds: Vec<(Deed, Option<Value>)> = Vec::new();
    for c in listed(&world.http().get("/v1/containers").await.expect(200).json()) {
        match random.below(4) {
            0 => deeds.push((Deed::Delete, Some(c))),
            1 | 2 if c["status"] == "running" => deeds.push((Deed::Stop, Some(c))),
            1 | 2 => deeds.push((Deed::Start, Some(c))),
            _ => {}
        }
    }
    deeds.truncate(IN_FLIGHT);
    deeds.resize(IN_FLIGHT, (Deed::Create, None));
    for at in (1..deeds.len()).rev() {
        deeds.swap(at, random.below(at as u64 + 1) as usize);
    }
    deeds.into_iter().map(|(deed, c)| tokio::spawn(ask(world.http().clone(), deed, c))).collect()
}

/// The containers, and whether each runs; while something is still being stopped there is no saying.
async fn shown_by_api(world: &Docker) -> Option<BTreeMap<String, bool>> {
    let all = listed(&world.http().get("/v1/containers").await.expect(200).json());
    let settled = all.iter().all(|c| c["status"] != "stopping");
    settled.then(|| all.iter().map(|c| (id(c).to_owned(), c["status"] == "running")).collect())
}

fn shown_by_docker(world: &Docker) -> BTreeMap<String, bool> {
    let label = format!("label=spindle.deployment={}", world.deployment);
    let lines = world.docker(&["ps", "-a", "--no-trunc", "--filter", &label, "--format", "{{.ID}} {{.State}}"]);
    lines.lines().filter_map(|l| l.split_once(' ')).map(|(id, state)| (id.to_owned(), state == "running")).collect()
}

/// Waits until both show the same, and nothing else is kept for anybody; gives what they show.
async fn agreement(world: &Docker, since: Instant) -> BTreeMap<String, bool> {
    loop {
        let held = shown_by_docker(world);
        let listed = shown_by_api(world).await;
        // A mimic has two ports, a directory and an amendment.
        let kept = (reserved_ports(world), sandbox_files(world).len());
        if listed.as_ref() == Some(&held) && kept == (2 * held.len() as i64, 2 * held.len()) {
            return held;
        }
        assert!(
            since.elapsed() < SOON,
            "no agreement:\nDocker holds {held:#?}\nthe API lists {listed:#?}\nports and files: {kept:?}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn check_told(told: &[(Deed, String)], held: &BTreeMap<String, bool>) {
    for (deed, id) in told {
        let expected = match deed {
            Deed::Create | Deed::Start => Some(&true),
            Deed::Stop => Some(&false),
            Deed::Delete => None,
        };
        assert_eq!(held.get(id), expected, "{deed:?} of {id} was told to have succeeded");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_kill_9_docker_and_the_api_agree_within_five_seconds() {
    let mut random = Random::seeded();
    let mut world = Docker::start(&[("PORT_RANGE", "29000-29399")]).await;
    for round in 0..ROUNDS {
        let begun = Instant::now();
        let deeds = storm(&world, &mut random).await;
        let life = Duration::from_millis(50 + random.below(5_000));
        tokio::time::sleep(life.saturating_sub(begun.elapsed())).await;
        world.end("KILL");
        let told: Vec<_> = join_all(deeds).await.into_iter().filter_map(|told| told.unwrap()).collect();
        let restarted = Instant::now();
        world.spawn();
        world.until_well().await;
        let held = agreement(&world, restarted).await;
        let took = restarted.elapsed();
        println!("round {round}: killed after {life:?}, {} told, {} held, agreed in {took:?}", told.len(), held.len());
        check_told(&told, &held);
    }
    let all = listed(&world.http().get("/v1/containers").await.expect(200).json());
    for answer in join_all(all.iter().map(|c| world.http().delete(c))).await {
        answer.expect(204);
    }
    // A new server looks at everything once more.
    world.restart().await;
    wait_for("nothing", SOON, || shown_by_docker(&world).is_empty());
    wait_for("nothing of them", SOON, || (reserved_ports(&world), sandbox_files(&world).len()) == (0, 0));
}
