//! The forwarders beside whom the relay is measured, and the relay: each in a process of its own, so that its cpu time
//! and its memory are its own. That process is this program again.

use std::{
    io::{self, BufRead, BufReader, Lines, Write},
    net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr},
    process::{ChildStdin, ChildStdout, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use socket2::SockRef;
use spindle::{
    clock::SystemClock,
    domain::{SandboxId, TrafficLimits},
    relay::{Listen, Relay, Request, Response, Route, Target},
};
use tokio::{
    io::{AsyncBufReadExt, Interest},
    net::{TcpListener, TcpStream},
};

use super::{Process, Samples};

/// The word by which this program knows that it is a forwarder.
const WORD: &str = "forward";

/// What a pipe of the comparator holds: the most that is allowed without privileges.
const PIPE: usize = 1 << 20;

/// As often as the relay counts at most.
const COUNTED_EVERY: Duration = Duration::from_millis(100);
const COUNTED: usize = 50;

const LIMITS: TrafficLimits = TrafficLimits {
    connections: 10_000,
    per_sandbox: 10_000,
    per_source: 10_000,
    wakes: 240,
    wakes_per_source: 60,
    wake_timeout: Duration::from_secs(30),
    floor: 1_024,
    refused: None,
};

/// A forwarder's process, as the bench sees it.
pub struct Forwarder {
    pub process: Process,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Forwarder {
    /// One of `kind`: `relay` or `splice`.
    pub fn start(kind: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let mut process = Process::start(command.args([WORD, kind]).stdin(Stdio::piped()).stdout(Stdio::piped()));
        let input = process.0.stdin.take().unwrap();
        let output = BufReader::new(process.0.stdout.take().unwrap()).lines();
        let mut forwarder = Self { process, input, output };
        assert_eq!(forwarder.ask("hello"), "hello");
        forwarder
    }

    /// Asks it for something, and waits for its answer.
    pub fn ask(&mut self, line: &str) -> String {
        self.tell(line);
        self.answer()
    }

    /// Asks it for something whose answer is waited for later.
    pub fn tell(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }

    pub fn answer(&mut self) -> String {
        self.output.next().expect("the forwarder has ended").unwrap()
    }

    /// Makes it forward to `server`; where.
    pub fn open(&mut self, server: SocketAddr) -> SocketAddr {
        let at = free();
        assert_eq!(self.ask(&format!("open {at} {server}")), "open");
        at
    }
}

/// An address at which nobody listens.
pub fn free() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Is a forwarder, if this process was started as one; whether it was.
pub fn was_one() -> bool {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [WORD, kind] = [0, 1].map(|n| words.get(n).map_or("", String::as_str)) else { return false };
    tokio::runtime::Runtime::new().unwrap().block_on(obey(kind));
    // What reads the input does not notice that it is over.
    std::process::exit(0);
}

/// Does what is asked, until nobody asks any more.
async fn obey(kind: &str) {
    let relay = Arc::new(Relay::here(LIMITS, Arc::new(SystemClock)));
    if kind == "relay" {
        // As in the server: it counts, and somebody listens.
        let (counting, listening) = (Arc::clone(&relay), Arc::clone(&relay));
        tokio::spawn(async move { counting.run().await });
        tokio::spawn(async move { while listening.event().await.is_some() {} });
    }
    let mut lines = tokio::io::BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let answer = match line.split(' ').collect::<Vec<_>>()[..] {
            ["open", at, server] => {
                let (at, server) = (at.parse().unwrap(), server.parse().unwrap());
                match kind {
                    "relay" => put(&relay, vec![open(at, server)]).await,
                    _ => drop(tokio::spawn(splice_all(TcpListener::bind(at).await.unwrap(), server))),
                }
                "open".to_owned()
            }
            ["sleepers", number] => sleepers(&relay, number.parse().unwrap()).await,
            ["count"] => count(&relay).await,
            _ => line,
        };
        println!("{answer}");
    }
}

async fn put(relay: &Relay, routes: Vec<Route>) {
    assert_eq!(relay.ask(Request::Table(routes)).await, Ok(Response::Held(vec![])));
}

fn open(at: SocketAddr, server: SocketAddr) -> Route {
    Route { target: Target::Open { address: server.ip(), pid: None }, ..route(0, vec![listen(at, server.port())]) }
}

fn route(number: u16, ports: Vec<Listen>) -> Route {
    let mut id = [0; 16];
    id[..2].copy_from_slice(&number.to_be_bytes());
    Route {
        sandbox: SandboxId::from_bytes(id),
        name: String::new(),
        generation: 1,
        target: Target::Asleep,
        cut_after_ms: 2_000,
        ports,
    }
}

fn listen(outside: SocketAddr, inside: u16) -> Listen {
    Listen { outside, inside, wakes_silent: false, http: true, proxy_protocol: false }
}

/// Puts a table of sandboxes that sleep, with two ports each; how many milliseconds that took.
async fn sleepers(relay: &Relay, number: u16) -> String {
    // An address of this process alone, so that no port is taken.
    let [.., high, low] = std::process::id().to_be_bytes();
    let at = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 77, high, low)), port);
    let ports = |n: u16| vec![listen(at(20_000 + 2 * n), 22), listen(at(20_001 + 2 * n), 8_000)];
    let routes = (0..number).map(|n| route(n, ports(n))).collect();
    let started = Instant::now();
    put(relay, routes).await;
    (started.elapsed().as_secs_f64() * 1e3).to_string()
}

/// Counts again and again; how many microseconds one count takes.
async fn count(relay: &Relay) -> String {
    let mut samples = Samples::default();
    for _ in 0..COUNTED {
        tokio::time::sleep(COUNTED_EVERY).await;
        samples.time(relay.ask(Request::Counts)).await.unwrap();
    }
    (samples.median() * 1e3).to_string()
}

/// The comparator: bytes that never leave the kernel.
async fn splice_all(listener: TcpListener, server: SocketAddr) {
    loop {
        let (client, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let server = TcpStream::connect(server).await?;
            client.set_nodelay(true)?;
            server.set_nodelay(true)?;
            tokio::try_join!(splice_one_way(&client, &server), splice_one_way(&server, &client))
        });
    }
}

async fn splice_one_way(source: &TcpStream, sink: &TcpStream) -> io::Result<()> {
    let (out, into) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
    fcntl_setpipe_size(&into, PIPE)?;
    let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
    loop {
        // The pipe is empty, so that only the source can be what is waited for.
        let take = || Ok(splice(source, None, &into, None, PIPE, flags)?);
        let mut held = source.async_io(Interest::READABLE, take).await?;
        if held == 0 {
            return SockRef::from(sink).shutdown(Shutdown::Write);
        }
        while held > 0 {
            held -= sink.async_io(Interest::WRITABLE, || Ok(splice(&out, None, sink, None, held, flags)?)).await?;
        }
    }
}
