//! Carries the bytes of one connection in both directions, until both end, one side breaks off, or it is cut.
//!
//! Each thread has one scratch buffer, and only what a slow receiver leaves over is copied out of it. An idle
//! connection costs no buffer. A sender is read again only when its receiver has taken everything.

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

/// How much is read at once. A larger size gains nothing (`benches/relay.rs`).
const CHUNK: usize = 256 << 10;

/// How long bytes under way may still take to arrive after one side has broken off.
const LAST_WORDS: Duration = Duration::from_secs(2);

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; CHUNK].into_boxed_slice());
}

/// Which side broke off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    /// The one that is read from.
    Source,
    /// The one that is written to.
    Sink,
}

/// Carries a connection until it has ended. It passes an end on as an end, and a reset as a reset.
pub async fn carry(client: TcpStream, server: TcpStream, bytes: &Bytes, cut: impl Future<Output = ()>) {
    let up = pump(&client, &server, &bytes.up);
    let down = pump(&server, &client, &bytes.down);
    tokio::pin!(up, down, cut);
    let (mut up_ended, mut down_ended) = (false, false);
    while !(up_ended && down_ended) {
        let (ended, upwards) = tokio::select! {
            ended = &mut up, if !up_ended => (ended, true),
            ended = &mut down, if !down_ended => (ended, false),
            // A side that has sent its end can still break off, and no read would notice it.
            _ = client.ready(Interest::ERROR), if up_ended => (Err(Broken::Source), true),
            _ = server.ready(Interest::ERROR), if down_ended => (Err(Broken::Source), false),
            // A cut in the middle must not look like an end.
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
            // The source still gets what the sink said before it broke off.
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
        // A source that never pauses would keep its thread from everybody else.
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

/// Turns the close of `stream` into a reset, once all that was sent on it is out. The caller drops it next.
pub async fn reset(stream: &TcpStream) {
    let flushed = async {
        while unsent(stream).is_ok_and(|left| left > 0) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    let _ = timeout(LAST_WORDS, flushed).await;
    break_off(stream);
}

/// How many bytes wait in our kernel for the peer to acknowledge them.
fn unsent(stream: &TcpStream) -> io::Result<i32> {
    // On a socket Linux calls it SIOCOUTQ; the number is the same as for a terminal.
    const TIOCOUTQ: rustix::ioctl::Opcode = 0x5411;
    // SAFETY: this request fills in one int and does nothing else.
    let getter = unsafe { Getter::<TIOCOUTQ, i32>::new() };
    // SAFETY: as above; the descriptor is borrowed for the call.
    Ok(unsafe { ioctl(stream.as_fd(), getter) }?)
}
