//! Waking: who does, who does not, and what those who wait are told.

use std::{io::ErrorKind, time::Duration};

use futures_util::future::join_all;
use spindle::{
    domain::TrafficLimits,
    relay::{Event, Listen, Relay, Request, Target},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::stand::*;

async fn asleep(relay: &Relay, port: Listen) {
    put(relay, route(1, 1, Target::Asleep, port)).await;
}

/// Waits until no connection is left.
async fn nobody_waits(relay: &Relay) {
    until("the connections are gone", async || {
        matches!(relay.ask(Request::Load).await.unwrap(), spindle::relay::Response::Load(load) if load.connections == 0)
    })
    .await;
}

/// Fails if a wake has been asked for, after everything that was under way is done.
async fn nobody_has_woken(relay: &Relay) {
    nobody_waits(relay).await;
    while let Ok(Some(event)) = tokio::time::timeout(Duration::from_millis(50), relay.event()).await {
        assert!(!matches!(event, Event::Wake { .. }), "{event:?}");
    }
}

#[tokio::test]
async fn a_hundred_at_once_ask_once_and_all_are_served() {
    let relay = relay(LIMITS);
    let (inner, outer) = (place(), outside());
    asleep(&relay, listen(outer)).await;
    let mut clients: Vec<TcpStream> = join_all((0..100).map(|_| connect(outer))).await;
    for client in &mut clients {
        client.write_all(b"hello").await.unwrap();
    }
    assert_eq!(wake(&relay).await, id(1));
    let _server = Named::start(inner, "me").await;
    put(&relay, route(1, 2, open(inner), listen(outer))).await;
    for client in &mut clients {
        assert_eq!(exchange(client, "", 7).await.unwrap(), "mehello");
    }
    drop(clients);
    nobody_has_woken(&relay).await;
}

#[tokio::test]
async fn a_scan_wakes_nobody() {
    let relay = relay(LIMITS);
    let outer = outside();
    asleep(&relay, listen(outer)).await;
    for _ in 0..20 {
        drop(connect(outer).await);
    }
    let mut polite = connect(outer).await;
    polite.shutdown().await.unwrap();
    assert!(end_of(&mut polite).await.is_err());
    nobody_has_woken(&relay).await;
}

#[tokio::test]
async fn where_the_server_speaks_first_a_connection_is_enough() {
    let relay = relay(LIMITS);
    let outer = outside();
    asleep(&relay, Listen { wakes_silent: true, ..listen(outer) }).await;
    let _client = connect(outer).await;
    assert_eq!(wake(&relay).await, id(1));
}

#[tokio::test]
async fn a_client_that_is_silent_is_served_when_somebody_else_wakes() {
    let relay = relay(LIMITS);
    let (inner, outer) = (place(), outside());
    asleep(&relay, listen(outer)).await;
    let mut client = connect(outer).await;
    let _server = Named::start(inner, "me").await;
    put(&relay, route(1, 2, open(inner), listen(outer))).await;
    assert_eq!(exchange(&mut client, "x", 3).await.unwrap(), "mex");
}

/// A start is recorded a moment before its server listens.
#[tokio::test]
async fn a_port_that_is_not_open_yet_is_waited_for() {
    let relay = relay(LIMITS);
    let (inner, outer) = (place(), outside());
    put(&relay, route(1, 1, open(inner), listen(outer))).await;
    let mut client = connect(outer).await;
    client.write_all(b"early").await.unwrap();
    tokio::time::timeout(Duration::from_millis(100), client.read(&mut [0])).await.unwrap_err();
    let _server = Named::start(inner, "me").await;
    assert_eq!(exchange(&mut client, "", 7).await.unwrap(), "meearly");
}

#[tokio::test]
async fn who_waits_in_vain_is_turned_away() {
    let relay = relay(TrafficLimits { wake_timeout: Duration::from_millis(300), ..LIMITS });
    let outer = outside();
    asleep(&relay, listen(outer)).await;
    let mut refused = connect(outer).await;
    refused.write_all(b"x").await.unwrap();
    wake(&relay).await;
    relay.ask(Request::Refuse(id(1))).await.unwrap();
    assert_eq!(end_of(&mut refused).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    let mut late = connect(outer).await;
    late.write_all(b"x").await.unwrap();
    assert_eq!(wake(&relay).await, id(1), "it is asked for again");
    assert_eq!(end_of(&mut late).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn wakes_have_a_limit() {
    let relay = relay(TrafficLimits { wakes: 1, ..LIMITS });
    let (one, two) = (outside(), outside());
    asleep(&relay, listen(one)).await;
    put(&relay, route(2, 1, Target::Asleep, listen(two))).await;
    let mut first = connect(one).await;
    first.write_all(b"x").await.unwrap();
    assert_eq!(wake(&relay).await, id(1));
    let mut second = connect(two).await;
    second.write_all(b"x").await.unwrap();
    assert_eq!(end_of(&mut second).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn connections_have_a_limit() {
    let relay = relay(TrafficLimits { per_sandbox: 2, ..LIMITS });
    let (inner, outer) = (place(), outside());
    let _server = Named::start(inner, "me").await;
    put(&relay, route(1, 1, open(inner), listen(outer))).await;
    let (mut one, mut two) = (connect(outer).await, connect(outer).await);
    assert_eq!(exchange(&mut one, "x", 3).await.unwrap(), "mex");
    assert_eq!(exchange(&mut two, "x", 3).await.unwrap(), "mex");
    assert!(end_of(&mut connect(outer).await).await.is_err());
    drop(one);
    until("there is room again", async || exchange(&mut connect(outer).await, "x", 3).await.is_ok()).await;
}

async fn answer(outer: std::net::SocketAddr, request: &str) -> String {
    let mut client = connect(outer).await;
    client.write_all(request.as_bytes()).await.unwrap();
    let mut heard = String::new();
    soon("an answer", client.read_to_string(&mut heard)).await.unwrap();
    heard
}

const BROWSER: &str = "GET /lab?x=1 HTTP/1.1\r\nHost: a\r\nAccept: text/html,*/*;q=0.8\r\n\r\n";
const SCRIPT: &str = "GET /lab HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n";

#[tokio::test]
async fn a_browser_that_waits_is_told_and_a_script_is_told_when_to_come_back() {
    let relay = relay(LIMITS);
    let (inner, outer) = (place(), outside());
    asleep(&relay, listen(outer)).await;
    let (page, line) = tokio::join!(answer(outer, BROWSER), answer(outer, SCRIPT));
    assert!(page.starts_with("HTTP/1.1 503 ") && page.contains("<meta http-equiv=\"refresh\""), "{page}");
    assert!(line.starts_with("HTTP/1.1 503 ") && line.contains("\r\nRetry-After: 1\r\n"), "{line}");
    assert!(!line.contains("<html"), "{line}");
    assert_eq!(wake(&relay).await, id(1));
    let _server = Named::start(inner, "app:").await;
    put(&relay, route(1, 2, open(inner), listen(outer))).await;
    let mut client = connect(outer).await;
    assert!(exchange(&mut client, BROWSER, 12).await.unwrap().starts_with("app:GET /lab"));
}

/// What must not be sent twice waits to the end.
#[tokio::test]
async fn a_post_waits_and_is_delivered() {
    let relay = relay(LIMITS);
    let (inner, outer) = (place(), outside());
    asleep(&relay, listen(outer)).await;
    let mut client = connect(outer).await;
    client.write_all(b"POST / HTTP/1.1\r\nAccept: text/html\r\nContent-Length: 1\r\n\r\nx").await.unwrap();
    wake(&relay).await;
    tokio::time::timeout(Duration::from_millis(1_300), client.read(&mut [0])).await.unwrap_err();
    let _server = Named::start(inner, "app:").await;
    put(&relay, route(1, 2, open(inner), listen(outer))).await;
    assert_eq!(exchange(&mut client, "", 10).await.unwrap(), "app:POST /");
}

#[tokio::test]
async fn a_port_that_is_not_http_never_answers_as_if_it_were() {
    let relay = relay(TrafficLimits { wake_timeout: Duration::from_millis(1_500), ..LIMITS });
    let outer = outside();
    asleep(&relay, Listen { http: false, ..listen(outer) }).await;
    let mut client = connect(outer).await;
    client.write_all(BROWSER.as_bytes()).await.unwrap();
    assert_eq!(end_of(&mut client).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_browser_at_a_sandbox_that_is_not_woken_is_told_so() {
    let relay = relay(LIMITS);
    let outer = outside();
    put(&relay, route(1, 1, Target::Shut, listen(outer))).await;
    let page = answer(outer, BROWSER).await;
    assert!(page.starts_with("HTTP/1.1 503 ") && !page.contains("refresh"), "{page}");
    nobody_has_woken(&relay).await;
}

/// Whoever has broken off waits no more, and takes no share from those who do.
#[tokio::test]
async fn a_client_that_has_broken_off_keeps_no_share() {
    let relay = relay(LIMITS);
    let outer = outside();
    asleep(&relay, listen(outer)).await;
    for _ in 0..50 {
        let mut client = connect(outer).await;
        client.write_all(b"x").await.unwrap();
        socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    }
    nobody_waits(&relay).await;
}
