//! The check-in door under a hostile learner, on the scripted engine and over real connections.

mod support;

use std::net::SocketAddr;

use support::{Body, Http, World, id, scripted::TestApp};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

async fn connect(from: &str, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(from.parse().unwrap(), 0)).unwrap();
    socket.connect(to).await
}

/// One learner's silent and half-sent connections take up that learner's share, and nobody else's.
#[tokio::test]
async fn silent_connections_of_one_keep_nobody_else_out() {
    let w = TestApp::default().start().await;
    let (hostile, other) = (w.http().create("image=spindle/mimic").await, w.http().create("image=spindle/mimic").await);
    let door: SocketAddr = w.door.base.trim_start_matches("http://").parse().unwrap();
    let from = w.address(&hostile).await;
    let mut silent = Vec::new();
    for n in 0..200 {
        let mut connection = connect(&from, door).await;
        if let (Ok(connection), 0) = (&mut connection, n % 2) {
            // Whether it is cut off already does not matter.
            let _ = connection.write_all(b"POST /v1/check-in HTTP/1.1\r\nHost: x\r\n").await;
        }
        silent.push(connection);
    }
    assert_eq!(w.check_in(&other, "active-connections=4").await, 200);
    assert_eq!(w.http().now(&other).await["active"], "4");
    let mut cut = 0;
    for connection in &mut silent[16..] {
        // Beyond its share each is reset at once, perhaps before we hear that it was accepted.
        cut += match connection {
            Ok(connection) => usize::from(connection.read(&mut [0]).await.is_err()),
            Err(_) => 1,
        };
    }
    assert_eq!(cut, 184);
    drop(silent);
    // Once they are gone it has its share again.
    let client = Http::from_address(w.door.base.clone(), from.parse().unwrap()).client;
    let report = || client.post(format!("{}/v1/check-in", w.door.base)).body("active-connections=1").send();
    while !report().await.is_ok_and(|answer| answer.status() == 200) {
        tokio::task::yield_now().await;
    }
    assert_eq!(w.http().now(&hostile).await["active"], "1");
    w.check().await;
}

#[tokio::test]
async fn the_door_has_the_check_in_and_nothing_else() {
    let w = TestApp::default().start().await;
    let c = w.http().create("image=spindle/mimic").await;
    for path in ["/v1/health", "/v1/images", "/v1/containers", &format!("/v1/containers/{}", id(&c)), "/"] {
        for method in ["GET", "POST", "DELETE"] {
            w.door.send(method, path, Body::None).await.expect_error(404, "not_found");
        }
    }
    w.door.send("GET", "/v1/check-in", Body::None).await.expect_error(405, "method_not_allowed");
    let verb = w.door.bare("POST", "/v1/check-in", Body::Form("_method=delete&active=1"), &[]).await;
    assert_eq!(verb.status, 200, "the verb is the verb");
}

/// Who comes around the gate, from the host itself, is nobody.
#[tokio::test]
async fn an_unknown_peer_changes_nothing() {
    let w = TestApp::default().start().await;
    let c = w.http().create("image=spindle/mimic").await;
    w.door.bare("POST", "/v1/check-in", Body::Form("active-connections=1"), &[]).await.expect(200);
    assert_eq!(w.http().now(&c).await["active"], "0");
}
