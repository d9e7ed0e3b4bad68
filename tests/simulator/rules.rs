//! Tests the simulator itself: it breaks each rule of `IDLENESS.md` in one place, and the traces must show it.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use super::{SEEDS, run::until_found};
use crate::domain::rules::Rule;

/// The rules that can be broken in one line.
const RULES: [Rule; 16] = [
    Rule::StartIsEvidence,
    Rule::EvidenceNeverMovesBack,
    Rule::StopComparesAndSets,
    Rule::StartWins,
    Rule::OneAuthority,
    Rule::NobodyDelaysOthers,
    Rule::GraceAfterTrouble,
    Rule::LengthsArePassedTime,
    Rule::CouldNotLook,
    Rule::CouldNotRecord,
    Rule::IntentFirst,
    Rule::SubscribeThenList,
    Rule::StopNeverDeletes,
    Rule::OursIsNoEvidence,
    Rule::NewestEvidence,
    Rule::RareReports,
];

/// How many traces may pass until a broken rule is found.
const MOST: u64 = 400;

#[test]
fn every_broken_rule_is_found() {
    let (next, found) = (AtomicUsize::new(0), Mutex::new(vec![None; RULES.len()]));
    let work = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(rule) = RULES.get(at) else { return };
            let outcome = until_found(*rule, SEEDS, MOST);
            let seen = outcome.map(|(traces, outcome)| (traces, outcome.violations[0].to_string()));
            found.lock().expect("no holder panics")[at] = seen;
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..cores).for_each(|_| drop(scope.spawn(work))));
    let found = found.into_inner().expect("no holder panics");
    println!("{:<23} {:>6}  found as", "rule", "traces");
    for (rule, found) in RULES.iter().zip(&found) {
        let rule = format!("{rule:?}");
        match found {
            Some((traces, what)) => println!("{rule:<23} {traces:>6}  {what}"),
            None => println!("{rule:<23}      -  not found"),
        }
    }
    assert!(found.iter().all(Option::is_some), "a broken rule is not noticed");
}
