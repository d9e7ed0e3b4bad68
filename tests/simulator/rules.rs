//! Whether the simulator would notice: each rule of `idleness.md` is broken in one place, and must be found out.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use super::{SEEDS, run::until_found};
use crate::domain::rules::{BY_THE_CLOCK, UNRECORDED};

/// The rules that can be broken in a line, and how.
const RULES: [(u8, &str); 16] = [
    (1, "the clock runs from the creation, whatever was started since"),
    (2, "a report of 0 takes the earlier evidence away"),
    (3, "the stop looks at the state, and not at the deadline"),
    (4, "a start that comes while stopping is dropped"),
    (5, "a report of 0 stops at once, without the pass"),
    (6, "the pass waits for who is slow"),
    (7, "there is no grace"),
    (8, "whoever could not look at the relay stops all the same"),
    (UNRECORDED, "rule 8 again: what the store could not record counts as silence"),
    (BY_THE_CLOCK, "lengths are measured by the clock, however it was set"),
    (9, "the engine is told to stop before the row says so"),
    (10, "a new event stream asks for no look"),
    (11, "a stop removes"),
    (13, "whoever lists uses"),
    (14, "the pass does not ask what connections carried"),
    (31, "the limit is the same however rarely it reports"),
];

/// Within how many traces each is found.
const MOST: u64 = 400;

#[test]
fn every_broken_rule_is_found() {
    let (next, found) = (AtomicUsize::new(0), Mutex::new(vec![None; RULES.len()]));
    let work = || {
        while let Some((rule, _)) = RULES.get(next.fetch_add(1, Ordering::Relaxed)) {
            let at = RULES.iter().position(|r| r.0 == *rule).expect("it is one of them");
            let outcome = until_found(*rule, SEEDS, MOST);
            let seen = outcome.map(|(traces, outcome)| (traces, outcome.violations[0].to_string()));
            found.lock().expect("no holder panics")[at] = seen;
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..cores).for_each(|_| drop(scope.spawn(work))));
    let found = found.into_inner().expect("no holder panics");
    println!("{:>4}  {:>6}  found as", "rule", "traces");
    for ((rule, how), found) in RULES.iter().zip(&found) {
        match found {
            Some((traces, what)) => println!("{rule:>4}  {traces:>6}  {what}  ({how})"),
            None => println!("{rule:>4}       -  not found  ({how})"),
        }
    }
    assert!(found.iter().all(Option::is_some), "a broken rule is not noticed");
}
