//! One request in the oldest of HTTP: the answer ends with the connection, and nothing need be parsed but its head.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::error::{Error, Result};

/// No answer of ours is longer.
const LONGEST: u64 = 64 << 20;

/// What was answered.
pub struct Answer {
    /// The status of HTTP.
    pub status: u16,
    /// All that came after the head.
    pub body: String,
}

/// Gets `path` from the server at `at`.
///
/// # Errors
/// [`Error::Unreachable`], [`Error::NoHttp`].
pub async fn get(at: SocketAddr, path: &str, authorization: Option<&str>) -> Result<Answer> {
    let authorization = authorization.map(|value| format!("Authorization: {value}\r\n")).unwrap_or_default();
    let answer = exchange(at, &format!("GET {path} HTTP/1.0\r\nHost: {at}\r\n{authorization}\r\n")).await?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(Error::NoHttp)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or(Error::NoHttp)?;
    Ok(Answer { status, body: body.to_owned() })
}

async fn exchange(at: SocketAddr, request: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(at).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.take(LONGEST).read_to_string(&mut answer).await?;
    Ok(answer)
}
