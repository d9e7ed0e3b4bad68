//! Sockets: what the kernel is told of a connection.

use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// A silent peer is asked whether it is there, is asked again, and is given up in the end.
const ASK_AFTER: Duration = Duration::from_mins(1);
const ASK_AGAIN: Duration = Duration::from_secs(15);
const ASKED: u32 = 4;

/// Has the kernel notice a peer that vanished without a word, and send small writes at once.
pub fn keep_alive(stream: &TcpStream) {
    let keepalive = TcpKeepalive::new().with_time(ASK_AFTER).with_interval(ASK_AGAIN).with_retries(ASKED);
    // A socket that is closed already needs neither.
    let _ = SockRef::from(stream).set_tcp_keepalive(&keepalive);
    let _ = stream.set_nodelay(true);
}

/// Makes the close of `stream`, which the caller drops next, a reset.
pub fn break_off(stream: &TcpStream) {
    // One that is gone already need not be reset.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}
