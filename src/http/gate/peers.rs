//! Who is on the other side of the gate. Rocket sees only the gate, so each of the gate's own sockets stands for somebody.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use rocket::Request;

use tokio_util::sync::CancellationToken;

use super::{
    gone::{Gone, Watched},
    shares::Shares,
};

/// Who sent a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The client's own address, also behind a proxy that is believed; IPv4 never in the mapped form.
    pub address: IpAddr,
    /// Whether the client speaks TLS, with us or with that proxy.
    pub is_tls: bool,
}

/// What the gate and a long answer tell each other while it is sent. Rocket itself hears of neither.
#[derive(Debug, Clone, Default)]
pub struct Line {
    gone: CancellationToken,
    broken: Arc<AtomicBool>,
}

impl Line {
    /// Waits until the client has gone, so that nobody reads the answer.
    pub fn gone(&self) -> impl Future<Output = ()> + Send + 'static {
        self.gone.clone().cancelled_owned()
    }

    /// Says that the answer under way is not whole. The gate then ends the connection without the end that a whole
    /// answer has, so that the client notices.
    pub fn break_off(&self) {
        self.broken.store(true, Ordering::Release);
    }

    /// Whether the answer under way is not whole.
    pub fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }
}

/// Who sits there, how their leaving is noticed, and what is told about their answer.
type Seated = (Peer, Gone, Line);

/// Managed by a server behind a gate: whose request comes from which socket of the gate. Programs on this
/// machine may bind the same port at another address.
#[derive(Debug, Clone, Default)]
pub struct Peers(Arc<Mutex<HashMap<SocketAddr, Seated>>>);

/// A socket of the gate's, until dropped.
#[derive(Debug)]
pub struct Seat {
    peers: Peers,
    socket: SocketAddr,
    client: Watched,
    line: Line,
}

impl Peers {
    /// Takes a seat at `socket`, in which nobody sits yet.
    pub fn seat(&self, socket: SocketAddr, client: Watched) -> Seat {
        Seat { peers: self.clone(), socket, client, line: Line::default() }
    }

    /// Whose requests come from `socket`; `None`: it is not the gate's.
    pub fn at(&self, socket: SocketAddr) -> Option<Peer> {
        self.0.lock().expect("no holder panics").get(&socket).map(|(peer, ..)| *peer)
    }

    fn line_at(&self, socket: SocketAddr) -> Option<Line> {
        self.0.lock().expect("no holder panics").get(&socket).map(|(.., line)| line.clone())
    }
}

impl Seat {
    /// The next request from this socket is `peer`'s.
    pub fn give_to(&self, peer: Peer) {
        let gone = self.client.gone(self.line.gone.clone());
        self.peers.0.lock().expect("no holder panics").insert(self.socket, (peer, gone, self.line.clone()));
    }

    /// What is told about the answers that come from this socket.
    pub fn line(&self) -> &Line {
        &self.line
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.peers.0.lock().expect("no holder panics").remove(&self.socket);
        self.line.gone.cancel();
    }
}

/// Who sent the request; `None`: it came around the gate, from a program on this machine.
pub fn peer(request: &Request<'_>) -> Option<Peer> {
    // Looked up once: when the answer is logged, the connection may be gone.
    *request.local_cache(|| request.rocket().state::<Peers>()?.at(request.remote()?))
}

/// When the client of the request leaves; `None`: nobody waits for the answer already.
pub fn gone(request: &Request<'_>) -> Option<Gone> {
    let peers = request.rocket().state::<Peers>()?.0.lock().expect("no holder panics");
    peers.get(&request.remote()?).map(|(_, gone, _)| gone.clone())
}

/// What the gate tells about the answer to `request`.
pub fn line(request: &Request<'_>) -> Line {
    let known = || request.rocket().state::<Peers>()?.line_at(request.remote()?);
    known().unwrap_or_default()
}

/// Tells the gate that the request came with right credentials: its address has a part in the reserve from now on.
pub fn signed_in(request: &Request<'_>) {
    if let (Some(peer), Some(shares)) = (peer(request), request.rocket().state::<Shares>()) {
        shares.signed_in(peer.address);
    }
}
