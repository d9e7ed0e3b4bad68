//! The soak: clients, stops, wakes and kills at random for as long as is asked, and every byte is checked.
//!
//! `SPINDLE_SOAK_SECONDS`, `SPINDLE_SOAK_SANDBOXES` and `SPINDLE_SOAK_SEED` say how long, how many and which; `make soak`
//! runs the long one.

mod support;

use std::{
    io::{self, ErrorKind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use serde_json::{Value, json};
use support::{
    Body, Http, World,
    docker::{Docker, wait_for},
    id,
    talk::{Random, end, exchange, reset, speak, try_dial},
    uri,
};
use tokio::runtime::Handle;

/// Clients that come to each sandbox at the same time.
const CLIENTS: u64 = 2;

/// The most that one exchange sends.
const LARGEST: u64 = 512 << 10;

/// How long a sandbox may take to be woken, under load.
const WAKE: Duration = Duration::from_mins(1);

/// One of the sandboxes, and what has been done to it.
struct Victim {
    container: Value,
    port: u16,
    /// By what its echo alters every byte: no two have the same.
    voice: u8,
    /// From when to when it was being stopped or killed; a time that has not ended has none.
    troubles: Mutex<Vec<(Instant, Option<Instant>)>>,
}

impl Victim {
    fn in_trouble(&self, from: Instant, to: Instant) -> bool {
        let troubles = self.troubles.lock().unwrap();
        troubles.iter().any(|(begun, over)| *begun <= to && over.is_none_or(|over| over >= from))
    }
}

/// What happened, in all.
#[derive(Default)]
struct Tally {
    exchanges: AtomicU64,
    bytes: AtomicU64,
    excused: AtomicU64,
    stops: AtomicU64,
    kills: AtomicU64,
    /// What nothing excuses.
    wrong: Mutex<Vec<String>>,
}

fn count(what: &AtomicU64) {
    what.fetch_add(1, Ordering::Relaxed);
}

impl Tally {
    fn is_right(&self) -> bool {
        self.wrong.lock().unwrap().is_empty()
    }

    fn blame(&self, what: String) {
        eprintln!("wrong: {what}");
        self.wrong.lock().unwrap().push(what);
    }
}

fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")),
        Err(_) => default,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_byte_is_lost_or_crossed_and_no_descriptor_stays() {
    let seconds = setting("SPINDLE_SOAK_SECONDS", 20);
    let count = setting("SPINDLE_SOAK_SANDBOXES", 4);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = setting("SPINDLE_SOAK_SEED", now % 1_000_000);
    println!("soak: SPINDLE_SOAK_SECONDS={seconds} SPINDLE_SOAK_SANDBOXES={count} SPINDLE_SOAK_SEED={seed}");
    assert!((1..=255).contains(&count), "each sandbox has a voice of its own, of which there are 255");
    let settings = [
        ("PORT_RANGE", "29000-29499"),
        ("WAKES_PER_MINUTE", "100000"),
        ("WAKE_TIMEOUT", "60"),
        ("MEMORY", "32m"),
        ("MAX_RUNNING", "250"),
        ("LOG", "warn,spindle=info"),
    ];
    let world = Docker::start(&settings).await;
    let mut victims = Vec::new();
    for voice in 1..=count {
        victims.push(Arc::new(victim(&world, voice as u8).await));
    }
    all_awake(&world, &victims).await;
    let before = settled(&world).await;

    let (tally, done) = (Arc::new(Tally::default()), Arc::new(AtomicBool::new(false)));
    let mut threads = Vec::new();
    for (number, victim) in victims.iter().enumerate() {
        for client in 0..=CLIENTS {
            let random = Random::new(seed.wrapping_mul(1_000).wrapping_add(number as u64 * 10 + client));
            let (victim, tally, done) = (Arc::clone(victim), Arc::clone(&tally), Arc::clone(&done));
            let (http, runtime) = (world.http().clone(), Handle::current());
            threads.push(thread::spawn(move || match client {
                0 => torment(&victim, &tally, &done, random, &http, &runtime),
                _ => visit(&victim, &tally, &done, random),
            }));
        }
    }
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(seconds) && tally.is_right() {
        world.moment().await;
    }
    done.store(true, Ordering::Relaxed);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    report(&tally, seconds);

    all_awake(&world, &victims).await;
    let after = settled(&world).await;
    println!("soak: {} descriptors before, {} after", before.1, after.1);
    assert_eq!(after.0, before.0, "listeners");
    assert!(after.1 <= before.1 + 4, "descriptors stay open: {} before, {} after", before.1, after.1);
    let wrong = tally.wrong.lock().unwrap();
    assert!(wrong.is_empty(), "{} things went wrong (seed {seed}): {wrong:#?}", wrong.len());
}

async fn victim(world: &Docker, voice: u8) -> Victim {
    let body = json!({
        "image": "spindle/mimic", "wake": "always", "idle_timeout": "never", "env": {"MIMIC_XOR": voice.to_string()},
    });
    let container = world.http().send("POST", "/v1/containers", Body::Json(body)).await.expect(201).json();
    let port = container["app_port"].as_str().unwrap().parse().unwrap();
    Victim { container, port, voice, troubles: Mutex::default() }
}

/// Wakes everybody and makes sure that the server knows it.
async fn all_awake(world: &Docker, victims: &[Arc<Victim>]) {
    for victim in victims {
        wait_for("an answer at the end", WAKE, || speak(victim.port, victim.voice).is_ok());
        world.until(&victim.container, |c| c["status"] == "running").await;
    }
}

/// What the relay has open while no connection is: how many listeners, and at least how many descriptors. Those of
/// requests and of the talk with the engine come and go.
async fn settled(world: &Docker) -> (u64, u64) {
    let (began, mut since, mut least) = (Instant::now(), Instant::now(), u64::MAX);
    loop {
        let relay = world.http().get("/v1/health").await.json()["relay"].clone();
        let of = |key: &str| relay[key].as_u64().unwrap();
        if of("connections") != 0 {
            assert!(began.elapsed() < Duration::from_secs(30), "connections stay open: {relay}");
            (since, least) = (Instant::now(), u64::MAX);
        }
        least = least.min(of("descriptors"));
        if since.elapsed() > Duration::from_secs(2) {
            return (of("listeners"), least);
        }
        world.moment().await;
    }
}

fn report(tally: &Tally, seconds: u64) {
    let of = |what: &AtomicU64| what.load(Ordering::Relaxed);
    println!(
        "soak: {} exchanges, {} MB each way, {} broken off by {} stops and {} kills, in {seconds} s",
        of(&tally.exchanges),
        of(&tally.bytes) >> 20,
        of(&tally.excused),
        of(&tally.stops),
        of(&tally.kills),
    );
    let wakes = of(&tally.stops) + of(&tally.kills);
    assert!(of(&tally.exchanges) > 0 && of(&tally.bytes) > 0 && wakes > 0, "nothing was tried");
}

/// A client that connects again and again, sends, and checks what comes back.
fn visit(victim: &Victim, tally: &Tally, done: &AtomicBool, mut random: Random) {
    while !done.load(Ordering::Relaxed) {
        let began = Instant::now();
        if let Err(e) = connection(victim, tally, &mut random) {
            let excused = e.kind() != ErrorKind::InvalidData && victim.in_trouble(began, Instant::now());
            if excused {
                count(&tally.excused);
            } else {
                let container = id(&victim.container);
                tally.blame(format!("{container} (voice {}) after {:?}: {e}", victim.voice, began.elapsed()));
            }
        }
        pause(random.below(100));
    }
}

/// One connection: some exchanges, and one end or another.
fn connection(victim: &Victim, tally: &Tally, random: &mut Random) -> io::Result<()> {
    let stream = try_dial(victim.port)?;
    stream.set_read_timeout(Some(WAKE))?;
    for _ in 0..=random.below(4) {
        let order = random.below(u64::from(LARGEST.ilog2()) + 1);
        let length = 1 + random.below(1 << order);
        let data = random.bytes(length as usize);
        exchange(&stream, &data, victim.voice)?;
        count(&tally.exchanges);
        tally.bytes.fetch_add(length, Ordering::Relaxed);
        pause(random.below(30));
    }
    match random.below(4) {
        0 => reset(stream),
        1 => {
            end(&stream);
            let (rest, _) = support::talk::drain(&stream);
            if !rest.is_empty() {
                return Err(io::Error::new(ErrorKind::InvalidData, format!("{} bytes too many", rest.len())));
            }
        }
        _ => drop(stream),
    }
    Ok(())
}

/// Stops or kills a sandbox again and again. A client that comes afterwards is always served.
fn torment(victim: &Victim, tally: &Tally, done: &AtomicBool, mut random: Random, http: &Http, runtime: &Handle) {
    while !done.load(Ordering::Relaxed) {
        pause(1_000 + random.below(4_000));
        victim.troubles.lock().unwrap().push((Instant::now(), None));
        if random.below(3) == 0 {
            // It may be asleep, if somebody else has just stopped it.
            let (_, _) = support::docker::try_docker(&["kill", id(&victim.container)]);
            count(&tally.kills);
        } else {
            let stop = http.send("PATCH", uri(&victim.container), Body::Form("status=stopped"));
            let answer = runtime.block_on(stop);
            if answer.status != 200 {
                tally.blame(format!("a stop was answered {answer:?}"));
            }
            count(&tally.stops);
        }
        let asked = Instant::now();
        let mut tries = 0;
        // Who comes now is meant for the next start, unless a kill is not known yet.
        while let Err(e) = speak(victim.port, victim.voice) {
            tries += 1;
            if e.kind() == ErrorKind::InvalidData || asked.elapsed() > WAKE {
                tally.blame(format!("not woken after {:?} and {tries} tries: {e}", asked.elapsed()));
                break;
            }
        }
        let over = Instant::now();
        victim.troubles.lock().unwrap().last_mut().unwrap().1 = Some(over);
    }
}

fn pause(milliseconds: u64) {
    thread::park_timeout(Duration::from_millis(milliseconds));
}
