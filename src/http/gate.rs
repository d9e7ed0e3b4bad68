//! The gate before the check-in door. Rocket has no time limits, so one learner's silent connections could use up all
//! file descriptors. Here each sandbox has a share, and each connection a short time.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// The most connections from one sandbox at a time. A reporter needs one.
const PER_PEER: usize = 16;

/// The most connections from all sandboxes.
const TOTAL: usize = 1024;

/// How long a connection may last. A check-in takes milliseconds.
const LIFETIME: Duration = Duration::from_secs(15);

/// Whose connection is behind which port of ours. The server behind the gate sees only the gate.
#[derive(Debug, Clone, Default)]
pub struct Peers(Arc<Mutex<HashMap<u16, IpAddr>>>);

impl Peers {
    /// The peer on the other side of the gate; `None` if the connection did not come through it.
    pub fn behind(&self, remote: SocketAddr) -> Option<IpAddr> {
        self.0.lock().expect("no holder panics").get(&remote.port()).copied()
    }

    /// Remembers whose connection uses `port`, until the guard is dropped.
    fn admit(&self, port: u16, peer: IpAddr) -> Admitted {
        self.0.lock().expect("no holder panics").insert(port, peer);
        Admitted { peers: self.clone(), port }
    }
}

struct Admitted {
    peers: Peers,
    port: u16,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.peers.0.lock().expect("no holder panics").remove(&self.port);
    }
}

/// Lets connections through to the server at `inside`, until dropped. Then it cuts those that are left.
pub async fn keep(listener: TcpListener, inside: SocketAddr, peers: Peers) {
    let mut open = JoinSet::new();
    let mut shares: HashMap<IpAddr, usize> = HashMap::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(ended) = open.join_next() => {
                if let Ok(peer) = ended {
                    release(&mut shares, peer);
                }
                continue;
            }
        };
        let Ok((outer, peer)) = accepted else {
            // Out of descriptors: rest a moment, instead of failing in a tight loop.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let peer = peer.ip();
        let share = shares.entry(peer).or_default();
        if *share >= PER_PEER || open.len() >= TOTAL {
            continue;
        }
        *share += 1;
        let peers = peers.clone();
        open.spawn(async move {
            // However the connection ends, there is nothing to report.
            let _ = tokio::time::timeout(LIFETIME, pass(outer, peer, inside, peers)).await;
            peer
        });
    }
}

fn release(shares: &mut HashMap<IpAddr, usize>, peer: IpAddr) {
    if let Some(share) = shares.get_mut(&peer) {
        *share -= 1;
        if *share == 0 {
            shares.remove(&peer);
        }
    }
}

async fn pass(mut outer: TcpStream, peer: IpAddr, inside: SocketAddr, peers: Peers) -> std::io::Result<()> {
    let mut inner = TcpStream::connect(inside).await?;
    // Admit it before the first byte is passed on, so that the server always knows the peer.
    let _admitted = peers.admit(inner.local_addr()?.port(), peer);
    copy_bidirectional(&mut outer, &mut inner).await.map(drop)
}
