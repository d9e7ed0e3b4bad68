//! Host ports: never shared, never lost, never taken from another program.

use std::{
    collections::HashSet,
    net::{TcpListener, UdpSocket},
    time::Duration,
};

use futures_util::future::join_all;
use serde_json::Value;

use super::{
    clients::{echoes, host_ports, port, wait_for_mimic},
    records::{reserved_ports, sandbox_files},
};
use crate::support::{
    Body, World,
    docker::{Docker, docker, try_docker, wait_for},
    id, is,
};

const CROWD: usize = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_creates_at_once_share_no_port_and_leave_none() {
    let world = Docker::start(&[("PORT_RANGE", "29500-29799")]).await;
    let asked = (0..CROWD).map(|_| world.http().send("POST", "/v1/containers", Body::Form("image=spindle/mimic")));
    let made: Vec<Value> = join_all(asked).await.into_iter().map(|answer| answer.expect(201).json()).collect();
    let ports: HashSet<u16> = made.iter().flat_map(host_ports).collect();
    assert_eq!(ports.len(), 2 * CROWD, "no port is shared");
    let listed = world.http().get("/v1/containers").await.expect(200).json();
    assert_eq!(listed.as_array().unwrap().len(), CROWD);
    assert_eq!(reserved_ports(&world), 2 * CROWD as i64);
    for c in &made {
        assert_eq!(c["status"], "running");
        wait_for_mimic(c);
    }
    for answer in join_all(made.iter().map(|c| world.http().delete(c))).await {
        answer.expect(204);
    }
    assert_eq!(world.http().get("/v1/containers").await.json(), Value::Array(vec![]));
    world.until_none_is_held().await;
    let left = || (reserved_ports(&world), sandbox_files(&world).len());
    wait_for("nothing is left of them", Duration::from_secs(10), || left() == (0, 0));
    for port in ports {
        wait_for("every port is free again", Duration::from_secs(10), || {
            TcpListener::bind(("127.0.0.1", port)).is_ok()
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_another_program_holds_is_skipped() {
    let held = [29_810, 29_811, 29_813].map(|port| TcpListener::bind(("127.0.0.1", port)).unwrap());
    let world = Docker::start(&[("PORT_RANGE", "29810-29819")]).await;
    let c = world.http().create("image=spindle/mimic").await;
    wait_for_mimic(&c);
    for listener in &held {
        assert!(!host_ports(&c).contains(&listener.local_addr().unwrap().port()), "{c}");
    }
    assert!(host_ports(&c).iter().all(|p| (29_810..=29_819).contains(p)), "{c}");
    assert_eq!(reserved_ports(&world), 2, "what was tried in vain is not kept");
}

/// A port that looks free and that the engine refuses all the same: it belongs to a container of somebody
/// else's, whose proxy has died. The same comes of a program that takes a port between our look and the start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_only_the_engine_knows_to_be_held_is_exchanged() {
    struct Stranger(String);
    impl Drop for Stranger {
        fn drop(&mut self) {
            try_docker(&["rm", "-fv", &self.0]);
        }
    }
    let world = Docker::start(&[("PORT_RANGE", "29820-29829")]).await;
    let publish = ["-p", "127.0.0.1:29821:5353/udp", "--network", &world.deployment];
    let stranger = Stranger(docker(&[&["run", "-d"], &publish[..], &["spindle/mimic"]].concat()));
    end_proxies_of(29_821);
    wait_for("the port looks free", Duration::from_secs(5), || UdpSocket::bind("127.0.0.1:29821").is_ok());
    let c = world.http().create("image=spindle/mimic:udp").await;
    assert!(!host_ports(&c).contains(&29_821), "{c}");
    assert!(world.log().contains("a host port is held; trying others"), "the engine was not asked");
    assert_eq!((world.held().await.len(), reserved_ports(&world)), (1, 2));
    drop(stranger);
}

/// Ends the engine's proxies of a port that the test itself has published.
fn end_proxies_of(port: u16) {
    for process in std::fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
        let line = std::fs::read_to_string(process.path().join("cmdline")).unwrap_or_default();
        let words: Vec<&str> = line.split('\0').collect();
        let is_proxy =
            words[0].ends_with("docker-proxy") && words.windows(2).any(|w| w == ["-host-port", &port.to_string()]);
        if is_proxy {
            let pid = process.file_name().into_string().unwrap();
            assert!(std::process::Command::new("kill").args(["-KILL", &pid]).status().unwrap().success());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ports_are_kept_over_stop_and_start_and_nobody_gets_them_meanwhile() {
    let world = Docker::start(&[]).await;
    let c = world.http().create("image=spindle/mimic").await;
    world.http().patch(&c, "status=stopped").await.expect(200);
    world.until(&c, is("stopped")).await;
    let other = world.http().create("image=spindle/mimic").await;
    assert!(host_ports(&other).iter().all(|p| !host_ports(&c).contains(p)));
    let again = world.http().patch(&c, "status=running").await.expect(200).json();
    assert_eq!(host_ports(&again), host_ports(&c));
    wait_for_mimic(&again);
}

/// While Spindle runs nobody can take a stopped sandbox's port; while it does not, somebody may.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_whose_port_is_held_says_so_and_works_later() {
    let mut world = Docker::start(&[]).await;
    let c = world.http().create("image=spindle/mimic").await;
    world.http().patch(&c, "status=stopped").await.expect(200);
    world.until(&c, is("stopped")).await;
    let app_port = port(&c, "app_port");
    assert!(TcpListener::bind(("127.0.0.1", app_port)).is_err());
    world.end("TERM");
    let thief = TcpListener::bind(("127.0.0.1", app_port)).unwrap();
    world.spawn();
    world.until_well().await;
    let message = world.http().patch(&c, "status=running").await.expect_error(409, "port_in_use");
    assert!(message.contains(c["app_port"].as_str().unwrap()), "{message}");
    assert_eq!(world.http().now(&c).await["status"], "stopped");
    let held = world.http().get("/v1/health").await.json()["relay"]["ports_not_open"].clone();
    assert_eq!(held[0]["at"], format!("127.0.0.1:{app_port}"));
    drop(thief);
    let again = world.http().patch(&c, "status=running").await.expect(200).json();
    assert_eq!(host_ports(&again), host_ports(&c));
    wait_for_mimic(&again);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_range_is_said_to_be_full_until_a_delete() {
    let world = Docker::start(&[("PORT_RANGE", "29830-29833")]).await;
    let (one, two) =
        (world.http().create("image=spindle/mimic").await, world.http().create("image=spindle/mimic").await);
    let third = world.http().send("POST", "/v1/containers", Body::Form("image=spindle/mimic")).await;
    assert!(third.expect_error(503, "no_port_left").contains("SPINDLE_PORT_RANGE"));
    assert_eq!(world.held().await.len(), 2);
    // Stopped is not enough: its ports stay its own.
    world.http().patch(&one, "status=stopped").await.expect(200);
    world.until(&one, is("stopped")).await;
    let third = world.http().send("POST", "/v1/containers", Body::Form("image=spindle/mimic")).await;
    third.expect_error(503, "no_port_left");
    world.http().delete(&one).await.expect(204);
    let third = world.http().create("image=spindle/mimic").await;
    wait_for_mimic(&third);
    assert_eq!(host_ports(&third), host_ports(&one));
    assert!(echoes(port(&two, "app_port")), "{}", id(&two));
}
