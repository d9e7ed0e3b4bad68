//! The gate before both doors. Rocket has no time limits, no limit on connections and no TLS that is loaded anew, so it
//! listens on a private port of loopback, and here everybody comes in: sandboxes are reset at the API before a byte is
//! read, each address has a share, a head and a body have a time, and only requests that are whole are passed on.

mod answer;
mod arrived;
mod bodies;
mod forward;
mod gone;
mod greeting;
mod headers;
mod moving;
mod peers;
mod proxies;
mod shares;
mod tls;
mod visit;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use ipnet::{IpNet, Ipv4Net};
use rocket::{Build, Rocket, fairing::AdHoc};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::oneshot,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

pub use answer::random_id;
pub use gone::Gone;
pub use headers::UNBUFFERED;
pub use peers::{Line, gone, line, peer, signed_in};
pub use shares::{Limits, network};
pub use tls::Certificates;

use peers::Peers;
use shares::{Admitted, Shares};

/// How long a connection may take to send a request's head, from its beginning or from the last answer on. A handshake
/// of TLS has as long before.
const HEAD: Duration = Duration::from_secs(10);

/// How long a client may keep us waiting for a body, from the end of the head on.
const BODY: Duration = Duration::from_secs(10);

/// How many connections the kernel holds until they are accepted.
const BACKLOG: u32 = 4_096;

/// How a gate's times are limited.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// Until a request's head is there.
    pub head: Duration,
    /// How long a client may keep us waiting for its body; each byte earns some of that back.
    pub body: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self { head: HEAD, body: BODY }
    }
}

/// Whom a gate lets in, and how.
#[derive(Debug, Clone)]
pub struct Rules {
    /// What it is called in the log.
    pub name: &'static str,
    /// Whose connections are reset; `None`: nobody's. The door is for sandboxes.
    pub refused: Option<Ipv4Net>,
    /// Who is believed when it says for whom it asks.
    pub proxies: Vec<IpNet>,
    /// The name that a `Host` must have; `None`: any.
    pub public_name: Option<String>,
    /// What TLS is spoken with; `None`: no TLS.
    pub certificates: Option<Arc<Certificates>>,
    /// How many connections it lets in.
    pub limits: Limits,
    /// How long they may be silent.
    pub times: Times,
    /// Whether a connection may bring more than one request, and the head of each is examined.
    pub is_api: bool,
}

/// What all connections of one gate share.
struct Hall {
    rules: Rules,
    /// Where Rocket listens.
    inside: SocketAddr,
    peers: Peers,
    shares: Shares,
    tls: Option<TlsAcceptor>,
}

/// Listens at `listen`.
///
/// # Errors
/// Why it cannot.
pub fn bind(listen: SocketAddr) -> io::Result<TcpListener> {
    let socket = if listen.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(listen)?;
    socket.listen(BACKLOG)
}

/// Launches `rocket`, whose port is any of loopback's, and passes on to it what comes to `listener`, until `closing`.
/// Then requests under way are finished. `opened` is called when it begins.
///
/// # Errors
/// Why the server ended by itself.
pub async fn keep(
    rocket: Rocket<Build>,
    listener: TcpListener,
    rules: Rules,
    opened: impl FnOnce() + Send,
    closing: CancellationToken,
) -> io::Result<()> {
    let (peers, shares) = (Peers::default(), Shares::new(rules.limits));
    let (tell_port, port) = oneshot::channel();
    let tell_port = Mutex::new(Some(tell_port));
    let server = rocket.manage(peers.clone()).manage(shares.clone());
    let server = server.attach(AdHoc::on_liftoff("port", move |rocket| {
        if let Some(tell) = tell_port.lock().expect("no holder panics").take() {
            // If nobody waits any more, the gate is being closed.
            let _ = tell.send(rocket.config().port);
        }
        Box::pin(async {})
    }));
    let server = server.ignite().await.map_err(io::Error::other)?;
    let stop = server.shutdown();
    let ending = closing.child_token();
    let launched = async {
        let ended = server.launch().await;
        ending.cancel();
        ended.map(drop).map_err(|e| io::Error::other(e.to_string()))
    };
    let guarded = async {
        if let Ok(port) = port.await {
            opened();
            let inside = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
            let tls = rules.certificates.as_ref().map(Certificates::acceptor);
            Arc::new(Hall { rules, inside, peers, shares, tls }).receive(listener, &ending).await;
        }
    };
    let told = async {
        ending.cancelled().await;
        stop.notify();
    };
    let (ended, (), ()) = tokio::join!(launched, guarded, told);
    ended
}

impl Hall {
    /// Lets connections in until `ending`, and waits for those that are left.
    async fn receive(self: Arc<Self>, listener: TcpListener, ending: &CancellationToken) {
        let mut open = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                Some(_) = open.join_next() => continue,
                () = ending.cancelled() => break,
            };
            match accepted {
                Ok((outer, peer)) => {
                    let address = peer.ip().to_canonical();
                    if let Some(admitted) = self.admit(&outer, address) {
                        open.spawn(visit::receive(Arc::clone(&self), outer, address, admitted, ending.clone()));
                    }
                }
                // Out of descriptors: rest a moment, instead of failing in a tight loop.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
        drop(listener);
        while open.join_next().await.is_some() {}
    }

    /// Resets a connection from a sandbox, and one for which no share is left.
    fn admit(&self, outer: &TcpStream, address: IpAddr) -> Option<Admitted> {
        let is_proxy = self.is_proxy(address);
        let admitted =
            if self.is_refused(address) { None } else { self.shares.admit(address, is_proxy, self.rules.name) };
        if admitted.is_none() {
            // A socket that is already gone need not be reset.
            let _ = outer.set_zero_linger();
        }
        admitted
    }

    /// Whether `address` is a sandbox's, and this gate is not for sandboxes.
    fn is_refused(&self, address: IpAddr) -> bool {
        let sandboxes = self.rules.refused.map(IpNet::V4);
        sandboxes.is_some_and(|sandboxes| sandboxes.contains(&address))
    }

    fn is_proxy(&self, address: IpAddr) -> bool {
        self.rules.proxies.iter().any(|proxy| proxy.contains(&address))
    }
}

#[cfg(test)]
mod tests;
