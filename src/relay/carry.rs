//! Carrying bytes: both directions of one connection, until both have ended, one side broke off, or it is cut.
//!
//! No byte is kept in a buffer of ours while its receiver takes it at once: each thread has one scratch buffer, and
//! only what a slow receiver leaves over is copied out of it. An idle connection costs no buffer, and a sender is
//! not read from before its receiver has taken everything.

use std::{
    cell::RefCell,
    future::Future,
    io::{self, ErrorKind},
    net::Shutdown,
    os::fd::AsFd,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use rustix::ioctl::{Getter, ioctl};
use socket2::SockRef;
use tokio::{
    io::Interest,
    net::TcpStream,
    time::{sleep, timeout},
};

use super::{count::Bytes, sockets::break_off};

/// How much is read at once. Larger gains nothing here (`benches/relay.rs`).
const CHUNK: usize = 256 << 10;

/// How long a side that broke off may still be sent, or may still have sent, what was under way.
const LAST_WORDS: Duration = Duration::from_secs(2);

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; CHUNK].into_boxed_slice());
}

/// Which side is the matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    /// The one that is read from.
    Source,
    /// The one that is written to.
    Sink,
}

/// Carries until it has ended. An end is passed on as an end, a reset as a reset.
pub async fn carry(client: TcpStream, server: TcpStream, bytes: &Bytes, cut: impl Future<Output = ()>) {
    let up = pump(&client, &server, &bytes.up);
    let down = pump(&server, &client, &bytes.down);
    tokio::pin!(up, down, cut);
    let (mut up_ended, mut down_ended) = (false, false);
    while !(up_ended && down_ended) {
        let (ended, upwards) = tokio::select! {
            ended = &mut up, if !up_ended => (ended, true),
            ended = &mut down, if !down_ended => (ended, false),
            // A side that has said its end can still break off; nobody reads from it who would notice.
            _ = client.ready(Interest::ERROR), if up_ended => (Err(Broken::Source), true),
            _ = server.ready(Interest::ERROR), if down_ended => (Err(Broken::Source), false),
            // What is cut in the middle shall not look like an end.
            () = &mut cut => {
                break_off(&server);
                return reset(&client).await;
            }
        };
        let (source, sink) = if upwards { (&client, &server) } else { (&server, &client) };
        match ended {
            Ok(()) if upwards => up_ended = true,
            Ok(()) => down_ended = true,
            Err(Broken::Source) => return reset(sink).await,
            // What the sink said before it broke off is the source's.
            Err(Broken::Sink) => {
                let (back, back_ended) = if upwards { (down.as_mut(), down_ended) } else { (up.as_mut(), up_ended) };
                if !back_ended {
                    let _ = timeout(LAST_WORDS, back).await;
                }
                return reset(source).await;
            }
        }
    }
}

/// Carries one direction until the source ends, and passes the end on.
async fn pump(source: &TcpStream, sink: &TcpStream, count: &AtomicU64) -> Result<(), Broken> {
    loop {
        // One that always has something to say would keep its thread from everybody else.
        tokio::task::coop::consume_budget().await;
        source.readable().await.map_err(|_| Broken::Source)?;
        let moved = SCRATCH.with_borrow_mut(|scratch| match source.try_read(scratch) {
            Ok(0) => Ok(Moved::End),
            Ok(read) => {
                let sent = match sink.try_write(&scratch[..read]) {
                    Ok(sent) => sent,
                    Err(e) if e.kind() == ErrorKind::WouldBlock => 0,
                    Err(_) => return Err(Broken::Sink),
                };
                count.fetch_add(sent as u64, Ordering::Relaxed);
                Ok(if sent == read { Moved::All } else { Moved::LeftOver(scratch[sent..read].to_vec()) })
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => Ok(Moved::All),
            Err(_) => Err(Broken::Source),
        })?;
        match moved {
            Moved::All => {}
            Moved::LeftOver(rest) => deliver(sink, &rest, count).await?,
            // A sink that is gone already needs no end.
            Moved::End => {
                let _ = SockRef::from(sink).shutdown(Shutdown::Write);
                return Ok(());
            }
        }
    }
}

enum Moved {
    All,
    LeftOver(Vec<u8>),
    End,
}

async fn deliver(sink: &TcpStream, mut rest: &[u8], count: &AtomicU64) -> Result<(), Broken> {
    while !rest.is_empty() {
        sink.writable().await.map_err(|_| Broken::Sink)?;
        match sink.try_write(rest) {
            Ok(sent) => {
                count.fetch_add(sent as u64, Ordering::Relaxed);
                rest = &rest[sent..];
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return Err(Broken::Sink),
        }
    }
    Ok(())
}

/// Makes the close of `stream`, which the caller drops next, a reset; what was sent on it goes out first.
pub async fn reset(stream: &TcpStream) {
    let flushed = async {
        while unsent(stream).is_ok_and(|left| left > 0) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    let _ = timeout(LAST_WORDS, flushed).await;
    break_off(stream);
}

/// How many bytes in our kernel the peer has not acknowledged.
fn unsent(stream: &TcpStream) -> io::Result<i32> {
    // Linux calls it SIOCOUTQ on a socket; the number is the terminal's.
    const TIOCOUTQ: rustix::ioctl::Opcode = 0x5411;
    // SAFETY: this request fills in one int and does nothing else.
    let getter = unsafe { Getter::<TIOCOUTQ, i32>::new() };
    // SAFETY: as above; the descriptor is borrowed for the call.
    Ok(unsafe { ioctl(stream.as_fd(), getter) }?)
}
