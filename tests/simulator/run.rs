//! Runs many traces on all cores, and writes the table of their results.

use std::{
    cell::RefCell,
    fmt::Write,
    sync::{
        Mutex, Once,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::trace::{self, Outcome};
use crate::{
    clock::Stopwatch,
    domain::rules::{self, Rule},
};

/// How many failing traces are told at length.
const TOLD: usize = 3;

thread_local! {
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// What has panicked on this thread since the last call. A pass that panics is caught, and is still wrong.
pub fn panics_of_this_thread() -> Vec<String> {
    PANICS.take()
}

fn remember_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICS.with_borrow_mut(|panics| panics.push(info.to_string()));
            before(info);
        }));
    });
}

/// The results of many traces.
#[derive(Debug, Default)]
pub struct Sum {
    pub traces: u64,
    pub done: u64,
    pub idle_stops: u64,
    pub other_stops: u64,
    pub too_late: u64,
    pub failed: Vec<Outcome>,
    pub took: Duration,
}

/// Runs the traces of the seeds from `first` on. `after_each` sees the results so far, and that of one trace.
pub fn many(first: u64, traces: u64, after_each: impl Fn(&Sum, &Outcome) + Sync) -> Sum {
    remember_panics();
    let watch = Stopwatch::start();
    let (next, sum) = (AtomicU64::new(0), Mutex::new(Sum { traces, ..Sum::default() }));
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= traces {
                return;
            }
            let outcome = trace::run(first + number, false);
            let mut sum = sum.lock().expect("no holder panics");
            sum.done += 1;
            sum.idle_stops += outcome.idle_stops;
            sum.other_stops += outcome.other_stops;
            sum.too_late += outcome.too_late;
            after_each(&sum, &outcome);
            if !outcome.violations.is_empty() {
                sum.failed.push(outcome);
            }
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..cores).for_each(|_| drop(scope.spawn(work))));
    let mut sum = sum.into_inner().expect("no holder panics");
    sum.failed.sort_by_key(|o| o.seed);
    sum.took = watch.elapsed();
    sum
}

/// The number of the first trace from `first` on that fails while `rule` is broken.
pub fn until_found(rule: Rule, first: u64, most: u64) -> Option<(u64, Outcome)> {
    remember_panics();
    rules::breaking(Some(rule), || {
        (0..most).map(|n| (n + 1, trace::run(first + n, false))).find(|(_, o)| !o.violations.is_empty())
    })
}

/// The trace of a seed, as a text.
pub fn account(seed: u64) -> String {
    remember_panics();
    let outcome = trace::run(seed, true);
    let mut text = format!("trace {seed:#x}\n");
    for line in outcome.account {
        let _ = writeln!(text, "{line}");
    }
    for violation in &outcome.violations {
        let _ = writeln!(text, "{violation}");
    }
    text
}

impl Sum {
    /// One table, and the accounts of the first traces that failed.
    pub fn report(&self) -> String {
        use super::violation::Kind::{LateStop, WrongStop};
        let count = |kinds: &dyn Fn(&super::violation::Kind) -> bool| {
            self.failed.iter().flat_map(|o| &o.violations).filter(|v| kinds(&v.kind)).count()
        };
        let rows = [
            ("traces", self.traces.to_string()),
            ("idle stops", self.idle_stops.to_string()),
            ("other stops", self.other_stops.to_string()),
            ("wrong stops", count(&|k| *k == WrongStop).to_string()),
            ("late stops", count(&|k| *k == LateStop).to_string()),
            ("other violations", count(&|k| !matches!(k, WrongStop | LateStop)).to_string()),
            ("reports that came after the decision", self.too_late.to_string()),
            ("seconds", format!("{:.1}", self.took.as_secs_f64())),
        ];
        let mut text = String::new();
        for (what, number) in rows {
            let _ = writeln!(text, "{what:<38}{number:>10}");
        }
        for outcome in self.failed.iter().take(TOLD) {
            let _ = writeln!(
                text,
                "\n{}replay: SPINDLE_SIMULATE_SEED={:#x} make simulate",
                account(outcome.seed),
                outcome.seed
            );
        }
        for outcome in self.failed.iter().skip(TOLD) {
            let _ = writeln!(text, "{:#x}: {}", outcome.seed, outcome.violations[0]);
        }
        text
    }
}
