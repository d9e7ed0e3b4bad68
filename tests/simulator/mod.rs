//! The simulator: runs random traces through the real code that gathers, decides and applies, on a scripted engine, a
//! clock of its own, a store in memory and a scripted relay. It counts wrong stops and late stops; there must be none.
//!
//! A trace is its seed: the same seed gives the same trace, to the millisecond. `make simulate` runs very many;
//! `SPINDLE_SIMULATE_SEED=… make simulate` tells one at length.

mod actions;
mod befall;
mod behind;
mod calls;
mod clock;
mod crash;
mod disk;
mod engine;
mod excuses;
mod judge;
mod life;
mod looks;
mod lost;
mod oracle;
mod process;
mod relay;
mod rhythm;
mod rules;
mod run;
mod subject;
mod trace;
mod violation;
mod wishes;
mod world;

/// The first seed of `make test`. The seeds of `make simulate` go on from there.
const SEEDS: u64 = 0x1d1e_0000;

/// How many traces `make test` runs.
const TRACES: u64 = 300;

#[test]
fn nobody_is_stopped_wrongly_or_late() {
    let sum = run::many(SEEDS, TRACES, |_, _| ());
    println!("{}", sum.report());
    assert!(sum.failed.is_empty(), "{}", sum.report());
    assert!(sum.idle_stops > sum.traces, "too few stops to prove anything: {}", sum.idle_stops);
}

#[test]
fn a_trace_is_its_seed() {
    for seed in SEEDS..SEEDS + 5 {
        assert_eq!(run::account(seed), run::account(seed));
    }
}

/// Run by `make simulate`.
#[test]
#[ignore = "it takes minutes; make simulate runs it optimised"]
fn simulate() {
    let number = |key| {
        let text = std::env::var(key).ok()?;
        let parsed = text.strip_prefix("0x").map_or_else(|| text.parse(), |hex| u64::from_str_radix(hex, 16));
        Some(parsed.unwrap_or_else(|_| panic!("{key} is no number: {text}")))
    };
    if let Some(seed) = number("SPINDLE_SIMULATE_SEED") {
        println!("{}", run::account(seed));
        return;
    }
    let sum = run::many(SEEDS, number("SPINDLE_SIMULATE_TRACES").unwrap_or(100_000), |sum, outcome| {
        outcome.violations.iter().for_each(|violation| println!("{:#x}: {violation}", outcome.seed));
        if sum.done % 5_000 == 0 {
            println!("{} traces, {} idle stops, {} traces failed", sum.done, sum.idle_stops, sum.failed.len());
        }
    });
    println!("{}", sum.report());
    assert!(sum.failed.is_empty(), "{} traces are not as they should be", sum.failed.len());
}
