//! What Spindle adds to the bare engine: each verb beside the same steps on the engine, in one run, turn
//! by turn, so that the machine's moods hit both alike. Prints medians in milliseconds and their ratio.

#[path = "../tests/support/mod.rs"]
mod support;
#[path = "support/mod.rs"]
mod yardstick;

use std::time::Instant;

use futures_util::future::join_all;
use serde_json::Value;
use spindle::engine::Containers;
use support::{
    Body, Http, World,
    docker::{Docker, try_docker},
    id, is,
};
use yardstick::{Samples, bare::Bare, only_asked};

const ROUNDS: usize = 15;
const CHECK_INS: usize = 20_000;
const CLIENTS: usize = 16;
const CLASS: usize = 40;
const CLASS_ROUNDS: usize = 3;
const IN_FLIGHT: usize = 16;
const FLIGHTS: usize = 5;

async fn lifecycle() {
    let world = Docker::start(&[]).await;
    let mut bare = Bare::new(&world);
    let rows = [
        "POST create",
        "PATCH stop, answer",
        "PATCH stop, stopped",
        "PATCH start",
        "DELETE, answer",
        "DELETE, removed",
    ];
    let mut spindle: [Samples; 6] = Default::default();
    let mut engine: [Samples; 6] = Default::default();
    let grace = std::time::Duration::from_secs(10);
    for _ in 0..ROUNDS {
        let c: Value = spindle[0].time(world.http().create("image=spindle/mimic")).await;
        let spec = bare.spec();
        let container = engine[0].time(bare.create(&spec)).await;

        let stopping = Instant::now();
        spindle[1].time(world.http().patch(&c, "status=stopped")).await.expect(200);
        world.until(&c, is("stopped")).await;
        spindle[2].0.push(stopping.elapsed().as_secs_f64() * 1e3);
        engine[2].time(bare.engine.stop(&container, grace)).await.unwrap();

        spindle[3].time(world.http().patch(&c, "status=running")).await.expect(200);
        engine[3]
            .time(async {
                bare.engine.start(&container).await.unwrap();
                bare.engine.inspect(&container).await.unwrap()
            })
            .await;

        let deleting = Instant::now();
        spindle[4].time(world.http().delete(&c)).await.expect(204);
        while try_docker(&["inspect", id(&c)]).0 {}
        spindle[5].0.push(deleting.elapsed().as_secs_f64() * 1e3);
        engine[5].time(bare.engine.remove(&spec.sandbox.id, Some(&container))).await.unwrap();
    }
    println!("{:<22} {:>10} {:>10} {:>7}   ({ROUNDS} rounds, medians in ms)", "", "spindle", "engine", "ratio");
    for ((name, ours), theirs) in rows.iter().zip(&mut spindle).zip(&mut engine) {
        if theirs.0.is_empty() {
            println!("{name:<22} {:>10.1} {:>10} {:>7}", ours.median(), "-", "-");
        } else {
            let (ours, theirs) = (ours.median(), theirs.median());
            println!("{name:<22} {ours:>10.1} {theirs:>10.1} {:>7.2}", ours / theirs);
        }
    }
}

/// A whole class is stopped at once: what each of them waits for.
async fn class_stops() {
    let world = Docker::start(&[]).await;
    let made = join_all((0..CLASS).map(|_| world.http().create("image=spindle/mimic"))).await;
    let mut answers = Samples::default();
    for _ in 0..CLASS_ROUNDS {
        let stop = async |c: &Value| {
            let mut sample = Samples::default();
            sample.time(world.http().patch(c, "status=stopped")).await.expect(200);
            sample.0[0]
        };
        answers.0.extend(join_all(made.iter().map(stop)).await);
        for c in &made {
            world.until(c, is("stopped")).await;
        }
        for started in join_all(made.iter().map(|c| world.http().patch(c, "status=running"))).await {
            started.expect(200);
        }
    }
    let (half, most) = (answers.median(), answers.at_most(0.95));
    println!("{CLASS} stops at once, answers: {half:.1} ms p50, {most:.1} ms p95 ({CLASS_ROUNDS} rounds)");
}

/// Creates per second with many in flight, beside the bare engine's with as many and no ports to publish.
async fn creates_in_flight() {
    let world = Docker::start(&[]).await;
    let mut bare = Bare::new(&world);
    let (mut ours, mut theirs) = (Samples::default(), Samples::default());
    for _ in 0..FLIGHTS {
        let made = ours.time(join_all((0..IN_FLIGHT).map(|_| world.http().create("image=spindle/mimic")))).await;
        for deleted in join_all(made.iter().map(|c| world.http().delete(c))).await {
            deleted.expect(204);
        }
        while !world.held().await.is_empty() {
            world.moment().await;
        }
        let mut specs: Vec<_> = (0..IN_FLIGHT).map(|_| bare.spec()).collect();
        specs.iter_mut().for_each(|spec| spec.sandbox.ports.clear());
        let made = theirs.time(join_all(specs.iter().map(|spec| bare.create(spec)))).await;
        let removed = specs.iter().zip(&made).map(|(spec, made)| bare.engine.remove(&spec.sandbox.id, Some(made)));
        for removed in join_all(removed).await {
            removed.unwrap();
        }
    }
    let rate = |samples: &mut Samples| IN_FLIGHT as f64 * 1e3 / samples.median();
    let (ours, theirs) = (rate(&mut ours), rate(&mut theirs));
    println!(
        "creates per second, {IN_FLIGHT} in flight: {ours:.2} spindle, {theirs:.2} engine, {:.2} of it ({FLIGHTS} flights)",
        ours / theirs
    );
}

/// Check-ins through HTTP and into a store, each durable before it is answered, beside requests that
/// touch no store.
async fn check_ins() {
    let world = Docker::start(&[]).await;
    let c = world.http().create("image=spindle/mimic").await;
    let token = world.token(&c).await;
    let body = format!("active-connections=1&token={token}");
    let mut rates = Vec::new();
    for (path, body) in [("/v1/check-in", body.as_str()), ("/v1/check-in", "other=1")] {
        let started = Instant::now();
        let clients = (0..CLIENTS).map(|_| async {
            let http = Http::new(world.http().base.clone());
            for _ in 0..CHECK_INS / CLIENTS {
                http.bare("POST", path, Body::Form(body), &[]).await;
            }
        });
        join_all(clients).await;
        rates.push(CHECK_INS as f64 / started.elapsed().as_secs_f64());
    }
    println!("check-ins per second, {CLIENTS} clients, kept connections: {:.0} durable", rates[0]);
    println!("refused before the store: {:.0} ({:.2} of it reach the store)", rates[1], rates[0] / rates[1]);
}

fn main() {
    if only_asked() {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        lifecycle().await;
        class_stops().await;
        creates_in_flight().await;
        check_ins().await;
    });
}
