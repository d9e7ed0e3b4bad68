//! The two-way stream of a program that Docker starts. bollard reads it too, but takes the bytes of a terminal for
//! frames if they look so, and then waits for up to 4 GiB of memory's worth.

use futures_util::{StreamExt, TryStreamExt, stream};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1,
    upgrade::Upgraded,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, BufReader, ReadHalf},
    net::{TcpStream, UnixStream},
};

use crate::engine::{Attached, Channel, EngineError, Result};

/// The most that is read at once.
const PIECE: usize = 16 * 1024;

/// What comes before each frame where there is no terminal: a stream's number, and the frame's length in the last four.
const HEADER: usize = 8;

/// The most that is read of why Docker refuses.
const WHY: usize = 16 * 1024;

trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

fn broken(why: impl std::fmt::Display) -> EngineError {
    EngineError::Unavailable(why.to_string())
}

/// `host` in `DOCKER_HOST`'s notation.
async fn connect(host: &str) -> Result<Box<dyn Wire>> {
    let connected = match host.split_once("://") {
        Some(("unix", path)) => UnixStream::connect(path).await.map(|wire| Box::new(wire) as Box<dyn Wire>),
        Some((_, at)) => TcpStream::connect(at.trim_end_matches('/')).await.map(|wire| Box::new(wire) as Box<dyn Wire>),
        None => UnixStream::connect(host).await.map(|wire| Box::new(wire) as Box<dyn Wire>),
    };
    connected.map_err(broken)
}

/// Has the Docker at `host` start the program `exec`, in this version of its API.
pub async fn start(host: &str, version: &str, exec: &str, on_terminal: bool) -> Result<Attached> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(connect(host).await?)).await.map_err(broken)?;
    // It ends when the connection is handed over, or broken.
    tokio::spawn(connection.with_upgrades());
    let body = format!("{{\"Detach\":false,\"Tty\":{on_terminal}}}");
    let request = Request::post(format!("/v{version}/exec/{exec}/start"))
        .header("Host", "docker")
        .header("Content-Type", "application/json")
        .header("Connection", "Upgrade")
        .header("Upgrade", "tcp")
        .body(Full::new(Bytes::from(body)))
        .map_err(broken)?;
    let response = sender.send_request(request).await.map_err(broken)?;
    if ![StatusCode::SWITCHING_PROTOCOLS, StatusCode::OK].contains(&response.status()) {
        return Err(refusal(response).await);
    }
    let both = hyper::upgrade::on(response).await.map_err(broken)?;
    let (read, write) = tokio::io::split(TokioIo::new(both));
    let output = if on_terminal { plain(read) } else { framed(read) };
    Ok(Attached { output, input: Box::new(write) })
}

async fn refusal(response: Response<Incoming>) -> EngineError {
    let status = response.status();
    let why = Limited::new(response.into_body(), WHY).collect().await.map(http_body_util::Collected::to_bytes);
    let why = String::from_utf8_lossy(&why.unwrap_or_default()).trim().to_owned();
    match status {
        StatusCode::NOT_FOUND => EngineError::NoContainer,
        _ => EngineError::Refused(why.trim_start_matches("{\"message\":\"").trim_end_matches("\"}").to_owned()),
    }
}

type Reader = BufReader<ReadHalf<TokioIo<Upgraded>>>;
type Output = stream::BoxStream<'static, Result<(Channel, Vec<u8>)>>;

/// At most `most` bytes; none at the end.
async fn piece(reader: &mut Reader, most: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; most.min(PIECE)];
    let read = reader.read(&mut bytes).await.map_err(broken)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// What a terminal shows, as it is.
fn plain(read: ReadHalf<TokioIo<Upgraded>>) -> Output {
    let next = |mut reader: Reader| async move {
        let bytes = piece(&mut reader, PIECE).await?;
        Ok(Some(((Channel::Out, bytes), reader)).filter(|((_, bytes), _)| !bytes.is_empty()))
    };
    stream::try_unfold(BufReader::with_capacity(PIECE, read), next).into_stream().boxed()
}

/// Output and errors, in frames.
fn framed(read: ReadHalf<TokioIo<Upgraded>>) -> Output {
    let next = |(mut reader, mut channel, mut left): (Reader, Channel, usize)| async move {
        while left == 0 {
            let mut header = [0; HEADER];
            match reader.read_exact(&mut header).await {
                Ok(_) => {}
                Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
                Err(e) => return Err(broken(e)),
            }
            channel = if header[0] == 2 { Channel::Err } else { Channel::Out };
            left = u32::from_be_bytes([header[4], header[5], header[6], header[7]]) as usize;
        }
        let bytes = piece(&mut reader, left).await?;
        let left = left - bytes.len();
        Ok(Some(((channel, bytes), (reader, channel, left))).filter(|((_, bytes), _)| !bytes.is_empty()))
    };
    stream::try_unfold((BufReader::with_capacity(PIECE, read), Channel::Out, 0), next).into_stream().boxed()
}
