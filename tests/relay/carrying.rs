//! Bytes: none lost, none altered, none to anybody else; ends and resets as they were.

use std::{
    io::ErrorKind,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    process::{Child, Command},
    sync::Arc,
    time::Duration,
};

use socket2::SockRef;
use spindle::{
    domain::{AddressRange, TrafficLimits},
    relay::{Request, Response, Target, Unopened},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
};

use super::stand::*;
use crate::support::free_port;

/// Two ends of a connection through the relay.
async fn pair(relay: &spindle::relay::Relay) -> (TcpStream, TcpStream) {
    let (inner, outer) = (place(), outside());
    let socket = TcpListener::bind(inner).await.unwrap();
    put(relay, route(1, 1, open(inner), listen(outer))).await;
    let client = connect(outer).await;
    let (server, _) = soon("the relay's connection", socket.accept()).await.unwrap();
    (client, server)
}

fn pattern(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(|_| next()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_byte_arrives_both_ways_at_once() {
    let relay = relay(LIMITS);
    let (client, server) = pair(&relay).await;
    let (up, down) = (Arc::new(pattern(20_000_000, 1)), Arc::new(pattern(15_000_000, 2)));
    let send = |mut half: tokio::net::tcp::OwnedWriteHalf, bytes: Arc<Vec<u8>>| async move {
        half.write_all(&bytes).await.unwrap();
        half.shutdown().await.unwrap();
    };
    let hear = |mut half: tokio::net::tcp::OwnedReadHalf| async move {
        let mut heard = Vec::new();
        half.read_to_end(&mut heard).await.unwrap();
        heard
    };
    let ((client_read, client_write), (server_read, server_write)) = (client.into_split(), server.into_split());
    let all = async {
        tokio::join!(send(client_write, up.clone()), send(server_write, down.clone()));
    };
    let ((), at_server, at_client) =
        soon("35 MB", async { tokio::join!(all, hear(server_read), hear(client_read)) }).await;
    assert!(at_server == *up && at_client == *down);
    until("the counts are exact", async || {
        let count = counts(&relay).await.pop().unwrap();
        (count.bytes_in, count.bytes_out, count.open) == (up.len() as u64, down.len() as u64, 0)
    })
    .await;
}

#[tokio::test]
async fn half_a_close_is_half_a_close() {
    let relay = relay(LIMITS);
    let (mut client, mut server) = pair(&relay).await;
    client.write_all(b"question").await.unwrap();
    client.shutdown().await.unwrap();
    let mut question = String::new();
    soon("the question", server.read_to_string(&mut question)).await.unwrap();
    server.write_all(b"a long answer").await.unwrap();
    drop(server);
    let mut answer = String::new();
    soon("the answer", client.read_to_string(&mut answer)).await.unwrap();
    assert_eq!((question.as_str(), answer.as_str()), ("question", "a long answer"));
}

#[tokio::test]
async fn a_reset_is_a_reset_in_both_directions() {
    let relay = relay(LIMITS);
    for from_client in [true, false] {
        let (mut client, mut server) = pair(&relay).await;
        client.write_all(b"x").await.unwrap();
        soon("it is carried", server.read_exact(&mut [0])).await.unwrap();
        let (breaks, mut hears) = if from_client { (client, server) } else { (server, client) };
        SockRef::from(&breaks).set_linger(Some(Duration::ZERO)).unwrap();
        drop(breaks);
        assert_eq!(end_of(&mut hears).await.unwrap_err().kind(), ErrorKind::ConnectionReset, "{from_client}");
    }
}

/// A server that answers without having read everything, and closes: its kernel breaks off, its answer counts.
#[tokio::test]
async fn what_was_said_before_a_reset_is_heard() {
    let relay = relay(LIMITS);
    let (mut client, mut server) = pair(&relay).await;
    // As much as a kernel takes at once; what it has not sent when it breaks off is lost on any path.
    let answer = pattern(20_000, 3);
    client.write_all(b"much that is never read").await.unwrap();
    soon("it has arrived", server.readable()).await.unwrap();
    let (sent, mut heard) = (answer.clone(), Vec::<u8>::new());
    tokio::spawn(async move {
        server.write_all(&sent).await.unwrap();
        // Dropped with something unread: a reset.
    });
    while heard.len() < answer.len() {
        let mut part = vec![0; 65_536];
        let read = soon("the answer", client.read(&mut part)).await.unwrap();
        assert!(read > 0, "{} bytes are lost", answer.len() - heard.len());
        heard.extend(&part[..read]);
    }
    assert!(heard == answer);
}

#[tokio::test]
async fn a_client_that_vanishes_after_its_last_word_is_noticed() {
    let relay = relay(LIMITS);
    let (mut client, server) = pair(&relay).await;
    client.write_all(b"bye").await.unwrap();
    client.shutdown().await.unwrap();
    SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    // Nobody reads from the server meanwhile, nor writes: only the kernel knows.
    until("the relay has let go", async || counts(&relay).await.iter().all(|c| c.open == 0)).await;
    drop(server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_does_not_read_holds_up_its_sender_and_nobody_else() {
    let relay = relay(LIMITS);
    let (client, mut server) = pair(&relay).await;
    let much = pattern(64_000_000, 4);
    let mut sent = 0;
    // As much as the kernels' buffers on the way hold; then the sender must wait.
    while let Ok(Ok(written)) = tokio::time::timeout(Duration::from_millis(300), server.write(&much[sent..])).await {
        sent += written;
    }
    assert!(sent > 0 && sent < 40_000_000, "{sent} bytes are somewhere on the way");
    let (mut other, mut other_server) = pair(&relay).await;
    other.write_all(b"x").await.unwrap();
    soon("the other one", other_server.read_exact(&mut [0])).await.unwrap();
    drop(server);
    let (mut client, mut heard) = (client, Vec::new());
    soon("all of it", client.read_to_end(&mut heard)).await.unwrap();
    assert!(heard == much[..sent]);
}

/// A process that stands for a sandbox.
struct Life(Child);

impl Life {
    fn new() -> Self {
        Self(Command::new("sleep").arg("1000").spawn().unwrap())
    }

    fn target(&self, at: SocketAddr) -> Target {
        Target::Open { address: at.ip(), pid: Some(self.0.id()) }
    }

    fn end(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.end();
    }
}

/// The address of a sandbox that has just ended is another's, and nobody has told the relay yet.
#[tokio::test]
async fn a_byte_goes_to_the_generation_it_was_meant_for() {
    let relay = relay(LIMITS);
    let (inner, outer, mut life) = (place(), outside(), Life::new());
    let first = Named::start(inner, "first").await;
    put(&relay, route(1, 1, life.target(inner), listen(outer))).await;
    assert_eq!(exchange(&mut connect(outer).await, "x", 6).await.unwrap(), "firstx");
    life.end();
    drop(first);
    let stranger = until_bound(inner, "stranger").await;
    until("the first one's connection is gone", async || counts(&relay).await.iter().all(|c| c.open == 0)).await;
    let mut waiting = connect(outer).await;
    waiting.write_all(b"secret").await.unwrap();
    // Time enough for a connection that should not be made.
    for _ in 0..200 {
        tokio::task::yield_now().await;
        assert_eq!(counts(&relay).await.iter().map(|c| c.open).sum::<u32>(), 0);
    }
    let (again, life) = (place(), Life::new());
    let second = Named::start(again, "second").await;
    put(&relay, route(1, 2, life.target(again), listen(outer))).await;
    assert_eq!(exchange(&mut waiting, "", 12).await.unwrap(), "secondsecret");
    assert_eq!((stranger.accepted(), second.accepted()), (0, 1), "a stranger has heard nothing");
}

/// The address is free as soon as the one before has let go of it.
async fn until_bound(at: SocketAddr, name: &'static str) -> Named {
    until("the address is free", async || TcpListener::bind(at).await.is_ok()).await;
    Named::start(at, name).await
}

#[tokio::test]
async fn connections_of_a_start_that_has_ended_are_closed_after_their_grace() {
    let relay = relay(LIMITS);
    let (inner, outer) = (place(), outside());
    let _server = Named::start(inner, "a").await;
    put(&relay, route(1, 1, open(inner), listen(outer))).await;
    let mut client = connect(outer).await;
    assert_eq!(exchange(&mut client, "1", 2).await.unwrap(), "a1");
    let stopping = spindle::relay::Route { cut_after_ms: 60_000, ..route(1, 1, Target::Shut, listen(outer)) };
    put(&relay, stopping).await;
    assert_eq!(exchange(&mut client, "2", 1).await.unwrap(), "2", "it has its grace");
    let mut late = connect(outer).await;
    assert!(end_of(&mut late).await.is_err(), "nobody new comes in");
    put(&relay, route(1, 1, Target::Shut, listen(outer))).await;
    assert_eq!(
        end_of(&mut client).await.unwrap_err().kind(),
        ErrorKind::ConnectionReset,
        "it does not look like an end"
    );
}

#[tokio::test]
async fn a_sandbox_that_is_removed_has_no_port_and_no_connection() {
    let relay = relay(LIMITS);
    let (inner, outer) = (place(), outside());
    let _server = Named::start(inner, "a").await;
    put(&relay, route(1, 1, open(inner), listen(outer))).await;
    let mut client = connect(outer).await;
    assert_eq!(exchange(&mut client, "1", 2).await.unwrap(), "a1");
    assert!(TcpListener::bind(outer).await.is_err());
    assert_eq!(relay.ask(Request::Remove(id(1))).await, Ok(Response::Done));
    let _freed = TcpListener::bind(outer).await.unwrap();
    assert!(matches!(end_of(&mut client).await, Ok(0) | Err(_)));
}

#[tokio::test]
async fn a_port_that_somebody_else_has_is_told_and_tried_again() {
    let relay = relay(LIMITS);
    let (inner, outer) = (place(), outside());
    let holder = TcpListener::bind(outer).await.unwrap();
    let routed = route(1, 1, open(inner), listen(outer));
    assert_eq!(
        relay.ask(Request::Put(routed.clone())).await,
        Ok(Response::Held(vec![Unopened { at: outer, why: None }]))
    );
    drop(holder);
    assert_eq!(relay.ask(Request::Table(vec![routed])).await, Ok(Response::Held(vec![])));
    assert_eq!(relay.ask(Request::Table(vec![])).await, Ok(Response::Held(vec![])));
    TcpListener::bind(outer).await.unwrap();
}

#[tokio::test]
async fn one_address_for_both_families() {
    let relay = relay(LIMITS);
    let (inner, port) = (place(), outside().port());
    let _server = Named::start(inner, "a").await;
    put(&relay, route(1, 1, open(inner), listen(format!("[::]:{port}").parse().unwrap()))).await;
    for host in ["127.0.0.1", "[::1]"] {
        let mut client = connect(format!("{host}:{port}").parse().unwrap()).await;
        assert_eq!(exchange(&mut client, "x", 2).await.unwrap(), "ax", "{host}");
    }
}

#[tokio::test]
async fn an_app_that_asks_for_it_is_told_the_clients_address() {
    let relay = relay(LIMITS);
    let (inner, outer) = (place(), outside());
    let socket = TcpListener::bind(inner).await.unwrap();
    let port = spindle::relay::Listen { proxy_protocol: true, ..listen(outer) };
    put(&relay, route(1, 1, open(inner), port)).await;
    let mut client = connect(outer).await;
    client.write_all(b"GET").await.unwrap();
    let (mut server, _) = soon("a connection", socket.accept()).await.unwrap();
    let mut heard = [0; 31];
    soon("the header", server.read_exact(&mut heard)).await.unwrap();
    assert_eq!((&heard[..12], &heard[28..]), (&b"\r\n\r\n\0\r\nQUIT\n"[..], &b"GET"[..]));
    let client_port = client.local_addr().unwrap().port().to_be_bytes();
    assert_eq!((&heard[16..20], &heard[24..26]), (&[127, 0, 0, 1][..], &client_port[..]));
}

/// Their own addresses are as a door of one family shows them, and as one of both does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_comes_from_a_refused_address_is_reset_and_others_are_let_in() {
    let [first, last] = [2, 9].map(|n| Ipv4Addr::new(127, 88, 0, n));
    let relay = relay(TrafficLimits { refused: Some(AddressRange { first, last }), ..LIMITS });
    let inner = place();
    let named = Named::start(inner, "me").await;
    let both = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), free_port());
    for (number, outer) in [(1, outside()), (2, both)] {
        put(&relay, route(number, 1, open(inner), listen(outer))).await;
        let to = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), outer.port());
        let from = async |host| {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind((Ipv4Addr::new(127, 88, 0, host), 0).into()).unwrap();
            socket.connect(to).await
        };
        for host in [2, 5, 9] {
            // Before the client knows of the connection, or after it.
            let ended = match from(host).await {
                Ok(mut client) => end_of(&mut client).await.map(drop),
                Err(e) => Err(e),
            };
            assert_eq!(ended.unwrap_err().kind(), ErrorKind::ConnectionReset, "{host} at {outer}");
        }
        for host in [1, 10] {
            assert_eq!(exchange(&mut from(host).await.unwrap(), "x", 3).await.unwrap(), "mex", "{host} at {outer}");
        }
    }
    assert_eq!(named.accepted(), 4);
}
