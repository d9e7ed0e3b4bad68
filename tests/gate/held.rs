//! A body that is held back: what it asks is done by the credentials of when it has arrived.

use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::{
    api, connect, rest,
    support::{
        Body, World,
        people::{admin, basic, session},
        scripted::{Scripted, TestApp},
    },
};

/// Longer than any look at a body's beginning.
const SPACE: [u8; 200] = [b' '; 200];

/// Sends all of a request but the last byte of its body.
async fn begin(w: &Scripted, request: &str, credentials: (&str, &str), body: &str) -> TcpStream {
    let mut stream = connect("127.0.0.1", api(w)).await.unwrap();
    let (name, value) = credentials;
    let length = SPACE.len() + body.len();
    let head = format!(
        "{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{name}: {value}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    let body = &body.as_bytes()[..body.len() - 1];
    stream.write_all(&[head.as_bytes(), &SPACE[..], body].concat()).await.unwrap();
    // By this answer the gate has read what came before.
    w.http().bare("GET", "/v1/health", Body::None, &[]).await;
    stream
}

/// Sends the last byte, and returns the status.
async fn end(mut stream: TcpStream) -> String {
    stream.write_all(b"}").await.unwrap();
    rest(&mut stream).await.split(' ').nth(1).unwrap_or_default().to_owned()
}

#[tokio::test]
async fn who_was_removed_meanwhile_leaves_nothing_behind() {
    let w = TestApp::default().start().await;
    admin(&w, "POST", "/v1/users", "name=bad&role=admin&password=correct horse").await;
    let (signed_in, _) = session(&w, "name=bad&password=correct horse").await;
    let password = basic("bad", "correct horse");
    let backdoor = r#"{"name": "backdoor", "role": "admin", "password": "backdoor-123"}"#;
    let user = begin(&w, "POST /v1/users", ("Authorization", &password), backdoor).await;
    let token = r#"{"name": "x", "scopes": ["admin"]}"#;
    let token = begin(&w, "POST /v1/tokens", ("Cookie", &signed_in.header.1), token).await;
    admin(&w, "DELETE", "/v1/users/bad", "").await;
    admin(&w, "POST", "/v1/users", "name=bad&role=admin&password=another horse").await;
    assert_eq!((end(user).await, end(token).await), ("401".into(), "401".into()));
    w.http().get("/v1/users/backdoor").await.expect_error(404, "user_not_found");
    assert_eq!(w.http().get("/v1/tokens?user=bad").await.expect(200).text, "[]");
}

#[tokio::test]
async fn a_body_that_arrives_in_time_is_taken() {
    let w = TestApp::default().start().await;
    admin(&w, "POST", "/v1/users", "name=good&role=admin&password=correct horse").await;
    let password = basic("good", "correct horse");
    let user = begin(&w, "POST /v1/users", ("Authorization", &password), r#"{"name": "ann", "role": "admin"}"#).await;
    assert_eq!(end(user).await, "201");
}
