//! The gate before the API under hostile clients, on the scripted engine and over real connections.

#[path = "gate/held.rs"]
mod held;
mod support;
#[path = "gate/tls.rs"]
mod tls;

use std::{net::SocketAddr, time::Duration};

use spindle::http::Times;
use support::{Body, Http, World, scripted::TestApp};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

/// Short, so that a test need not wait long.
const SHORT: Times = Times { head: Duration::from_millis(300), body: Duration::from_millis(300) };

/// How long a test waits for what must come. Generous: the other tests load the machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// admin:spindocker
const AUTHORIZATION: &str = "Authorization: Basic YWRtaW46c3BpbmRvY2tlcg==\r\n";

fn api(w: &impl World) -> SocketAddr {
    w.http().base.trim_start_matches("http://").parse().unwrap()
}

async fn connect(from: &str, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(from.parse().unwrap(), 0)).unwrap();
    socket.connect(to).await
}

/// Sends `bytes` and reads to the end, as far as it goes.
async fn exchange(to: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = connect("127.0.0.1", to).await.unwrap();
    // The gate may have answered before it has all.
    let _ = stream.write_all(bytes).await;
    rest(&mut stream).await
}

async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut read = Vec::new();
    let ended = timeout(PATIENCE, stream.read_to_end(&mut read)).await;
    assert!(ended.is_ok(), "it has not ended: {}", String::from_utf8_lossy(&read));
    String::from_utf8_lossy(&read).into_owned()
}

/// Whether a connection from `from` is reset before a byte comes, whatever it sends.
async fn is_reset(from: &str, to: SocketAddr, sent: &[u8]) -> bool {
    let Ok(mut stream) = connect(from, to).await else { return true };
    // A reset is told once: to whoever writes or reads first.
    let read = match stream.write_all(sent).await {
        Ok(()) => stream.read(&mut [0]).await,
        Err(e) => Err(e),
    };
    assert_ne!(read.as_ref().ok(), Some(&1), "a byte came");
    read.is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset)
}

#[tokio::test]
async fn a_sandbox_is_reset_before_a_byte_is_read() {
    let w = TestApp::with_api(|api| api.sandboxes = "127.0.3.0/24".parse().unwrap()).start().await;
    let request = format!("GET /v1/health HTTP/1.1\r\nHost: a\r\n{AUTHORIZATION}\r\n");
    for sent in [&b""[..], b"\x16\x03\x01", b"POST /v1/check-in HTTP/1.1\r\n", request.as_bytes()] {
        assert!(is_reset("127.0.3.7", api(&w), sent).await, "{sent:?}");
    }
    // However many they are, they take nobody's share.
    for _ in 0..1_000 {
        assert!(is_reset("127.0.3.8", api(&w), b"").await);
    }
    w.http().get("/v1/containers").await.expect(200);
}

#[tokio::test]
async fn a_sandbox_is_refused_by_way_of_a_proxy_too() {
    let change = |api: &mut spindle::http::ApiSettings| {
        api.proxies = vec!["127.0.9.0/24".parse().unwrap()];
        api.times = SHORT;
    };
    let w = TestApp::with_api(change).start().await;
    let (proxy, other) = (Http::from_address(&w.http().base, "127.0.9.1".parse().unwrap()), w.http());
    let sandbox = [("x-forwarded-for", "10.213.0.7")];
    proxy.bare("GET", "/v1/health", Body::None, &sandbox).await.expect_error(403, "forbidden");
    // What the client itself has sent stands before what the proxy says.
    let invented = [("x-forwarded-for", "192.0.2.1, 10.213.0.7")];
    proxy.bare("GET", "/v1/health", Body::None, &invented).await.expect_error(403, "forbidden");
    proxy.bare("GET", "/v1/health", Body::None, &[("x-forwarded-for", "10.213.0.7, 192.0.2.1")]).await.expect(200);
    other.bare("GET", "/v1/health", Body::None, &sandbox).await.expect(200);
    let header = |client: [u8; 4]| {
        let to = [127, 0, 0, 1, 0x9c, 0x40, 0, 80];
        [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c"[..], &client, &to].concat()
    };
    let request = b"GET /v1/health HTTP/1.0\r\n\r\n";
    assert!(is_reset("127.0.9.1", api(&w), &[&header([10, 213, 0, 7])[..], request].concat()).await);
    let mut told = connect("127.0.9.1", api(&w)).await.unwrap();
    told.write_all(&[&header([192, 0, 2, 1])[..], request].concat()).await.unwrap();
    assert!(rest(&mut told).await.starts_with("HTTP/1.0 200 "));
    let stranger = exchange(api(&w), &[&header([192, 0, 2, 1])[..], request].concat()).await;
    assert!(!stranger.contains(" 200 "), "from others the header is no HTTP: {stranger}");
}

/// The check-in tells whom the API takes a client for.
#[tokio::test]
async fn only_a_configured_proxy_is_believed_and_never_at_the_door() {
    let w = TestApp::with_api(|api| api.proxies = vec!["127.0.9.1/32".parse().unwrap()]).start().await;
    let c = w.http().create("image=spindle/mimic").await;
    let address = w.address(&c).await;
    let told = [("x-forwarded-for", address.as_str())];
    let report = async |base: &str, from: &str, value: u32| {
        let form = format!("active-connections={value}");
        let client = Http::from_address(base, from.parse().unwrap());
        client.bare("POST", "/v1/check-in", Body::Form(&form), &told).await.expect(200);
        w.http().now(&c).await["active"].clone()
    };
    assert_eq!(report(&w.http().base, "127.0.9.2", 1).await, "0");
    assert_eq!(report(&w.door.base, "127.0.9.1", 2).await, "0");
    assert_eq!(report(&w.http().base, "127.0.9.1", 3).await, "3");
}

#[tokio::test]
async fn who_is_silent_or_slow_is_cut_off() {
    let w = TestApp::with_api(|api| api.times = SHORT).start().await;
    let to = api(&w);
    assert_eq!(exchange(to, b"").await, "");
    assert_eq!(exchange(to, b"GET /v1/health HTTP/1.1\r\nHost:").await, "");
    // A byte now and then; waiting for an answer is the pace.
    let mut slow = connect("127.0.0.1", to).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nX: ").await.unwrap();
    let cut_off = async {
        let mut byte = [0];
        while timeout(SHORT.head / 10, slow.read(&mut byte)).await.is_err() {
            let _ = slow.write_all(b"x").await;
        }
    };
    timeout(PATIENCE, cut_off).await.expect("it is cut off");
    let answered = exchange(to, b"GET /v1/health HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(answered.starts_with("HTTP/1.1 200 "), "and silent after it: {answered}");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_408_whoever_asks() {
    let w = TestApp::with_api(|api| api.times = SHORT).start().await;
    for (authorization, kind) in [
        (AUTHORIZATION, "application/json"),
        (AUTHORIZATION, "application/x-www-form-urlencoded"),
        ("", "application/json"),
        ("", "application/x-www-form-urlencoded"),
    ] {
        for length in ["Content-Length: 20", "Transfer-Encoding: chunked"] {
            let head = format!(
                "POST /v1/containers HTTP/1.1\r\nHost: a\r\n{authorization}Content-Type: {kind}\r\n{length}\r\n\r\n"
            );
            let answer = exchange(api(&w), head.as_bytes()).await;
            let (is_late, is_refused) = (answer.starts_with("HTTP/1.1 408 "), answer.starts_with("HTTP/1.1 401 "));
            assert!(is_late || (is_refused && authorization.is_empty()), "{head}{answer}");
            assert!(!is_late || answer.contains("\"code\":\"request_timeout\""), "{answer}");
        }
    }
}

#[tokio::test]
async fn strangers_have_a_share_and_never_the_reserve() {
    let w = TestApp::default().start().await;
    let known = Http::from_address(&w.http().base, "127.0.0.1".parse().unwrap());
    known.get("/v1/containers").await.expect(200);
    let mut silent = Vec::new();
    // Two addresses have all that is for strangers, each its share.
    for from in ["127.0.7.1", "127.0.7.2"] {
        let first = silent.len();
        for _ in 0..100 {
            silent.push(connect(from, api(&w)).await);
        }
        let mut cut = 0;
        for connection in &mut silent[first + 64..] {
            cut += match connection {
                Ok(connection) => usize::from(connection.read(&mut [0]).await.is_err()),
                Err(_) => 1,
            };
        }
        assert_eq!(cut, 36);
    }
    assert!(is_reset("127.0.7.3", api(&w), b"").await, "another stranger finds no room");
    // Who has signed in does, on one new connection after another.
    for _ in 0..3 {
        Http::from_address(&w.http().base, "127.0.0.1".parse().unwrap()).get("/v1/containers").await.expect(200);
    }
    let c = w.http().create("image=spindle/mimic").await;
    assert_eq!(w.check_in(&c, "active=1").await, 200, "the door has room of its own");
    drop(silent);
    let stranger = Http::from_address(&w.http().base, "127.0.7.3".parse().unwrap()).client;
    while stranger.get(format!("{}/v1/health", w.http().base)).send().await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_foreign_name_in_host_is_refused() {
    let w = TestApp::with_api(|api| api.public_name = Some("lab.example.org".into())).start().await;
    let get = async |host: &'static str| w.http().bare("GET", "/v1/health", Body::None, &[("host", host)]).await;
    for host in ["lab.example.org", "LAB.example.org:8443", "127.0.0.1:8080", "localhost"] {
        get(host).await.expect(200);
    }
    for host in ["evil.example", "10.213.0.1"] {
        get(host).await.expect_error(421, "wrong_host");
    }
    let c = w.http().create("image=spindle/mimic").await;
    let header = "Host: any.name";
    assert_eq!(w.check_in_at(&c, "/v1/check-in", "active=1", header).await.0, 200, "the door asks for no name");
}

#[tokio::test]
async fn every_answer_protects_the_browser() {
    let w = TestApp::with_api(|api| api.public_name = Some("lab.example.org".into())).start().await;
    let (ok, unknown) = (w.http().get("/v1/containers").await.expect(200), w.http().get("/x").await.expect(404));
    let refused = w.http().bare("GET", "/v1/containers", Body::None, &[]).await.expect(401);
    let ours = w.http().bare("GET", "/v1/containers", Body::None, &[("host", "evil.example")]).await.expect(421);
    let door = w.door.get("/x").await.expect(404);
    for answer in [ok, unknown, refused, ours, door] {
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-resource-policy", "same-origin"),
            ("content-security-policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(answer.header(name), value, "{name}: {answer:?}");
        }
    }
}

/// What two servers could read in two ways is refused, or read once and the connection closed.
#[tokio::test]
async fn no_request_is_smuggled() {
    let w = TestApp::with_api(|api| api.times = SHORT).start().await;
    let to = api(&w);
    let hidden = "DELETE /v1/hidden HTTP/1.1\r\nHost: a\r\n\r\n";
    for head in [
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 6\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, x\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n",
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nX: 1\r\n folded\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nX: a\rContent-Length: 3\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nHost: b\r\n",
        "POST http://b/ HTTP/1.1\r\nHost: a\r\n",
        "POST / HTTP/1.1\r\nX: 1\r\n",
        "POST * HTTP/1.1\r\nHost: a\r\n",
        "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n",
        "POST /  HTTP/1.1\r\nHost: a\r\n",
        " POST / HTTP/1.1\r\nHost: a\r\n",
        "POST / HTTP/2.0\r\nHost: a\r\n",
    ] {
        let answer = exchange(to, format!("{head}\r\n{hidden}").as_bytes()).await;
        assert_eq!(answer.matches("HTTP/1.").count(), 1, "{head}{answer}");
        assert!(answer.starts_with("HTTP/1.1 400 ") || answer.starts_with("HTTP/1.0 400 "), "{head}{answer}");
    }
    for head in [
        "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    ] {
        let answer = exchange(to, format!("{head}{hidden}").as_bytes()).await;
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "what follows is not read: {head}{answer}");
    }
    for chunks in ["5\nhello\r\n0\r\n\r\n", "5;\nhello\r\n0\r\n\r\n", "g\r\n\r\n", "-1\r\n\r\n", "5\r\nhelloX0\r\n\r\n"]
    {
        let head = "POST /v1/check-in HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let answer = exchange(to, format!("{head}{chunks}{hidden}").as_bytes()).await;
        assert!(answer.matches("HTTP/1.1 ").count() <= 1 && !answer.contains(" 200 "), "{chunks:?}: {answer}");
    }
}

/// Only the gate may speak to the server behind it.
#[tokio::test]
async fn nobody_comes_around_the_gate() {
    let w = TestApp::default().start().await;
    let request = format!("GET /v1/containers HTTP/1.0\r\n{AUTHORIZATION}\r\n");
    let (mut gates, mut behind) = (0, 0);
    for port in own_ports() {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)).await else { continue };
        let _ = stream.write_all(request.as_bytes()).await;
        let answer = timeout(Duration::from_secs(5), rest(&mut stream)).await.unwrap_or_default();
        gates += usize::from(answer.contains(" 200 OK"));
        behind += usize::from(answer.contains(" 403 Forbidden") && answer.contains("\"code\":\"forbidden\""));
    }
    assert!(gates >= 1 && behind >= 2, "the API's and the door's: {gates} {behind}");
    drop(w);
}

/// The ports of 127.0.0.1 on which this process listens.
fn own_ports() -> Vec<u16> {
    let links = std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
    let sockets: Vec<String> = links.map(|link| link.to_string_lossy().into_owned()).collect();
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let listening = table.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_own = words.get(3) == Some(&"0A") && sockets.contains(&format!("socket:[{}]", words.get(9)?));
        let port = words.get(1)?.strip_prefix("0100007F:")?;
        is_own.then(|| u16::from_str_radix(port, 16).unwrap())
    });
    listening.collect()
}
