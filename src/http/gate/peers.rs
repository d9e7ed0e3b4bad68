//! Who is on the other side of the gate. Rocket sees only the gate, so each of the gate's own sockets stands for somebody.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
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

/// Managed by a server behind a gate: whose request comes from which socket of the gate. Programs on this
/// machine may bind the same port at another address.
#[derive(Debug, Clone, Default)]
pub struct Peers(Arc<Mutex<HashMap<SocketAddr, (Peer, Gone)>>>);

/// A socket of the gate's, until dropped.
#[derive(Debug)]
pub struct Seat {
    peers: Peers,
    socket: SocketAddr,
    client: Watched,
    /// Cancelled when nobody sits there any more.
    ended: CancellationToken,
}

impl Peers {
    /// Takes a seat at `socket`, in which nobody sits yet.
    pub fn seat(&self, socket: SocketAddr, client: Watched) -> Seat {
        Seat { peers: self.clone(), socket, client, ended: CancellationToken::new() }
    }

    /// Whose requests come from `socket`; `None`: it is not the gate's.
    pub fn at(&self, socket: SocketAddr) -> Option<Peer> {
        self.0.lock().expect("no holder panics").get(&socket).map(|(peer, _)| *peer)
    }
}

impl Seat {
    /// The next request from this socket is `peer`'s.
    pub fn give_to(&self, peer: Peer) {
        let gone = self.client.gone(self.ended.clone());
        self.peers.0.lock().expect("no holder panics").insert(self.socket, (peer, gone));
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.peers.0.lock().expect("no holder panics").remove(&self.socket);
        self.ended.cancel();
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
    peers.get(&request.remote()?).map(|(_, gone)| gone.clone())
}

/// Tells the gate that the request came with right credentials: its address has a part in the reserve from now on.
pub fn signed_in(request: &Request<'_>) {
    if let (Some(peer), Some(shares)) = (peer(request), request.rocket().state::<Shares>()) {
        shares.signed_in(peer.address);
    }
}
