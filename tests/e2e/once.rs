//! kill -9 of the server amid a request that its client then repeats, on real Docker.

use std::{process::Stdio, time::Duration};

use serde_json::Value;

use super::clients::{curl, curl_json};
use crate::support::{
    World,
    docker::{Docker, wait_for},
    id,
};

/// When the server is killed, in milliseconds after the request was sent.
const AFTER: [u64; 5] = [20, 120, 300, 500, 900];

/// Sends a request with curl, and kills the server so many milliseconds later.
fn cut_off(world: &mut Docker, arguments: &[&str], path: &str, after: u64) {
    let mut curl = std::process::Command::new("curl");
    curl.args(["-s", "-m", "20", "-u", "admin:spindocker"]).args(arguments);
    curl.arg(format!("http://127.0.0.1:{}{path}", world.setting("PORT"))).stdout(Stdio::null());
    let mut curl = curl.spawn().unwrap();
    // Nothing is waited for: this is the moment of the fault.
    std::thread::sleep(Duration::from_millis(after));
    world.end("KILL");
    curl.wait().unwrap();
}

async fn agrees(world: &Docker, ids: &[&str]) {
    let mut held = world.held().await;
    held.sort();
    assert_eq!(held, ids);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_creation_that_is_killed_and_repeated_makes_one() {
    let mut world = Docker::start(&[]).await;
    for after in AFTER {
        let key = format!("Idempotency-Key: killed-{after}");
        let form = ["-H", &key, "-d", "image=spindle/mimic"];
        cut_off(&mut world, &form, "/v1/containers", after);
        world.spawn();
        world.until_well().await;
        let (status, first) = curl(&world, &form, "/v1/containers");
        assert!([200, 201].contains(&status), "{status} {first}");
        let first: Value = serde_json::from_str(&first).unwrap();
        let again = curl_json(&world, &form, "/v1/containers", 200);
        assert_eq!(id(&first), id(&again));
        let all = curl_json(&world, &[], "/v1/containers", 200);
        assert_eq!(all.as_array().unwrap().len(), 1, "killed after {after} ms: {all}");
        agrees(&world, &[id(&first)]).await;
        assert_eq!(curl(&world, &["-X", "DELETE"], &format!("/v1/containers/{}", id(&first))).0, 204);
        world.until_none_is_held().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_that_is_killed_is_finished_by_the_next_server() {
    let mut world = Docker::start(&[]).await;
    let c = curl_json(&world, &["-d", "image=spindle/mimic", "-d", "name=reset"], "/v1/containers", 201);
    for after in AFTER {
        cut_off(&mut world, &["-d", "confirm=true"], &format!("/v1/containers/{}/reset", id(&c)), after);
        world.spawn();
        world.until_well().await;
        let now = || curl_json(&world, &[], &format!("/v1/containers/{}", id(&c)), 200);
        wait_for("the reset", Duration::from_secs(15), || now()["status"] == "running");
        let now = now();
        assert_eq!((&now["name"], &now["ports"]), (&c["name"], &c["ports"]), "killed after {after} ms");
        agrees(&world, &[id(&now)]).await;
    }
}
