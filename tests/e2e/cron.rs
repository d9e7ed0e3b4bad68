//! The lab image's own reports. A file of its own, early in the alphabet, as cron takes its minute while
//! the other tests go on.

use std::{process::Stdio, time::Duration};

use super::clients::{Learner, curl_json, wait_for_ssh};
use crate::support::{
    World,
    docker::{Docker, docker, wait_for},
    id, uri,
};

/// Cron's minute, and some.
const A_MINUTE: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_reported_by_the_image_itself_each_minute() {
    let mut world = Docker::prepare(None, &[]);
    let learner = Learner::new(&world.directory, "learner");
    world.set("DEFAULT_SSH_KEY", &learner.public_key());
    world.spawn();
    world.until_well().await;
    let c = curl_json(&world, &["-d", "image=spindle/base"], "/v1/containers", 201);
    // The report of the boot must be over before anybody connects, so that what comes is cron's.
    let booted = world.until(&c, |c| c["last_check_in_at"].is_string()).await;
    assert_eq!(booted["active"], "0");
    wait_for_ssh(&c);
    let mut session = learner.ssh(&c, &[], "student", &["sleep", "120"]);
    // With nothing of the test's own: ssh makes what it inherits non-blocking, for everybody who has it.
    session.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut session = session.spawn().unwrap();
    wait_for("cron's report of one session", A_MINUTE, || curl_json(&world, &[], uri(&c), 200)["active"] == "1");
    let now = world.http().now(&c).await;
    assert_eq!(now["last_active_at"], now["last_check_in_at"]);
    docker(&["exec", id(&c), "pkill", "-x", "sleep"]);
    session.wait().unwrap();
}
