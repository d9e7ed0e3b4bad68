//! What comes before the first request: a word from a proxy, and the handshake of TLS.

use std::{
    io,
    net::IpAddr,
    os::fd::{AsRawFd, RawFd},
    time::Duration,
};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use super::{Hall, moving::Moving, proxies, shares::Admitted};

/// The first byte of a handshake of TLS.
const HANDSHAKE: u8 = 0x16;

/// After this silence the kernel asks the client whether it is there, asks again, and gives it up in the end.
const ASK_AFTER: Duration = Duration::from_mins(1);
const ASK_AGAIN: Duration = Duration::from_secs(15);
const ASKED: u32 = 4;

/// A client that has begun to speak.
pub struct Guest {
    /// Its connection, past any handshake.
    pub stream: Moving,
    /// The socket under it, open as long as `stream` is.
    pub socket: RawFd,
    /// What is known of it.
    pub manner: Manner,
    /// Its share.
    pub admitted: Admitted,
}

/// Who a client is and how it came.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    /// Its address.
    pub address: IpAddr,
    /// The address of ours to which it came.
    pub local: IpAddr,
    /// Whether it is a proxy that is believed, and speaks for others request by request.
    pub is_proxy: bool,
    /// Whether it speaks TLS.
    pub is_tls: bool,
    /// Whether it should, and does not.
    pub lacks_tls: bool,
}

/// Waits for the first byte from `address`; a connection that sends none has cost no buffer. `None`: a proxy brings
/// somebody who is not let in.
///
/// # Errors
/// If the client sends nothing that can be understood.
pub async fn greet(
    hall: &Hall,
    mut outer: TcpStream,
    mut address: IpAddr,
    mut admitted: Admitted,
) -> io::Result<Option<Guest>> {
    let local = outer.local_addr()?.ip().to_canonical();
    keep_alive(&outer);
    let mut is_proxy = hall.is_proxy(address);
    if is_proxy
        && first_byte(&outer).await? == proxies::FIRST
        && let Some(client) = proxies::told_before(&mut outer).await?
    {
        // From here on the connection is the client's.
        drop(admitted);
        let Some(own) = hall.admit(&outer, client) else { return Ok(None) };
        (address, admitted, is_proxy) = (client, own, false);
    }
    let speaks_tls = hall.tls.is_some() && first_byte(&outer).await? == HANDSHAKE;
    // Nobody listens between this machine and itself: scripts on it, and the doctor, need no certificate.
    let is_own = address.is_loopback() || address == local;
    let manner = Manner {
        address,
        local,
        is_proxy,
        is_tls: speaks_tls,
        lacks_tls: hall.tls.is_some() && !speaks_tls && !is_own,
    };
    let socket = outer.as_raw_fd();
    let stream = match &hall.tls {
        // In a box of its own, so that who is silent does not pay for it.
        Some(tls) if speaks_tls => Moving::new(Box::pin(tls.accept(outer)).await?),
        _ => Moving::new(outer),
    };
    Ok(Some(Guest { stream, socket, manner, admitted }))
}

async fn first_byte(stream: &TcpStream) -> io::Result<u8> {
    let mut byte = [0];
    match stream.peek(&mut byte).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(byte[0]),
    }
}

/// Makes the kernel notice a client that vanished silently, and send small writes at once.
fn keep_alive(stream: &TcpStream) {
    let keepalive = TcpKeepalive::new().with_time(ASK_AFTER).with_interval(ASK_AGAIN).with_retries(ASKED);
    // A socket that is already closed needs neither.
    let _ = SockRef::from(stream).set_tcp_keepalive(&keepalive);
    let _ = stream.set_nodelay(true);
}
