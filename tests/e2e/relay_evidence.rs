//! Evidence: what a connection moves keeps its sandbox, up to the cap; that it is open does not.

use std::{
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{
    clients::{port, text, wait_for_mimic},
    relay_data::traffic,
};
use crate::support::{
    World,
    docker::Docker,
    talk::{dial, end, exchange},
};

const LIMIT: SignedDuration = SignedDuration::from_secs(3);

/// Beyond the limit: a pass, a grace and a telling of counts of a second each, and what the stop itself takes.
const LATE: SignedDuration = SignedDuration::from_secs(6);

fn instant(container: &Value, key: &str) -> Timestamp {
    text(container, key).parse().unwrap()
}

/// A connection that exchanges so many bytes, again and again, until it is dropped or breaks.
struct Talker(Arc<AtomicBool>, Option<JoinHandle<u64>>);

impl Talker {
    fn start(stream: TcpStream, bytes: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let talk = move || {
            let data = vec![b'x'; bytes];
            let mut sent = 0;
            while !stopped.load(Ordering::Relaxed) && exchange(&stream, &data, 0).is_ok() {
                sent += bytes as u64;
                thread::sleep(Duration::from_millis(250));
            }
            sent
        };
        Self(stop, Some(thread::spawn(talk)))
    }

    /// Ends it; how much it has sent and been sent.
    fn end(mut self) -> u64 {
        self.0.store(true, Ordering::Relaxed);
        self.1.take().unwrap().join().unwrap()
    }
}

/// Asserts that `stopped` was stopped for being idle, `limit` after its start and not much later.
#[track_caller]
fn stopped_in_time(stopped: &Value, started: Timestamp, limit: SignedDuration) {
    assert_eq!(stopped["stopped_reason"], "idle", "{stopped}");
    let ended = instant(stopped, "stopped_at");
    assert!(ended >= started + limit, "too early: {started} {ended}");
    assert!(ended < started + limit + LATE, "too late: {started} {ended}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_moves_keeps_a_sandbox_and_what_is_merely_open_does_not() {
    let world = Docker::start(&[("IDLE_TIMEOUT", "3")]).await;
    let (busy, silent, trickling) = (
        world.http().create("image=spindle/mimic").await,
        world.http().create("image=spindle/mimic").await,
        world.http().create("image=spindle/mimic").await,
    );
    // Waiting for the ports would itself move bytes, if less than the floor.
    let open = dial(port(&silent, "app_port"));
    let used = Talker::start(dial(port(&busy, "app_port")), 2_000);
    let little = Talker::start(dial(port(&trickling, "app_port")), 10);
    for c in [&silent, &trickling] {
        let stopped = world.until(c, |c| c["status"] == "stopped").await;
        stopped_in_time(&stopped, instant(c, "started_at"), LIMIT);
    }
    while Timestamp::now() < instant(&busy, "started_at") + LIMIT * 3 {
        world.moment().await;
    }
    let now = world.http().now(&busy).await;
    assert_eq!((&now["status"], &now["started_at"]), (&json!("running"), &busy["started_at"]), "{now}");
    assert!(instant(&now, "last_active_at") > instant(&busy, "started_at") + LIMIT * 2, "{now}");
    assert_eq!(now["active"], "0", "a connection is no report");
    assert!(little.end() < 512, "the trickle was above the floor");
    drop(open);
    let last = Timestamp::now();
    used.end();
    let stopped = world.until(&busy, |c| c["status"] == "stopped").await;
    stopped_in_time(&stopped, last, LIMIT - SignedDuration::from_secs(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cap_ends_even_the_busiest() {
    let world = Docker::start(&[("IDLE_TIMEOUT", "3"), ("CONNECTION_CAP", "6")]).await;
    let c = world.http().create("image=spindle/mimic").await;
    let used = Talker::start(dial(port(&c, "app_port")), 2_000);
    let stopped = world.until(&c, |c| c["status"] == "stopped").await;
    stopped_in_time(&stopped, instant(&c, "started_at"), SignedDuration::from_secs(6));
    used.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_object_says_of_traffic_is_exact() {
    let world = Docker::start(&[]).await;
    let c = world.http().create("image=spindle/mimic").await;
    let zero = |inside| json!({"container_port": inside, "connections": 0, "bytes_in": 0, "bytes_out": 0, "last_byte_at": null});
    assert_eq!(c["traffic"], json!([zero(22), zero(8_000)]));
    wait_for_mimic(&c);
    // What waiting for it has moved.
    let before = settled(&world, &c).await;
    let began = Timestamp::now();
    let (one, two) = (dial(port(&c, "app_port")), dial(port(&c, "app_port")));
    exchange(&one, &[1; 10_000], 0).unwrap();
    exchange(&two, &vec![2; 2_345_678], 0).unwrap();
    let expected = moved(&before, 2, 2_355_678);
    let mut now = Value::Null;
    while now != expected {
        assert!(Timestamp::now() < began + SignedDuration::from_secs(10), "{now} is not {expected}");
        world.moment().await;
        let shown = world.http().now(&c).await;
        now = without_time(traffic(&shown, 8_000));
    }
    exchange(&one, &[3; 7], 0).unwrap();
    end(&one);
    end(&two);
    assert_eq!(settled(&world, &c).await, moved(&before, 0, 2_355_685));
    let shown = world.http().now(&c).await;
    let last = instant(traffic(&shown, 8_000), "last_byte_at");
    assert!(last > began && last <= Timestamp::now(), "{shown}");
}

fn without_time(traffic: &Value) -> Value {
    let mut traffic = traffic.clone();
    traffic.as_object_mut().unwrap().remove("last_byte_at");
    traffic
}

fn moved(before: &Value, connections: u64, bytes: u64) -> Value {
    let mut after = before.clone();
    after["connections"] = connections.into();
    for key in ["bytes_in", "bytes_out"] {
        after[key] = (before[key].as_u64().unwrap() + bytes).into();
    }
    after
}

/// The traffic of the echo once nothing is open and what was is told.
async fn settled(world: &Docker, c: &Value) -> Value {
    let began = Instant::now();
    let (mut shown, mut since) = (Value::Null, Instant::now());
    // Longer than the counts may be late.
    while shown["connections"] != 0 || since.elapsed() < Duration::from_millis(1_500) {
        assert!(began.elapsed() < Duration::from_secs(20), "still {shown}");
        let now = without_time(traffic(&world.http().now(c).await, 8_000));
        if now != shown {
            (shown, since) = (now, Instant::now());
        }
        world.moment().await;
    }
    shown
}
