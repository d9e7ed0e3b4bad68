//! A door: one listener of a sandbox, and how it lets connections in.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use socket2::{Domain, Socket, Type};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{
    connection,
    entry::Entry,
    hall::Hall,
    message::Listen,
    sockets::{break_off, keep_alive},
};

/// How many connections the kernel keeps for us to accept.
const BACKLOG: i32 = 1024;

/// One host port to which a sandbox's clients connect.
#[derive(Debug)]
pub struct Door {
    /// What it is for.
    pub listen: Listen,
    /// The socket. When another process takes it over, the socket lives on, and this door does not.
    pub socket: Arc<TcpListener>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Door {
    /// Begins to listen.
    ///
    /// # Errors
    /// The kernel's error; another program may already listen there.
    pub fn open(hall: &Arc<Hall>, entry: &Arc<Entry>, listen: Listen) -> io::Result<Self> {
        let socket = bind(listen.outside)?;
        Ok(Self::with(hall, entry, listen, Arc::new(socket)))
    }

    /// Accepts connections on a socket that listens already.
    pub fn with(hall: &Arc<Hall>, entry: &Arc<Entry>, listen: Listen, socket: Arc<TcpListener>) -> Self {
        let stop = CancellationToken::new();
        let accepting = accept(Arc::clone(hall), Arc::clone(entry), listen.clone(), Arc::clone(&socket), stop.clone());
        Self { listen, socket, stop, task: tokio::spawn(accepting) }
    }

    /// Accepts no more connections. The socket goes on listening.
    pub async fn rest(&mut self) {
        self.stop.cancel();
        // A task that has panicked has ended too.
        let _ = (&mut self.task).await;
    }

    /// Closes the listener; when this returns, the port is free.
    pub async fn close(mut self) {
        self.rest().await;
    }
}

impl Drop for Door {
    /// Without this, the task would hold the socket and go on.
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A listener at `at`. The unspecified IPv6 address takes IPv4 too.
fn bind(at: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM.nonblocking(), None)?;
    if at.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // Connections that ended a moment ago must not keep the port.
    socket.set_reuse_address(true)?;
    socket.bind(&at.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

async fn accept(hall: Arc<Hall>, entry: Arc<Entry>, listen: Listen, socket: Arc<TcpListener>, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = socket.accept() => accepted,
        };
        let Ok((client, peer)) = accepted else {
            // Out of descriptors: rest a moment, instead of failing in a tight loop.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        if hall.limits.refused.is_some_and(|range| range.contains(peer.ip())) {
            if hall.refusals.remember(peer.ip()) {
                let (sandbox, port) = (&entry.sandbox, listen.outside.port());
                tracing::warn!(
                    from = %peer.ip().to_canonical(), %sandbox, port,
                    "a sandbox connects to a published port and is refused; SPINDLE_CONNECTIONS_FROM_SANDBOXES=allow lets \
                     all of them in"
                );
            }
            break_off(&client);
            continue;
        }
        let Some(admitted) = hall.shares.admit(&entry.sandbox, peer.ip(), &hall.limits) else {
            break_off(&client);
            continue;
        };
        keep_alive(&client);
        let served = connection::serve(Arc::clone(&hall), Arc::clone(&entry), listen.clone(), client, peer);
        hall.connections.spawn(async move {
            served.await;
            drop(admitted);
        });
    }
}
