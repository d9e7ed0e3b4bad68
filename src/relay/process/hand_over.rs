//! Hands over: the old relay gives the new one its listening sockets, so that no client is turned away meanwhile. The
//! old relay serves its connections to their end.
//!
//! All goes over the connection on which the new relay has said hello. The old one sends the table as one block, then
//! the sockets in the table's order. The new one confirms. Then the ordinary conversation begins: the new one asks and
//! the old one answers.

use std::{
    io::{self, IoSlice, IoSliceMut, Read, Write},
    mem::MaybeUninit,
    net::TcpListener,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    sync::Arc,
    time::Duration,
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};

use crate::relay::message::Estate;

/// How many sockets go with one byte. The kernel takes at most 253.
const BATCH: usize = 200;

/// How long either side may take for its next word.
const DEADLINE: Duration = Duration::from_secs(10);

const TAKEN: u8 = b'!';

/// Gives everything away, and waits until it has been taken.
///
/// # Errors
/// If the other side is gone or too slow; then nothing has been given.
pub fn give(
    stream: tokio::net::UnixStream,
    estate: &Estate,
    sockets: &[Arc<tokio::net::TcpListener>],
) -> io::Result<UnixStream> {
    let mut stream = blocking(stream)?;
    let text = serde_json::to_vec(estate)?;
    stream.write_all(&(text.len() as u64).to_be_bytes())?;
    stream.write_all(&text)?;
    for batch in sockets.chunks(BATCH) {
        let fds: Vec<BorrowedFd<'_>> = batch.iter().map(|s| s.as_fd()).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(&fds)) {
            return Err(io::Error::other("the sockets do not fit into a message"));
        }
        sendmsg(&stream, &[IoSlice::new(&[batch.len() as u8])], &mut control, SendFlags::NOSIGNAL)?;
    }
    let mut answer = [0];
    stream.read_exact(&mut answer)?;
    if answer == [TAKEN] { Ok(stream) } else { Err(io::Error::other("it does not want them")) }
}

/// Takes what is given; [`confirm`] makes it final.
///
/// # Errors
/// If the other side is gone or too slow; then nothing has been taken.
pub fn take(stream: tokio::net::UnixStream) -> io::Result<(UnixStream, Estate, Vec<TcpListener>)> {
    let mut stream = blocking(stream)?;
    let mut length = [0; 8];
    stream.read_exact(&mut length)?;
    let mut text = Vec::new();
    (&stream).take(u64::from_be_bytes(length)).read_to_end(&mut text)?;
    let estate: Estate = serde_json::from_slice(&text)?;
    let mut sockets: Vec<OwnedFd> = Vec::new();
    while sockets.len() < estate.listeners.len() {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        let read = recvmsg(&stream, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
        let before = sockets.len();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                sockets.extend(fds);
            }
        }
        if read.bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if sockets.len() - before != usize::from(byte[0]) {
            return Err(io::Error::other("sockets were lost on the way; is the limit on descriptors too low?"));
        }
    }
    Ok((stream, estate, sockets.into_iter().map(TcpListener::from).collect()))
}

/// Confirms that everything was taken.
///
/// # Errors
/// If the other side is gone.
pub fn confirm(stream: &mut UnixStream) -> io::Result<()> {
    stream.write_all(&[TAKEN])
}

/// Turns the stream into one for the ordinary conversation.
///
/// # Errors
/// If the stream cannot be turned.
pub fn into_conversation(stream: UnixStream) -> io::Result<tokio::net::UnixStream> {
    stream.set_nonblocking(true)?;
    tokio::net::UnixStream::from_std(stream)
}

fn blocking(stream: tokio::net::UnixStream) -> io::Result<UnixStream> {
    let stream = stream.into_std()?;
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    Ok(stream)
}
