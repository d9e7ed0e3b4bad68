//! What the relay's tests stand on: a table of one's own, servers to connect to, clients.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU16, AtomicUsize, Ordering},
    },
    time::Duration,
};

use spindle::{
    clock::SystemClock,
    domain::{SandboxId, TrafficLimits},
    relay::{Count, Event, Listen, Relay, Request, Response, Route, Target},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};

use crate::support::free_port;

pub const LIMITS: TrafficLimits = TrafficLimits {
    connections: 500,
    per_sandbox: 200,
    per_source: 200,
    wakes: 100,
    wakes_per_source: 100,
    wake_timeout: Duration::from_secs(20),
    floor: 1_024,
    refused: None,
};

/// Longer than anything here takes.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// Fails after a while instead of hanging.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("not in time: {what}"))
}

pub fn relay(limits: TrafficLimits) -> Relay {
    Relay::here(limits, Arc::new(SystemClock))
}

/// An address and a port of this test alone, on loopback: what a sandbox has on the bridge.
pub fn place() -> SocketAddr {
    static PLACES: AtomicU16 = AtomicU16::new(0);
    let [high, low] = PLACES.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    SocketAddr::new(Ipv4Addr::new(127, 77, high, low + 1).into(), 8000)
}

/// A port at which nobody listens.
pub fn outside() -> SocketAddr {
    SocketAddr::new(Ipv4Addr::LOCALHOST.into(), free_port())
}

pub fn listen(outside: SocketAddr) -> Listen {
    Listen { outside, inside: 8000, wakes_silent: false, http: true, proxy_protocol: false }
}

pub fn id(number: u8) -> SandboxId {
    SandboxId::from_bytes([number; 16])
}

pub fn route(number: u8, generation: u64, target: Target, listen: Listen) -> Route {
    Route {
        sandbox: id(number),
        name: format!("sandbox-{number}"),
        generation,
        target,
        cut_after_ms: 100,
        ports: vec![listen],
    }
}

pub fn open(at: SocketAddr) -> Target {
    Target::Open { address: at.ip(), pid: None }
}

pub async fn put(relay: &Relay, route: Route) {
    assert_eq!(relay.ask(Request::Put(route)).await, Ok(Response::Held(vec![])));
}

pub async fn counts(relay: &Relay) -> Vec<Count> {
    match relay.ask(Request::Counts).await.unwrap() {
        Response::Counts(counts) => counts,
        other => panic!("{other:?}"),
    }
}

/// The next wake that is asked for; what else is said is passed over.
pub async fn wake(relay: &Relay) -> SandboxId {
    soon("a wake", async {
        loop {
            if let Event::Wake { sandbox, .. } = relay.event().await.unwrap() {
                return sandbox;
            }
        }
    })
    .await
}

/// Looks until `holds`.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    soon(what, async {
        while !holds().await {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// A server that says its name to whoever speaks, and then echoes.
pub struct Named {
    pub accepted: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Named {
    pub async fn start(at: SocketAddr, name: &'static str) -> Self {
        let socket = TcpListener::bind(at).await.unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = socket.accept().await.unwrap();
                count.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(echo(stream, name));
            }
        });
        Self { accepted, task }
    }

    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn echo(mut stream: TcpStream, name: &str) -> io::Result<()> {
    let mut buffer = vec![0; 65_536];
    let mut greeted = false;
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return stream.shutdown().await;
        }
        if !greeted {
            stream.write_all(name.as_bytes()).await?;
            greeted = true;
        }
        stream.write_all(&buffer[..read]).await?;
    }
}

pub async fn connect(to: SocketAddr) -> TcpStream {
    soon("a connection", TcpStream::connect(to)).await.unwrap()
}

/// Says `word`, and hears `length` bytes.
pub async fn exchange(stream: &mut TcpStream, word: &str, length: usize) -> io::Result<String> {
    stream.write_all(word.as_bytes()).await?;
    let mut heard = vec![0; length];
    soon("an answer", stream.read_exact(&mut heard)).await?;
    Ok(String::from_utf8(heard).unwrap())
}

/// How a connection ended that had nothing more to say.
pub async fn end_of(stream: &mut TcpStream) -> io::Result<usize> {
    soon("an end", stream.read(&mut [0; 64])).await
}
