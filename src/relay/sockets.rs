//! Options of a connection's socket: noticing a peer that vanished, and breaking off.

use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// After this silence the kernel asks the peer whether it is there, asks again, and gives it up in the end.
const ASK_AFTER: Duration = Duration::from_mins(1);
const ASK_AGAIN: Duration = Duration::from_secs(15);
const ASKED: u32 = 4;

/// Makes the kernel notice a peer that vanished silently, and send small writes at once.
pub fn keep_alive(stream: &TcpStream) {
    let keepalive = TcpKeepalive::new().with_time(ASK_AFTER).with_interval(ASK_AGAIN).with_retries(ASKED);
    // A socket that is already closed needs neither.
    let _ = SockRef::from(stream).set_tcp_keepalive(&keepalive);
    let _ = stream.set_nodelay(true);
}

/// Turns the close of `stream` into a reset. The caller drops it next.
pub fn break_off(stream: &TcpStream) {
    // A socket that is already gone need not be reset.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}
