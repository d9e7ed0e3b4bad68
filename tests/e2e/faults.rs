//! Faults of the world around: others remove what is ours, and files are lost.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{
    clients::{host_ports, text, wait_for_mimic},
    records::{count, lose_database, reserved_ports, sandbox_directories, sandbox_files},
};
use crate::support::{
    Body, World,
    docker::{Docker, docker, try_docker, wait_for},
    id, is, uri,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_removed_during_its_stop_is_forgotten_with_its_ports() {
    let world = Docker::start(&[("PORT_RANGE", "29840-29841")]).await;
    let body = json!({"image": "spindle/mimic", "env": {"MIMIC_IGNORE_TERM": "1"}});
    let c = world.http().send("POST", "/v1/containers", Body::Json(body)).await.expect(201).json();
    wait_for_mimic(&c);
    world.http().patch(&c, "status=stopped").await.expect(200);
    assert_eq!(world.http().now(&c).await["status"], "stopping");
    world.remove_behind_back(&c).await;
    let removed = Instant::now();
    world.until_status(&c, 404, Duration::from_secs(20)).await;
    assert!(removed.elapsed() < Duration::from_secs(5), "it was noticed after {:?}", removed.elapsed());
    assert_eq!(world.http().get("/v1/containers").await.json(), json!([]));
    wait_for("the ports", Duration::from_secs(5), || reserved_ports(&world) == 0);
    wait_for("the directory", Duration::from_secs(5), || sandbox_directories(&world).is_empty());
    let next = world.http().create("image=spindle/mimic").await;
    assert_eq!(host_ports(&next).len(), 2, "the range has these two ports only");
}

/// An image's name of the test's own, that goes with it.
struct Tag(String);

impl Tag {
    fn new(world: &Docker) -> Self {
        let tag = format!("spindle/mimic:{}", world.deployment);
        docker(&["tag", "spindle/mimic:latest", &tag]);
        Self(tag)
    }
}

impl Drop for Tag {
    fn drop(&mut self) {
        try_docker(&["rmi", &self.0]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_removed_between_check_and_create_is_not_found() {
    let world = Docker::start(&[("START_CONCURRENCY", "1")]).await;
    let tag = Tag::new(&world);
    let create = |image: &str| {
        let (http, form) = (world.http().clone(), format!("image={image}"));
        tokio::spawn(async move { http.send("POST", "/v1/containers", Body::Form(&form)).await })
    };
    // One at a time: whoever comes last has had its image checked, and waits.
    let ahead: Vec<_> = (0..6).map(|_| create("spindle/mimic")).collect();
    wait_for("the line", Duration::from_secs(20), || count(&world, "SELECT count(*) FROM sandboxes") == 6);
    let last = create(&tag.0);
    let waiting = format!("SELECT count(*) FROM sandboxes WHERE image = '{}' AND container IS NULL", tag.0);
    wait_for("the last in the line", Duration::from_secs(20), || count(&world, &waiting) == 1);
    docker(&["rmi", &tag.0]);
    let message = last.await.unwrap().expect_error(404, "image_not_found");
    assert_eq!(message, format!("Image {} not found on this server", tag.0));
    for answer in ahead {
        answer.await.unwrap().expect(201);
    }
    assert_eq!((world.held().await.len(), reserved_ports(&world)), (6, 12));
    assert_eq!(sandbox_directories(&world).len(), 6);
}

/// What of a container must be the same when its record has been rebuilt.
fn lasting(container: &Value) -> Value {
    let keys = [
        "container_id",
        "name",
        "image",
        "status",
        "uri",
        "ssh_port",
        "app_port",
        "ports",
        "created_at",
        "idle_timeout",
        "memory",
        "cpus",
        "labels",
    ];
    keys.iter().map(|key| (key.to_string(), container[key].clone())).collect::<serde_json::Map<_, _>>().into()
}

/// A stop that is under way holds the sandbox's turn, so that a delete and whoever wants the name remove it side by side.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_is_free_after_a_delete_amid_a_stop() {
    let world = Docker::start(&[]).await;
    let body = json!({"image": "spindle/mimic", "name": "phoenix", "env": {"MIMIC_IGNORE_TERM": "1"}});
    for _ in 0..5 {
        let c = world.http().send("POST", "/v1/containers", Body::Json(body.clone())).await.expect(201).json();
        world.http().patch(&c, "status=stopped").await.expect(200);
        assert_eq!(world.http().now(&c).await["status"], "stopping");
        world.http().delete(&c).await.expect(204);
    }
    let last = world.http().create("image=spindle/mimic&name=phoenix").await;
    world.http().delete(&last).await.expect(204);
    world.until_none_is_held().await;
    let health = world.http().get("/v1/health").await.expect(200).json();
    assert_eq!(health["last_pass"]["failing"], 0, "{health}");
}

/// `docker rm` leaves what it was not told to remove.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_removal_behind_our_back_leaves_goes_too() {
    let world = Docker::start(&[]).await;
    let c = world.http().create("image=spindle/mimic").await;
    let filter = format!("label=spindle.deployment={}", world.deployment);
    let volumes = || world.docker(&["volume", "ls", "-q", "--filter", &filter]);
    assert_eq!(volumes().lines().count(), 1, "its terminals");
    world.remove_behind_back(&c).await;
    wait_for("its volume to go", Duration::from_secs(10), || volumes().is_empty());
    world.until_status(&c, 404, Duration::from_secs(10)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_database_is_rebuilt_from_the_containers() {
    let mut world = Docker::start(&[]).await;
    let form = "image=spindle/mimic:many&name=rebuilt&idle_timeout=600&memory=64m&cpus=0.25&labels=course=db,group=a";
    let full = world.http().create(form).await;
    let plain = world.http().create("image=spindle/mimic").await;
    let stopped = world.http().create("image=spindle/mimic&idle_timeout=never").await;
    world.http().patch(&stopped, "status=stopped").await.expect(200);
    let stopped = world.until(&stopped, is("stopped")).await;
    assert_eq!(world.end("TERM"), Some(0));
    lose_database(&world);
    let back = Timestamp::now();
    world.spawn();
    world.until_well().await;
    for c in [&full, &plain, &stopped] {
        world.until_status(c, 200, Duration::from_secs(10)).await;
        assert_eq!(lasting(&world.http().now(c).await), lasting(c));
    }
    let now = world.http().now(&full).await;
    let stops_at: Timestamp = text(&now, "stops_at").parse().unwrap();
    assert!(stops_at >= back + SignedDuration::from_secs(600), "its clock starts anew: {now}");
    assert_eq!(world.http().get("/v1/containers").await.json().as_array().unwrap().len(), 3);

    assert_eq!(world.check_in(&full, "active-connections=4").await, 200);
    assert_eq!(world.http().now(&full).await["active"], "4", "the address is known");
    let header = format!("X-Spindle-Token: {}", world.token(&plain).await);
    world.check_in_at(&full, "/v1/check-in", "active-connections=5", &header).await;
    assert_eq!(world.http().now(&plain).await["active"], "5", "the token is known");
    let again = world.http().patch(&stopped, "status=running").await.expect(200).json();
    assert_eq!(again["ports"], stopped["ports"]);
    let other = world.http().create("image=spindle/mimic").await;
    let old: Vec<u16> = [&full, &plain, &stopped].into_iter().flat_map(host_ports).collect();
    assert!(host_ports(&other).iter().all(|port| !old.contains(port)), "their ports are reserved again");
    for c in [&full, &plain, &stopped, &other] {
        world.http().delete(c).await.expect(204);
        world.http().get(uri(c)).await.expect(404);
    }
    world.until_none_is_held().await;
    wait_for("the ports", Duration::from_secs(5), || reserved_ports(&world) == 0);
}

/// What may change after a container's creation, as the API shows it.
fn changeable(container: &Value) -> Value {
    let keys = ["name", "idle_timeout", "connection_cap", "max_age", "warn_before", "evidence", "wake", "keep_until"];
    keys.into_iter().chain(["labels", "memory", "cpus"]).map(|key| json!([key, container[key]])).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_changed_survives_the_loss_of_the_database() {
    let mut world = Docker::start(&[]).await;
    let limits = world.http().create("image=spindle/mimic&name=limits&idle_timeout=600&max_age=1d").await;
    let kept = world.http().create("image=spindle/mimic&name=kept&keep_until=2036-12-24T18:00:00Z").await;
    let inside = world.http().create("image=spindle/mimic&name=inside").await;
    let form = "idle_timeout=1200&max_age=default&evidence=check_in&wake=always&keep_until=2036-12-24T18:00:00.5Z";
    world.http().patch(&limits, form).await.expect(200);
    assert_eq!(world.check_in(&inside, "keep=2h").await, 200);
    let mut all = [limits, kept, inside];
    for c in &mut all {
        *c = world.http().now(c).await;
        let seen = docker(&["exec", "-u", "0", id(c), "ls", "-A", "/run/spindle"]);
        assert!(seen.contains("token") && !seen.contains("json"), "root inside sees {seen}");
    }
    // Nothing is left to do at the end.
    world.end("KILL");
    lose_database(&world);
    world.spawn();
    world.until_well().await;
    for c in &all {
        world.until_status(c, 200, Duration::from_secs(10)).await;
        assert_eq!(changeable(&world.http().now(c).await), changeable(c));
        world.http().delete(c).await.expect(204);
    }
    wait_for("nothing is left of them", Duration::from_secs(10), || sandbox_files(&world).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_written_down_is_refused_unless_it_is_use() {
    let world = Docker::start(&[]).await;
    let c = world.http().create("image=spindle/mimic").await;
    let amendment = sandbox_files(&world).into_iter().find(|path| path.is_file()).unwrap();
    let in_the_way = amendment.with_extension("json.new");
    std::fs::create_dir(&in_the_way).unwrap();
    let why = world.http().patch(&c, "idle_timeout=1200").await.expect_error(503, "files_unavailable");
    assert!(why.contains(".json cannot be written"), "{why}");
    assert_eq!(world.http().now(&c).await["idle_timeout"], c["idle_timeout"]);
    assert_eq!(world.check_in(&c, "keep=2h").await, 200);
    assert!(world.http().now(&c).await["keep_until"].is_string());
    wait_for("the log", Duration::from_secs(10), || world.log().contains("what was changed is not written down"));
    std::fs::remove_dir(&in_the_way).unwrap();
    let is_written = || std::fs::read_to_string(&amendment).unwrap().contains(r#""keep_until":"2"#);
    wait_for("a pass that writes it down", Duration::from_secs(10), is_written);
    world.http().patch(&c, "idle_timeout=1200").await.expect(200);
}
