//! What the relay costs: beside no forwarder, docker-proxy and one that leaves the bytes in the kernel, turn by turn in
//! one run; then with many listeners, with many connections, at a wake, and in memory.

#[path = "../tests/support/mod.rs"]
mod support;
#[path = "support/mod.rs"]
mod yardstick;

use std::{
    net::SocketAddr,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use futures_util::{StreamExt, future::join_all, stream};
use serde_json::Value;
use spindle::engine::Containers;
use support::{World, docker::Docker, id};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::sleep,
};
use yardstick::{
    Process, Samples,
    bare::Bare,
    cpu,
    forward::{self, Forwarder},
    many_descriptors, only_asked,
    peer::{self, Moved},
    processes, pss, rss,
};

const ROUNDS: usize = 5;
const TOUCHES: usize = 80;
const SLEEPERS: u16 = 1_000;
const CONNECTIONS: usize = 2_000;
const WAKES: usize = 12;
const SANDBOXES: usize = 20;

/// For how long it is watched what idling costs.
const IDLE: Duration = Duration::from_secs(10);

/// For how long echoes are timed.
const ECHOES: Duration = Duration::from_secs(3);

/// One way to the server.
struct Way {
    name: &'static str,
    at: SocketAddr,
    /// Whose cpu time is what it costs.
    pid: Option<u32>,
    up: Direction,
    down: Direction,
    touches: Samples,
}

#[derive(Default)]
struct Direction {
    rates: Samples,
    bytes: u64,
    cpu: f64,
}

impl Direction {
    fn take(&mut self, pid: Option<u32>, transfer: impl FnOnce() -> Moved) {
        let used = || pid.map(cpu).unwrap_or_default();
        let before = used();
        let moved = transfer();
        self.cpu += used() - before;
        self.bytes += moved.bytes;
        self.rates.0.push(moved.gbit_per_second());
    }

    fn cpu_per_gb(&self) -> f64 {
        self.cpu / (self.bytes as f64 / 1e9)
    }
}

impl Way {
    fn new(name: &'static str, at: SocketAddr, pid: Option<u32>) -> Self {
        Self { name, at, pid, up: Direction::default(), down: Direction::default(), touches: Samples::default() }
    }
}

/// The engine's forwarder as the engine starts it, if it is on this machine.
fn docker_proxy(server: SocketAddr) -> Option<(Process, SocketAddr)> {
    let at = forward::free();
    let (host, container) = (at.port().to_string(), server.port().to_string());
    // It says on descriptor 3 that it is ready, and takes what it finds there for that, be it its own.
    let mut command = Command::new("sh");
    command.args(["-c", "command -v docker-proxy >/dev/null && exec docker-proxy \"$@\" 3>/dev/null", "sh"]);
    command.args(["-proto", "tcp", "-host-ip", "127.0.0.1", "-host-port", &host]);
    command.args(["-container-ip", "127.0.0.1", "-container-port", &container]);
    let mut process = Process::start(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()));
    while !peer::try_touch(at) {
        if process.0.try_wait().unwrap().is_some() {
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Some((process, at))
}

fn forwarding() {
    let server = peer::serve();
    let (mut relay, mut splice) = (Forwarder::start("relay"), Forwarder::start("splice"));
    let proxy = docker_proxy(server);
    let mut ways = vec![
        Way::new("direct", server, None),
        Way::new("relay", relay.open(server), Some(relay.process.pid())),
        Way::new("splice", splice.open(server), Some(splice.process.pid())),
    ];
    ways.extend(proxy.as_ref().map(|(process, at)| Way::new("docker-proxy", *at, Some(process.pid()))));
    for _ in 0..ROUNDS {
        for way in &mut ways {
            way.up.take(way.pid, || peer::up(way.at));
        }
        for way in &mut ways {
            way.down.take(way.pid, || peer::down(way.at));
        }
        for _ in 0..TOUCHES {
            for way in &mut ways {
                way.touches.0.push(peer::touch(way.at));
            }
        }
    }
    print_forwarding(&mut ways);
}

fn print_forwarding(ways: &mut [Way]) {
    print!("{:<28}", "");
    ways.iter().for_each(|way| print!(" {:>12}", way.name));
    println!("   ({ROUNDS} rounds, medians)");
    let mut row = |name: &str, of: fn(&mut Way) -> f64| {
        let values: Vec<f64> = ways.iter_mut().map(of).collect();
        print!("{name:<28}");
        values.iter().for_each(|value| print!(" {value:>12.3}"));
        // The relay is the second, and its share of what the third and the fourth do is what is asked for.
        let ratios: Vec<String> = values[2..].iter().map(|other| format!("{:.2}", values[1] / other)).collect();
        println!("   relay to the others: {}", ratios.join(", "));
        values[1] / values[2]
    };
    let up = row("up, Gbit/s", |way| way.up.rates.median());
    let down = row("down, Gbit/s", |way| way.down.rates.median());
    row("cpu seconds per GB, up", |way| way.up.cpu_per_gb());
    row("cpu seconds per GB, down", |way| way.down.cpu_per_gb());
    row("connect, one echo, us", |way| way.touches.median());
    row("the same, 99 of 100, us", |way| way.touches.at_most(0.99));
    println!(
        "of splice's throughput, plain copying has {up:.2} up and {down:.2} down; it stays while that is above 0.80"
    );
}

/// Listeners of sandboxes that all sleep.
async fn listeners() {
    let mut relay = Forwarder::start("relay");
    let pid = relay.process.pid();
    let before = rss(pid);
    let took: f64 = relay.ask(&format!("sleepers {SLEEPERS}")).parse().unwrap();
    let each = (rss(pid) - before) / f64::from(SLEEPERS);
    println!("\n{SLEEPERS} sandboxes asleep, two listeners each: {took:.0} ms to put the table, {each:.1} KiB each");
    println!("  cpu while idle: {:.3} % of a core", idle_percent(pid).await);
}

async fn idle_percent(pid: u32) -> f64 {
    let before = cpu(pid);
    sleep(IDLE).await;
    (cpu(pid) - before) / IDLE.as_secs_f64() * 100.0
}

/// Connections that all have said something and then idle.
async fn connections() {
    let server = echo().await;
    let mut relay = Forwarder::start("relay");
    let pid = relay.process.pid();
    let at = relay.open(server);
    drop(established(at).await);
    let before = rss(pid);
    let started = Instant::now();
    let mut all: Vec<TcpStream> =
        stream::iter((0..CONNECTIONS).map(|_| established(at))).buffer_unordered(128).collect().await;
    let took = started.elapsed().as_millis();
    let each = (rss(pid) - before) / CONNECTIONS as f64;
    println!("\n{CONNECTIONS} connections, each with an echo: {took} ms, {each:.1} KiB each");
    println!("  cpu while idle: {:.3} % of a core", idle_percent(pid).await);
    let mut straight = established(server).await;
    let mut direct = echoes(&mut straight).await;
    let mut quiet = echoes(&mut all[0]).await;
    relay.tell("count");
    let mut counted = echoes(&mut all[0]).await;
    let count: f64 = relay.answer().parse().unwrap();
    println!("  {:<34} {:>9} {:>13}", "one echo while the others idle, us", "median", "99 of 100");
    for (name, samples) in
        [("direct", &mut direct), ("relay", &mut quiet), ("relay, counted every 100 ms", &mut counted)]
    {
        println!("  {name:<34} {:>9.1} {:>13.1}", samples.median(), samples.at_most(0.99));
    }
    println!("  one count: {count:.0} us");
}

async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            client.set_nodelay(true).unwrap();
            tokio::spawn(async move {
                while let Ok(byte) = client.read_u8().await {
                    client.write_u8(byte).await.unwrap();
                }
            });
        }
    });
    at
}

async fn established(at: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(at).await.unwrap();
    stream.set_nodelay(true).unwrap();
    exchange(&mut stream).await;
    stream
}

async fn exchange(stream: &mut TcpStream) {
    stream.write_u8(1).await.unwrap();
    stream.read_u8().await.unwrap();
}

/// In microseconds.
async fn echoes(stream: &mut TcpStream) -> Samples {
    let (started, mut samples) = (Instant::now(), Samples::default());
    while started.elapsed() < ECHOES {
        samples.time(exchange(stream)).await;
    }
    samples.0.iter_mut().for_each(|sample| *sample *= 1e3);
    samples
}

fn app_port(container: &Value) -> SocketAddr {
    format!("127.0.0.1:{}", container["app_port"].as_str().unwrap()).parse().unwrap()
}

/// From a connection to a sandbox that was stopped for being idle to its first byte back, beside a start of the same
/// image and the moment from which its port echoes.
async fn wakes() {
    // Two take turns, so that one wait for idleness serves both.
    let world = Docker::start(&[("IDLE_TIMEOUT", "3"), ("REPORT_PERIOD", "1")]).await;
    let mut bare = Bare::new(&world);
    let mut pairs = Vec::new();
    for _ in 0..2 {
        let c = world.http().create("image=spindle/mimic").await;
        let spec = bare.spec();
        let published = spec.sandbox.ports[1].outside;
        let container = bare.create(&spec).await;
        bare.engine.stop(&container, Duration::from_secs(10)).await.unwrap();
        pairs.push((app_port(&c), c, SocketAddr::new(published.host, published.port), container));
    }
    let (mut ours, mut theirs) = (Samples::default(), Samples::default());
    for _ in 0..WAKES / pairs.len() {
        for (_, c, ..) in &pairs {
            world.until(c, |c| c["stopped_reason"] == "idle").await;
        }
        for (at, _, published, container) in &pairs {
            ours.0.push(peer::touch(*at) / 1e3);
            let started = async {
                bare.engine.start(container).await.unwrap();
                while !peer::try_touch(*published) {
                    sleep(Duration::from_millis(1)).await;
                }
            };
            theirs.time(started).await;
        }
        for (.., container) in &pairs {
            bare.engine.stop(container, Duration::from_secs(10)).await.unwrap();
        }
    }
    let (ours, theirs) = (ours.median(), theirs.median());
    println!("\nwake to first byte, {WAKES} each, medians: {ours:.1} ms; the bare engine's start {theirs:.1} ms");
    println!("  the relay and the server add {:.1} ms, of which 30 are allowed", ours - theirs);
}

/// What the processes beside running sandboxes take, with the relay and with ports that the engine publishes.
async fn memory() {
    let world = Docker::start(&[]).await;
    let server = pss(world.pid()).unwrap();
    let mut containers = Vec::new();
    for _ in 0..SANDBOXES {
        containers.push(world.http().create("image=spindle/mimic").await);
    }
    let ids: Vec<String> = containers.iter().map(|c| id(c).to_owned()).collect();
    let with_relay = [shims(&ids), proxies(&world), pss(world.pid()).unwrap() - server];
    for deleted in join_all(containers.iter().map(|c| world.http().delete(c))).await {
        deleted.expect(204);
    }
    let mut bare = Bare::new(&world);
    let mut ids = Vec::new();
    for _ in 0..SANDBOXES {
        let spec = bare.spec();
        ids.push(bare.create(&spec).await.to_string());
    }
    let with_engine = [shims(&ids), proxies(&world), 0.0];
    println!(
        "\n{:<34} {:>9} {:>13}   (Pss, {SANDBOXES} running)",
        "MB per sandbox, two ports each", "relay", "published"
    );
    let names = ["containerd-shim", "docker-proxy", "growth of our server"];
    for ((name, ours), theirs) in names.iter().zip(with_relay).zip(with_engine) {
        println!("{name:<34} {:>9.2} {:>13.2}", each(ours), each(theirs));
    }
    let (ours, theirs) = (each(with_relay.iter().sum()), each(with_engine.iter().sum()));
    println!("{:<34} {ours:>9.2} {theirs:>13.2}   ratio {:.2}", "together", ours / theirs);
}

fn each(kib: f64) -> f64 {
    kib * 1_024.0 / 1e6 / SANDBOXES as f64
}

fn shims(containers: &[String]) -> f64 {
    let of_ours = |line: &str| line.contains("containerd-shim") && containers.iter().any(|c| line.contains(c));
    sum_pss(&processes(of_ours))
}

fn proxies(world: &Docker) -> f64 {
    let ours = format!("-container-ip {}", world.subnet.trim_end_matches("0/24"));
    sum_pss(&processes(|line| line.contains("docker-proxy") && line.contains(&ours)))
}

fn sum_pss(pids: &[u32]) -> f64 {
    // An empty sum of floats is a negative zero.
    pids.iter().filter_map(|pid| pss(*pid)).sum::<f64>() + 0.0
}

fn main() {
    many_descriptors();
    if only_asked() || forward::was_one() {
        return;
    }
    forwarding();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        listeners().await;
        connections().await;
        wakes().await;
        memory().await;
    });
}
