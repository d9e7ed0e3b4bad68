//! Who is on the other side of the gate. Rocket sees only the gate, so each of the gate's own ports stands for somebody.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use rocket::Request;
use tokio_util::sync::CancellationToken;

use super::shares::Shares;

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

/// Managed by a server behind a gate: whose request comes from which port of the gate.
#[derive(Debug, Clone, Default)]
pub struct Peers(Arc<Mutex<HashMap<u16, (Peer, Line)>>>);

/// A port of the gate's, until dropped.
#[derive(Debug)]
pub struct Seat {
    peers: Peers,
    port: u16,
    line: Line,
}

impl Peers {
    /// Takes a seat at `port`, in which nobody sits yet.
    pub fn seat(&self, port: u16) -> Seat {
        Seat { peers: self.clone(), port, line: Line::default() }
    }

    /// Whose requests come from `port`; `None`: it is not the gate's.
    pub fn at(&self, port: u16) -> Option<Peer> {
        self.0.lock().expect("no holder panics").get(&port).map(|(peer, _)| *peer)
    }

    fn line_at(&self, port: u16) -> Option<Line> {
        self.0.lock().expect("no holder panics").get(&port).map(|(_, line)| line.clone())
    }
}

impl Seat {
    /// The next request from this port is `peer`'s.
    pub fn give_to(&self, peer: Peer) {
        self.peers.0.lock().expect("no holder panics").insert(self.port, (peer, self.line.clone()));
    }

    /// What is told about the answers that come from this port.
    pub fn line(&self) -> &Line {
        &self.line
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.peers.0.lock().expect("no holder panics").remove(&self.port);
        self.line.gone.cancel();
    }
}

/// Who sent the request; `None`: it came around the gate, from a program on this machine.
pub fn peer(request: &Request<'_>) -> Option<Peer> {
    // Looked up once: when the answer is logged, the connection may be gone.
    *request.local_cache(|| request.rocket().state::<Peers>()?.at(request.remote()?.port()))
}

/// What the gate tells about the answer to `request`.
pub fn line(request: &Request<'_>) -> Line {
    let known = || request.rocket().state::<Peers>()?.line_at(request.remote()?.port());
    known().unwrap_or_default()
}

/// Tells the gate that the request came with right credentials: its address has a part in the reserve from now on.
pub fn signed_in(request: &Request<'_>) {
    if let (Some(peer), Some(shares)) = (peer(request), request.rocket().state::<Shares>()) {
        shares.signed_in(peer.address);
    }
}
