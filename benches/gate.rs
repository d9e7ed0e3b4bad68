//! What hostile clients cost the others at the gate before the API: how long a signed-in request takes beside silent
//! connections and slow ones from another address, what they leave in memory, and how fast a sandbox is turned away.

#[path = "../tests/support/mod.rs"]
mod support;
#[path = "support/mod.rs"]
mod yardstick;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use support::{Answer, Body, Http, World, docker::Docker, id};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::{interval, timeout},
};
use yardstick::{Samples, many_descriptors, only_asked, rss};

const REQUESTS: usize = 1_000;
const SILENT: usize = 2_000;
const SLOW: usize = 200;
const HOSTILE: usize = 20_000;
const BAD_LOGINS: u32 = 10_000;

/// How many connections from inside a sandbox.
const FROM_INSIDE: usize = 20_000;

/// admin:correct horse. The default password is for loopback alone.
const SIGNED_IN: [(&str, &str); 1] = [("authorization", "Basic YWRtaW46Y29ycmVjdCBob3JzZQ==")];

/// How long wrong passwords come.
const QUARTER: Duration = Duration::from_secs(15);

/// At most so long each siege is kept up.
const SIEGE: Duration = Duration::from_secs(30);

async fn connect(from: [u8; 4], to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    socket.connect(to).await
}

async fn send(http: &Http, method: &str, path: &str, body: Body<'_>) -> Answer {
    http.bare(method, path, body, &SIGNED_IN).await
}

/// Signed-in requests one after another, each on a new connection and then all on one.
async fn requests(http: &Http) -> Samples {
    let mut samples = Samples::default();
    for n in 0..REQUESTS {
        let fresh = Http::from_address(&http.base, [127, 0, 0, 1].into());
        let http = if n % 2 == 0 { &fresh } else { http };
        samples.time(send(http, "GET", "/v1/containers", Body::None)).await.expect(200);
    }
    samples
}

/// Keeps up so many connections from `from`, one byte a second each if `slow`: a closed one is opened anew.
fn besiege(siege: &mut JoinSet<()>, from: [u8; 4], to: SocketAddr, slow: bool) {
    siege.spawn(async move {
        let mut second = interval(Duration::from_secs(1));
        loop {
            second.tick().await;
            let Ok(mut connection) = connect(from, to).await else { continue };
            if slow {
                while connection.write_all(b"G").await.is_ok() {
                    second.tick().await;
                }
            } else {
                // Until it is cut off.
                let _ = connection.readable().await;
            }
        }
    });
}

async fn beside_hostile_clients(world: &Docker, to: SocketAddr) {
    let mut alone = requests(world.http()).await;
    let mut siege = JoinSet::new();
    for _ in 0..SILENT {
        besiege(&mut siege, [127, 0, 7, 1], to, false);
    }
    for _ in 0..SLOW {
        besiege(&mut siege, [127, 0, 7, 2], to, true);
    }
    let mut besieged = timeout(SIEGE, requests(world.http())).await.expect("the requests end");
    siege.shutdown().await;
    println!("a signed-in request, ms           alone   beside {SILENT} silent and {SLOW} slow clients   ratio");
    for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
        let (alone, besieged) = (alone.at_most(share), besieged.at_most(share));
        println!("  {name}                          {alone:8.2}   {besieged:8.2}   {:5.2}", besieged / alone);
    }
}

/// Signed-in requests for as long as the wrong passwords come: a tenth of what the machine could answer.
async fn requests_meanwhile(http: &Http) -> Samples {
    let mut samples = Samples::default();
    let mut next = interval(Duration::from_millis(10));
    let started = Instant::now();
    while started.elapsed() < QUARTER {
        next.tick().await;
        samples
            .time(send(&Http::from_address(&http.base, [127, 0, 0, 1].into()), "GET", "/v1/containers", Body::None))
            .await
            .expect(200);
    }
    samples
}

/// Wrong passwords from two addresses, so many that a minute has `BAD_LOGINS`, for a quarter of one.
async fn beside_bad_logins(world: &Docker) {
    let mut alone = requests_meanwhile(world.http()).await;
    let mut siege = JoinSet::new();
    for n in 0..20_u8 {
        let guesser = Http::from_address(&world.http().base, [127, 0, 9, n % 2 + 1].into());
        siege.spawn(async move {
            let mut tick = interval(Duration::from_mins(1) * 20 / BAD_LOGINS);
            let mut answers = [0_u32; 2];
            for guess in 0_u32.. {
                tick.tick().await;
                let given = http_auth_basic::Credentials::new(&format!("user{}", guess % 50), "guessed wrong");
                let headers = [("authorization", given.as_http_header())];
                let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
                let status = guesser.bare("GET", "/v1/me", Body::None, &headers).await.status;
                answers[usize::from(status == 429)] += 1;
                if guess >= BAD_LOGINS / 20 / 4 {
                    break;
                }
            }
            answers
        });
    }
    let mut besieged = timeout(SIEGE, requests_meanwhile(world.http())).await.expect("the requests end");
    let (mut wrong, mut slowed) = (0, 0);
    while let Some(Ok([w, s])) = siege.join_next().await {
        (wrong, slowed) = (wrong + w, slowed + s);
    }
    println!(
        "beside {BAD_LOGINS} wrong passwords a minute, for a quarter of one: {wrong} were compared, {slowed} told to wait"
    );
    for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
        let (alone, besieged) = (alone.at_most(share), besieged.at_most(share));
        println!("  {name}, ms   {alone:8.2}   {besieged:8.2}   {:5.2}", besieged / alone);
    }
    println!("  the server's memory afterwards: {:.1} MB", rss(world.pid()) / 1e3);
}

/// What many silent connections, from as many addresses as are needed to fill every share, leave behind.
async fn left_behind(world: &Docker, to: SocketAddr) {
    let before = rss(world.pid());
    let mut held = Vec::new();
    let started = Instant::now();
    for n in 0..HOSTILE {
        if let Ok(connection) = connect([127, 0, 8, (n % 200) as u8 + 1], to).await {
            held.push(connection);
        }
        // No more descriptors of our own than the server would take of its.
        if held.len() >= 2_000 {
            held.clear();
        }
    }
    let during = rss(world.pid());
    drop(held);
    send(world.http(), "GET", "/v1/containers", Body::None).await.expect(200);
    let (after, seconds) = (rss(world.pid()), started.elapsed().as_secs_f64());
    println!("{HOSTILE} hostile connections in {seconds:.1} s; the server's memory, MB");
    println!("  before {:.1}, during {:.1}, after {:.1}", before / 1e3, during / 1e3, after / 1e3);
}

/// What a sandbox that opens connection after connection to the API does to the others.
async fn from_inside(world: &Docker) {
    let script = format!(
        "my ($n, $reset) = (0, 0); while ($n++ < {FROM_INSIDE}) {{ \
         my $s = IO::Socket::INET->new(PeerAddr => $ARGV[0]) or do {{ $reset++ if $!{{ECONNRESET}}; next }}; \
         sysread($s, my $byte, 1); $reset++ if $!{{ECONNRESET}} }} print $reset"
    );
    let create = send(world.http(), "POST", "/v1/containers", Body::Form("image=spindle/mimic"));
    let c = create.await.expect(201).json();
    let api = format!("{}:{}", world.gateway(), world.setting("PORT"));
    let (name, before) = (id(&c).to_owned(), rss(world.pid()));
    let mut alone = requests(world.http()).await;
    let attack = tokio::task::spawn_blocking(move || {
        let started = Instant::now();
        let reset =
            support::docker::docker(&["exec", &name, "perl", "-MIO::Socket::INET", "-MErrno", "-e", &script, &api]);
        (reset, started.elapsed().as_secs_f64())
    });
    let mut besieged = requests(world.http()).await;
    let (reset, seconds) = attack.await.unwrap();
    println!("{FROM_INSIDE} connections from inside a sandbox in {seconds:.1} s: {reset} reset");
    println!(
        "  a signed-in request meanwhile: p99 {:.2} ms, alone {:.2}; memory {:.1} MB, before {:.1}",
        besieged.at_most(0.99),
        alone.at_most(0.99),
        rss(world.pid()) / 1e3,
        before / 1e3
    );
    send(world.http(), "DELETE", support::uri(&c), Body::None).await.expect(204);
    world.until_none_is_held().await;
}

#[tokio::main]
async fn main() {
    if only_asked() {
        return;
    }
    many_descriptors();
    let world = Docker::start(&[("ADDRESS", "0.0.0.0"), ("ADMIN_PASSWORD", "correct horse"), ("LOG", "error")]).await;
    let to = world.http().base.trim_start_matches("http://").parse().unwrap();
    send(world.http(), "GET", "/v1/containers", Body::None).await.expect(200);
    beside_hostile_clients(&world, to).await;
    beside_bad_logins(&world).await;
    left_behind(&world, to).await;
    from_inside(&world).await;
}
