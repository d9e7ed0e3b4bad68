//! The gate before a server that the test plays: what it passes on and how, and what lives on.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;

const LIMITS: Limits = Limits { total: 8, strangers: 8, of_stranger: 8, of_known: 8 };
/// Short, so that a test need not wait long; what is to live on lives longer than both.
const SHORT: Times = Times { head: Duration::from_millis(200), body: Duration::from_millis(200) };

/// How long a test waits for what must come. Generous: the other tests load the machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A gate, and the server behind it.
struct Stand {
    outer: SocketAddr,
    inside: TcpListener,
    hall: Arc<Hall>,
    ending: CancellationToken,
}

async fn stand(change: impl FnOnce(&mut Rules)) -> Stand {
    let any = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
    let (listener, inside) = (bind(any).unwrap(), TcpListener::bind(any).await.unwrap());
    let mut rules = Rules {
        name: "test",
        refused: None,
        proxies: Vec::new(),
        public_name: None,
        certificates: None,
        limits: LIMITS,
        times: SHORT,
        is_api: true,
    };
    change(&mut rules);
    let (peers, shares) = (Peers::default(), Shares::new(rules.limits));
    let hall = Arc::new(Hall { inside: inside.local_addr().unwrap(), rules, peers, shares, tls: None });
    let (outer, ending) = (listener.local_addr().unwrap(), CancellationToken::new());
    let (own, told) = (Arc::clone(&hall), ending.clone());
    tokio::spawn(async move { own.receive(listener, &told).await });
    Stand { outer, inside, hall, ending }
}

impl Stand {
    /// A client that has sent `request`, and the connection over which it comes inside.
    async fn ask(&self, request: &str) -> (TcpStream, TcpStream) {
        let mut client = TcpStream::connect(self.outer).await.unwrap();
        client.write_all(request.as_bytes()).await.unwrap();
        (client, self.inside.accept().await.unwrap().0)
    }
}

/// Reads until `end` has come.
async fn until(stream: &mut TcpStream, end: &str) -> String {
    let mut read = Vec::new();
    while !read.ends_with(end.as_bytes()) {
        let mut byte = [0];
        let got = tokio::time::timeout(PATIENCE, stream.read(&mut byte)).await.expect("it comes").unwrap();
        assert_eq!(got, 1, "it ended: {}", String::from_utf8_lossy(&read));
        read.push(byte[0]);
    }
    String::from_utf8(read).unwrap()
}

/// Waits until nothing more comes.
async fn until_end(stream: &mut TcpStream) {
    let read = tokio::time::timeout(PATIENCE, stream.read(&mut [0])).await.expect("it ends");
    assert_eq!(read.unwrap(), 0);
}

/// Waits until a silent connection of somebody else's has come to the end of its time.
async fn longer_than_silence(stand: &Stand) {
    let mut silent = TcpStream::connect(stand.outer).await.unwrap();
    until_end(&mut silent).await;
}

#[tokio::test]
async fn what_is_passed_on_is_written_anew() {
    let stand = stand(|_| {}).await;
    let (mut client, mut inner) = stand
        .ask(
            "POST http://a/v1/x?y=%20z HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.2.3.4\r\nForwarded: for=x\r\nTE: trailers\r\n\
             Connection: x-hop, te\r\nX-Hop: 1\nX-Mine: 2\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nab",
        )
        .await;
    // Each line ends with both characters, however the client has written it.
    let mut head: Vec<String> =
        until(&mut inner, "\r\n\r\n").await.split_terminator("\r\n").map(str::to_owned).collect();
    head.sort();
    assert_eq!(head, ["", "POST /v1/x?y=%20z HTTP/1.1", "content-length: 2", "host: a", "x-mine: 2"]);
    assert_eq!(until(&mut inner, "ab").await, "ab");
    let seated = stand.hall.peers.clone();
    let socket = inner.peer_addr().unwrap();
    let here = Some(peers::Peer { address: Ipv4Addr::LOCALHOST.into(), is_tls: false });
    assert_eq!(seated.at(socket), here);
    let elsewhere = SocketAddr::new([127, 0, 0, 2].into(), socket.port());
    assert_eq!(seated.at(elsewhere), None, "a program here may bind the same port at another address");
    inner.write_all(b"HTTP/1.1 200 OK\r\nKeep-Alive: x\r\nContent-Length: 2\r\nLocation: /a\r\n\r\nok").await.unwrap();
    let answer = until(&mut client, "ok").await;
    assert!(answer.contains("\r\nLocation: /a\r\n") && !answer.contains("Keep-Alive"), "{answer}");
    assert!(answer.contains("\r\nX-Content-Type-Options: nosniff\r\n"), "{answer}");
    // The next request comes by the same way; with the client the seat is free.
    client.write_all(b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert!(until(&mut inner, "\r\n\r\n").await.starts_with("GET /2 HTTP/1.1\r\n"));
    inner.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    until(&mut client, "\r\n\r\n").await;
    drop(client);
    until_end(&mut inner).await;
    while seated.at(socket).is_some() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_answer_may_come_late_and_last_long() {
    let stand = stand(|_| {}).await;
    let (mut client, mut inner) = stand.ask("GET /events HTTP/1.1\r\nHost: a\r\n\r\n").await;
    until(&mut inner, "\r\n\r\n").await;
    longer_than_silence(&stand).await;
    inner.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n").await.unwrap();
    until(&mut client, "one\r\n").await;
    longer_than_silence(&stand).await;
    inner.write_all(b"3\r\ntwo\r\n0\r\n\r\n").await.unwrap();
    until(&mut client, "two\r\n0\r\n\r\n").await;
    // Between two requests it may not be silent.
    until_end(&mut client).await;
}

#[tokio::test]
async fn a_websocket_passes_and_nothing_else_is_upgraded() {
    let stand = stand(|_| {}).await;
    let ask = "GET /terminal HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n";
    let (mut client, mut inner) = stand.ask(ask).await;
    let asked = until(&mut inner, "\r\n\r\n").await;
    assert!(asked.contains("upgrade: websocket") && asked.contains("sec-websocket-key: k"), "{asked}");
    let granted = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhello";
    inner.write_all(granted).await.unwrap();
    assert!(until(&mut client, "hello").await.starts_with("HTTP/1.1 101 "));
    longer_than_silence(&stand).await;
    client.write_all(b"ping").await.unwrap();
    assert_eq!(until(&mut inner, "ping").await, "ping");
    stand.ending.cancel();
    until_end(&mut client).await;
}

#[tokio::test]
async fn a_body_has_its_time_and_a_connection_ends_with_it() {
    let stand = stand(|_| {}).await;
    // So long that it is passed on as it comes.
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n";
    let (mut client, mut inner) = stand.ask(head).await;
    until(&mut inner, "\r\n\r\n").await;
    // A byte now and then is no body. Waiting for an answer is the pace.
    let mut answer = Vec::new();
    while tokio::time::timeout(SHORT.body / 10, client.read_buf(&mut answer)).await.is_err() {
        client.write_all(b"x").await.unwrap();
    }
    // Whether all of it came in one piece or the end was cut off by our own bytes does not matter.
    let _ = client.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    // The server inside sees a request that broke off.
    let mut rest = Vec::new();
    inner.read_to_end(&mut rest).await.unwrap();
    assert!(rest.len() < 100_000 && rest.iter().all(|b| *b == b'x'));
}

#[tokio::test]
async fn what_is_under_way_is_finished_before_the_end() {
    let stand = stand(|_| {}).await;
    let (mut client, mut inner) = stand.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    until(&mut inner, "\r\n\r\n").await;
    stand.ending.cancel();
    inner.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
    until(&mut client, "ok").await;
    until_end(&mut client).await;
    while TcpStream::connect(stand.outer).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_proxy_speaks_for_one_client_after_another() {
    let stand = stand(|rules| rules.proxies = vec!["127.0.0.1/32".parse().unwrap()]).await;
    let asked = |client: &str| {
        format!("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {client}\r\nX-Forwarded-Proto: https\r\n\r\n")
    };
    let (mut proxy, mut inner) = stand.ask(&asked("192.0.2.1")).await;
    let socket = inner.peer_addr().unwrap();
    for client in ["192.0.2.1", "192.0.2.2"] {
        assert!(!until(&mut inner, "\r\n\r\n").await.contains("192.0.2"), "who is inside asks the gate alone");
        let expected = peers::Peer { address: client.parse().unwrap(), is_tls: true };
        assert_eq!(stand.hall.peers.at(socket), Some(expected));
        inner.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
        until(&mut proxy, "ok").await;
        proxy.write_all(asked("192.0.2.2").as_bytes()).await.unwrap();
    }
}
