//! Into a running sandbox and out of it, on a real engine: logs, files, figures.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use crate::support::{
    Body, World,
    docker::{Docker, docker, wait_for},
    id,
    streams::Follower,
    uri,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_inside_is_followed_outside() {
    let world = Docker::start(&[]).await;
    let c = world.http().create("image=spindle/mimic").await;
    let mut follower = Follower::open(world.http(), &format!("{}/logs?follow=true&tail=0", uri(&c)), &[]).await;
    // Docker may not have begun to follow yet: say it until it is heard.
    let said = async {
        loop {
            docker(&["exec", "-u", "0", id(&c), "sh", "-c", "echo hello >/proc/1/fd/1"]);
            match tokio::time::timeout(Duration::from_millis(500), follower.next()).await {
                // What it says of its own at its start.
                Ok(Some(line)) if line.starts_with("mimic:") => {}
                Ok(line) => return line,
                Err(_) => {}
            }
        }
    };
    assert_eq!(said.await.as_deref(), Some("hello\n"));
    world.http().patch(&c, "status=stopped").await.expect(200);
    let began = Instant::now();
    while follower.next().await.is_some() {}
    assert!(began.elapsed() < Duration::from_secs(15), "it ends with the sandbox");
    assert!(world.http().get(&format!("{}/logs", uri(&c))).await.expect(200).text.contains("hello"));
}

/// Docker answers nothing about a container whose files it is sending. A client that takes none of them must not make
/// it wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_go_in_and_out_and_a_slow_client_keeps_nobody_from_the_sandbox() {
    let world = Docker::start(&[]).await;
    let c = world.http().create("image=spindle/mimic").await;
    let path = |query: &str| format!("{}/files?path={query}", uri(&c));
    let put = Body::Raw("application/octet-stream", vec![7; 3_000_000]);
    world.http().send("PUT", &path("/tmp/put&owner=1234&mode=600"), put).await.expect(200);
    assert_eq!(docker(&["exec", "-u", "0", id(&c), "stat", "-c", "%s %u %a", "/tmp/put"]), "3000000 1234 600");
    let refused = Body::Raw("application/octet-stream", vec![7]);
    world.http().send("PUT", &path("/run/spindle/token"), refused).await.expect_error(409, "read_only_path");
    docker(&["exec", "-u", "0", id(&c), "sh", "-c", "head -c 100000000 /dev/zero >/tmp/big; ln -s /tmp/big /tmp/link"]);
    let listed = world.http().get(&path("/tmp&list=true")).await.expect(200).json();
    let entries = listed["entries"].as_array().unwrap();
    let of = |name: &str| entries.iter().find(|entry| entry["name"] == name).unwrap();
    assert_eq!((&of("big")["size"], &of("link")["target"]), (&100_000_000.into(), &"/tmp/big".into()));

    let mut slow = TcpStream::connect(world.http().base.trim_start_matches("http://")).unwrap();
    let head = format!(
        "GET {} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic YWRtaW46c3BpbmRvY2tlcg==\r\n\r\n",
        path("/tmp/link")
    );
    slow.write_all(head.as_bytes()).unwrap();
    let mut begin = [0; 12];
    slow.read_exact(&mut begin).unwrap();
    assert_eq!(&begin, b"HTTP/1.1 200");
    let began = Instant::now();
    wait_for("Docker lets go", Duration::from_secs(10), || {
        docker(&["inspect", "-f", "{{.State.Running}}", id(&c)]) == "true"
    });
    println!("Docker held the container for {:?}", began.elapsed());
    let stats = world.http().get(&format!("{}/stats", uri(&c))).await.expect(200).json();
    assert!(stats["memory"]["used"].as_u64().unwrap() > 0, "{stats}");
    world.http().patch(&c, "status=stopped").await.expect(200);
    world.until(&c, crate::support::is("stopped")).await;
    let answer = world.http().get(&path("/tmp/put")).await.expect(200);
    assert_eq!(answer.header("content-length"), "3000000");
    let mut read = begin.len();
    let mut piece = vec![0; 1 << 16];
    while let Ok(length @ 1..) = slow.read(&mut piece) {
        read += length;
        if read > 100_000_000 {
            break;
        }
    }
    assert!(read > 100_000_000, "the slow client gets all of it though the sandbox has stopped: {read}");
}
