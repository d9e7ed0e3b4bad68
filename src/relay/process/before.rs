//! Takes over from the relay before this one: its table, its counts and its listeners.

use std::{io, path::Path};

use tokio::{
    net::{TcpListener, UnixStream},
    task::spawn_blocking,
};

use super::{
    REST, hand_over,
    remote::{Caller, greet},
};
use crate::relay::message::Estate;

/// How often a relay that hangs up is asked again.
const ATTEMPTS: u8 = 3;

/// What a relay gives, and the connection on which it waits for the confirmation.
pub type Given = (std::os::unix::net::UnixStream, Estate, Vec<TcpListener>);

/// What the relay at `at` gives. Nothing if there is no relay, or only the socket of one that has ended.
pub async fn ask(at: &Path, deployment: &str) -> io::Result<Option<Given>> {
    let mut attempts = ATTEMPTS;
    loop {
        let Ok(stream) = UnixStream::connect(at).await else {
            return Ok(None);
        };
        attempts -= 1;
        match take_over(stream, deployment).await {
            // The relay has just ended, or is handing over to another: in a moment there is another one.
            Err(e) if attempts > 0 && has_hung_up(&e) => tokio::time::sleep(REST).await,
            given => return given.map(Some),
        }
    }
}

fn has_hung_up(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}

/// Takes everything from the relay at the other end. It belongs to that relay until it hears the confirmation.
async fn take_over(mut stream: UnixStream, deployment: &str) -> io::Result<Given> {
    greet(&mut stream, deployment, Caller::Successor).await?;
    let (stream, estate, sockets) = spawn_blocking(|| hand_over::take(stream)).await??;
    let listening = |socket: std::net::TcpListener| {
        socket.set_nonblocking(true)?;
        TcpListener::from_std(socket)
    };
    let sockets = sockets.into_iter().map(listening).collect::<io::Result<_>>()?;
    Ok((stream, estate, sockets))
}
