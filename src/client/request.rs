//! One request in HTTP/1.0: the answer ends with the connection, so only its head needs parsing.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::error::{Error, Result};

/// The longest answer that is read. None of ours is longer.
const LONGEST: u64 = 64 << 20;

/// An answer.
pub struct Answer {
    /// The HTTP status.
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
