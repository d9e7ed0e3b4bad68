//! Slow clients: they are told so in the end, and nobody else waits for them.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use crate::support::{World, docker::Docker};

const PATIENCE: Duration = Duration::from_secs(10);

/// Sends the head of a request and half of its body; the connection.
fn half_sent(at: &str, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic YWRtaW46c3BpbmRvY2tlcg==\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\nactive-connections=1&image="
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

/// The status line and the rest of an answer whose connection the server closes, or that is complete.
fn answer(stream: TcpStream) -> (String, String) {
    let mut reader = BufReader::new(stream);
    let (mut status, mut head) = (String::new(), String::new());
    reader.read_line(&mut status).unwrap();
    while reader.read_line(&mut head).unwrap() > 2 {}
    let length = head
        .to_ascii_lowercase()
        .split("content-length: ")
        .nth(1)
        .and_then(|rest| rest.split("\r\n").next().unwrap().parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).unwrap();
    (status.trim().to_owned(), String::from_utf8(body).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_body_gets_408_after_ten_seconds_and_others_are_answered_meanwhile() {
    let world = Docker::start(&[]).await;
    let api = format!("127.0.0.1:{}", world.setting("PORT"));
    let door = format!("{}:80", world.gateway());
    let started = Instant::now();
    let mut slow: Vec<TcpStream> = (0..20).map(|_| half_sent(&api, "/v1/containers")).collect();
    slow.push(half_sent(&door, "/v1/check-in"));
    let silent: Vec<TcpStream> = (0..200).map(|_| TcpStream::connect(&api).unwrap()).collect();
    let mut answered = 0;
    while started.elapsed() + Duration::from_secs(1) < PATIENCE {
        world.http().get("/v1/containers").await.expect(200);
        answered += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(answered > 20, "only {answered} answers in {PATIENCE:?}");
    for stream in slow {
        let (status, body) = answer(stream);
        assert!(status.starts_with("HTTP/1.1 408 "), "{status} {body}");
        assert!(body.contains("\"code\":\"request_timeout\"") && body.contains("request_id"), "{body}");
    }
    let waited = started.elapsed();
    assert!(waited >= PATIENCE && waited < PATIENCE + Duration::from_millis(1_500), "{waited:?}");
    drop(silent);
    assert!(world.held().await.is_empty());
}
