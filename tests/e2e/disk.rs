//! The database's disk is full, or its file goes away: who could not be recorded is not stopped for it, and everybody is
//! told the truth within seconds.

use std::{
    fs::{self, File},
    io::Write,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use serde_json::json;

use super::clients::wait_for_mimic;
use crate::support::{
    Body, World,
    docker::{Docker, wait_for},
    is, uri,
};

const LIMIT: Duration = Duration::from_secs(3);
const GRACE: Duration = Duration::from_secs(4);

/// A disk of its own that is soon full.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// In a world's directory, with the database on it. None where nobody may mount one.
    fn of(world: &mut Docker) -> Option<Self> {
        let disk = Self(world.directory.join("disk"));
        fs::create_dir(&disk.0).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=3m,mode=0700", "spindle-test"]).arg(&disk.0);
        if !mount.output().is_ok_and(|o| o.status.success()) {
            println!("skipped: a disk of its own needs root");
            return None;
        }
        world.set("DATABASE", disk.0.join("spindle.db").to_str().unwrap());
        // Not on the disk: an engine in a mount namespace of its own does not see that.
        world.set("FILES", world.directory.join("files").to_str().unwrap());
        Some(disk)
    }

    fn fill(&self) {
        let mut file = File::create(self.0.join("fill")).unwrap();
        for size in [65_536, 4_096, 1] {
            while file.write(&vec![0; size]).is_ok() {}
        }
    }

    fn free(&self) {
        fs::remove_file(self.0.join("fill")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// A server whose database is on a small disk.
async fn server(extra: &[(&str, &str)]) -> Option<(Docker, SmallDisk)> {
    let mut world = Docker::prepare(None, extra);
    let disk = SmallDisk::of(&mut world)?;
    world.spawn();
    world.until_well().await;
    Some((world, disk))
}

/// What health says of the database: the status of the answer, and the words.
async fn health(world: &Docker) -> (u16, String) {
    let asked = Instant::now();
    let answer = world.http().bare("GET", "/v1/health", Body::None, &[]).await;
    assert!(asked.elapsed() < Duration::from_secs(5), "health took {:?}", asked.elapsed());
    let said = answer.json()["database"].clone();
    (answer.status, said["message"].as_str().unwrap_or(said["status"].as_str().unwrap()).to_owned())
}

async fn until_health(world: &Docker, status: u16, words: &str) {
    let started = Instant::now();
    loop {
        let said = health(world).await;
        if said.0 == status && said.1.contains(words) {
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(10), "health is {said:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Rules 7 and 8: a report that could not be recorded is not silence.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reports_while_the_disk_is_full_is_not_stopped_for_it() {
    let settings = [("IDLE_TIMEOUT", "3"), ("RESUME_GRACE", "4")];
    let Some((world, disk)) = server(&settings).await else { return };
    let c = world.http().create("image=spindle/mimic").await;
    let token = world.token(&c).await;
    let report = async || {
        let headers = [("x-spindle-token", token.as_str())];
        world.http().bare("POST", "/v1/check-in", Body::Form("active-connections=1"), &headers).await.status
    };
    assert_eq!(report().await, 200);
    disk.fill();
    let filled = Instant::now();
    while filled.elapsed() < LIMIT * 2 {
        assert!(report().await >= 500, "it cannot be recorded");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    disk.free();
    let freed = Instant::now();
    // As long as somebody who reports every now and then may take.
    while freed.elapsed() < GRACE / 2 {
        assert_eq!(world.http().now(&c).await["status"], "running", "{:?} after it could be recorded", freed.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(report().await, 200);
    let stopped = world.until(&c, is("stopped")).await;
    assert_eq!(stopped["stopped_reason"], "idle", "who reports no more is stopped again");
    assert!(freed.elapsed() > GRACE, "after {:?}", freed.elapsed());
    assert!(world.log().contains("the disk is full"), "the log says why");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_told_truly_and_within_seconds() {
    let Some((world, disk)) = server(&[("STOP_GRACE", "2")]).await else { return };
    let body = json!({"image": "spindle/mimic", "env": {"MIMIC_IGNORE_TERM": "1"}});
    let c = world.http().send("POST", "/v1/containers", Body::Json(body)).await.expect(201).json();
    wait_for_mimic(&c);
    assert_eq!(health(&world).await, (200, "ok".into()));
    world.http().patch(&c, "status=stopped").await.expect(200);
    disk.fill();
    wait_for("the container's end", Duration::from_secs(10), || {
        world.inspect(&c)["State"]["Status"] == json!("exited")
    });
    until_health(&world, 503, "the disk is full").await;
    let asked = Instant::now();
    let answer = world.http().patch(&c, "status=running").await;
    assert!(asked.elapsed() < Duration::from_secs(8), "it took {:?}", asked.elapsed());
    let said = answer.expect_error(503, "database_unavailable");
    assert!(said.contains("the disk is full"), "{said}");
    assert_eq!(world.http().get(uri(&c)).await.expect(200).json()["status"], "stopping", "as recorded");
    disk.free();
    until_health(&world, 200, "ok").await;
    let again = world.http().patch(&c, "status=running").await.expect(200).json();
    assert_eq!(again["ports"], c["ports"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_removed_or_replaced_under_the_server_is_noticed() {
    let world = Docker::start(&[]).await;
    assert_eq!(health(&world).await, (200, "ok".into()));
    let (at, aside) = (world.setting("DATABASE").to_owned(), world.directory.join("aside"));
    fs::rename(&at, &aside).unwrap();
    until_health(&world, 503, "is not there any more").await;
    world
        .http()
        .send("POST", "/v1/containers", Body::Form("image=spindle/mimic"))
        .await
        .expect_error(503, "database_unavailable");
    fs::write(&at, "").unwrap();
    until_health(&world, 503, "is another file now").await;
    fs::rename(&aside, &at).unwrap();
    until_health(&world, 200, "ok").await;
    wait_for("the log", Duration::from_secs(5), || world.log().contains("is not there any more"));
}
