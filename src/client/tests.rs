//! Tests what a client makes of the different answers that it may get.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};

use super::*;

/// A client of a server that gives this one answer, and the request that comes in.
async fn of(answer: &'static str) -> (Client, JoinHandle<String>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let client = Client::new(listener.local_addr().unwrap(), "admin", "secret");
    let asked = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = String::new();
        while !request.ends_with("\r\n\r\n") {
            let mut bytes = [0; 1024];
            let read = stream.read(&mut bytes).await.unwrap();
            request.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        request
    });
    (client, asked)
}

#[tokio::test]
async fn nobody_is_told_the_password_to_say_how_it_is() {
    let (client, asked) =
        of("HTTP/1.0 503 Service Unavailable\r\n\r\n{\"version\": \"0.1.0\", \"check_in\": {}}").await;
    assert_eq!(client.health().await.unwrap().version, "0.1.0");
    assert!(!asked.await.unwrap().contains("Authorization"));
    let (client, asked) = of("HTTP/1.0 200 OK\r\n\r\n[]").await;
    assert_eq!(client.containers().await.unwrap(), []);
    let request = asked.await.unwrap();
    assert!(request.contains("\r\nAuthorization: Basic YWRtaW46c2VjcmV0\r\n"), "{request}");
}

#[tokio::test]
async fn who_answers_something_else_is_told_apart() {
    let health = async |answer| of(answer).await.0.health().await.unwrap_err();
    assert!(matches!(health("220 mail.example ESMTP\r\n").await, Error::NoHttp));
    assert!(matches!(health("HTTP/1.0 200 OK\r\n\r\n<html>").await, Error::NoSpindle));
    assert!(matches!(health("HTTP/1.0 200 OK\r\n\r\n{\"version\": \"3\"}").await, Error::NoSpindle));
    let containers = async |answer| of(answer).await.0.containers().await.unwrap_err();
    assert!(matches!(containers("HTTP/1.0 200 OK\r\n\r\n{}").await, Error::Unclear(_)));
    let no = containers("HTTP/1.0 401 Unauthorized\r\n\r\n{\"message\": \"no\"}").await;
    assert!(matches!(&no, Error::Refused { status: 401, .. }) && no.to_string() == "the server answers 401 no", "{no}");
    let gone = TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap();
    assert!(matches!(Client::new(gone, "", "").health().await, Err(Error::Unreachable(_))));
}
