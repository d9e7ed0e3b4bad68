//! What an instructor does to Docker by hand, and what must come of it.

use std::time::Duration;

use serde_json::Value;

use super::records::{lose_database, sandbox_directories};
use crate::support::{
    Body, World,
    docker::{Docker, docker, try_docker, wait_for},
    id, is, uri,
};

/// `docker network prune` while nothing runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_was_removed_is_made_again() {
    let world = Docker::start(&[]).await;
    let c = world.http().create("image=spindle/mimic").await;
    world.http().patch(&c, "status=stopped").await.expect(200);
    world.until(&c, is("stopped")).await;
    docker(&["network", "rm", &world.deployment]);
    assert_eq!(world.http().patch(&c, "status=running").await.expect(200).json()["ports"], c["ports"]);
    assert_eq!(world.check_in(&c, "active-connections=2").await, 200);
    assert_eq!(world.http().now(&c).await["active"], "2");
    world.http().create("image=spindle/mimic").await;
}

/// What somebody makes from a sandbox's image carries our labels, and is none of ours for all that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containers_made_from_a_committed_sandbox_are_left_alone() {
    struct Foreign(String);
    impl Drop for Foreign {
        fn drop(&mut self) {
            for number in 0..2 {
                try_docker(&["rm", "-f", &format!("{}-{number}", self.0)]);
            }
            try_docker(&["rmi", &self.0]);
        }
    }
    let world = Docker::start(&[]).await;
    let foreign = Foreign(format!("foreign-{}", world.deployment));
    let c = world.http().create("image=spindle/mimic&idle_timeout=never").await;
    docker(&["commit", id(&c), &foreign.0]);
    world.http().delete(&c).await.expect(204);
    docker(&["create", "--name", &format!("{}-0", foreign.0), &foreign.0]);
    docker(&["run", "-d", "-m", "64m", "--cpus", "1", "--name", &format!("{}-1", foreign.0), &foreign.0]);
    for _ in 0..3 {
        assert_eq!(world.http().get("/v1/containers?audit=true").await.expect(200).json(), Value::Array(vec![]));
    }
    let format = "{{.State.Status}}";
    assert_eq!(docker(&["inspect", "-f", format, &format!("{}-0", foreign.0)]), "created");
    assert_eq!(docker(&["inspect", "-f", format, &format!("{}-1", foreign.0)]), "running");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_was_removed_is_furnished_again_at_the_next_start() {
    let world = Docker::start(&[]).await;
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti me";
    let c = world.http().create(&format!("image=spindle/mimic&ssh_key={key}")).await;
    let token = world.token(&c).await;
    for directory in sandbox_directories(&world) {
        std::fs::remove_dir_all(directory).unwrap();
    }
    world.http().patch(&c, "status=stopped").await.expect(200);
    world.until(&c, is("stopped")).await;
    world.http().patch(&c, "status=running").await.expect(200);
    assert_eq!(docker(&["exec", id(&c), "cat", "/run/spindle/authorized_keys"]), key);
    assert_eq!(world.token(&c).await, token);
    assert_eq!(docker(&["exec", id(&c), "cat", "/run/spindle/report_period"]), "1");
    assert!(docker(&["exec", id(&c), "cat", "/run/spindle/check_in_url"]).contains(&world.gateway()));
}

/// The records of stopped sandboxes are lost, and the first thing that happens is a create.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_create_waits_until_what_was_lost_is_adopted() {
    let mut world = Docker::start(&[("PORT_RANGE", "29850-29869")]).await;
    let mut lost = Vec::new();
    for _ in 0..4 {
        let c = world.http().create("image=spindle/mimic").await;
        world.http().patch(&c, "status=stopped").await.expect(200);
        world.until(&c, is("stopped")).await;
        lost.push(c);
    }
    assert_eq!(world.end("TERM"), Some(0));
    lose_database(&world);
    world.spawn();
    let client = &world.http().client;
    let health = format!("{}/v1/health", world.http().base);
    while client.get(&health).send().await.is_err() {
        tokio::task::yield_now().await;
    }
    let made = world.http().send("POST", "/v1/containers", Body::Form("image=spindle/mimic")).await.expect(201).json();
    for c in &lost {
        assert_eq!(world.http().get(uri(c)).await.expect(200).json()["ports"], c["ports"]);
        assert_ne!(made["ssh_port"], c["ssh_port"]);
    }
}

/// A container that was taken off the network has no address, and its old one speaks for whoever has it now.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_was_given_up_is_no_longer_its_owners() {
    let world = Docker::start(&[]).await;
    let before = world.http().create("image=spindle/mimic").await;
    let address = world.address(&before).await;
    docker(&["network", "disconnect", &world.deployment, id(&before)]);
    world.http().get("/v1/containers?audit=true").await.expect(200);
    let after = world.http().create("image=spindle/mimic").await;
    assert_eq!(world.address(&after).await, address, "Docker gives a free address to the next");
    wait_for("a pass that saw it", Duration::from_secs(10), || {
        super::records::count(&world, "SELECT count(*) FROM sandboxes WHERE address IS NULL") == 1
    });
    assert_eq!(world.check_in(&after, "active-connections=3").await, 200);
    assert_eq!(world.http().now(&after).await["active"], "3");
    assert_eq!(world.http().now(&before).await["active"], "0");
}
