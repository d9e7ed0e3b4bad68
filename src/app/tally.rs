//! Tally: what is counted for who watches the server, in memory only.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// What became of a check-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckInResult {
    /// It was recorded.
    Recorded,
    /// It came from no running sandbox.
    Unknown,
    /// It could not be recorded.
    Failed,
}

impl CheckInResult {
    /// All of them, in their order.
    pub const ALL: [Self; 3] = [Self::Recorded, Self::Unknown, Self::Failed];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            CheckInResult::Recorded => "recorded",
            CheckInResult::Unknown => "unknown",
            CheckInResult::Failed => "failed",
        }
    }
}

/// How many passes there were, and how long they took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Passes {
    /// How many ended.
    pub count: u64,
    /// How long all of them took.
    pub sum: Duration,
    /// How long the last one took.
    pub last: Duration,
}

/// What was counted since the server's start.
#[derive(Debug, Default)]
pub struct Tally {
    check_ins: [AtomicU64; 3],
    young_stops: AtomicU64,
    passes: Mutex<Passes>,
    carried: (AtomicU64, AtomicU64),
}

impl Tally {
    /// Counts a check-in.
    pub fn checked_in(&self, result: CheckInResult) {
        self.check_ins[result as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many check-ins ended so.
    pub fn check_ins(&self, result: CheckInResult) -> u64 {
        self.check_ins[result as usize].load(Ordering::Relaxed)
    }

    /// Counts an idle stop of somebody who had used it lately. There must be none.
    pub fn stopped_young(&self) {
        self.young_stops.fetch_add(1, Ordering::Relaxed);
    }

    /// How many such stops there were.
    pub fn young_stops(&self) -> u64 {
        self.young_stops.load(Ordering::Relaxed)
    }

    /// Counts bytes that connections carried, to sandboxes and from them.
    pub fn carry(&self, inwards: u64, outwards: u64) {
        self.carried.0.fetch_add(inwards, Ordering::Relaxed);
        self.carried.1.fetch_add(outwards, Ordering::Relaxed);
    }

    /// The bytes that connections carried, to sandboxes and from them.
    pub fn carried(&self) -> (u64, u64) {
        (self.carried.0.load(Ordering::Relaxed), self.carried.1.load(Ordering::Relaxed))
    }

    /// Counts a pass.
    pub fn passed(&self, took: Duration) {
        let mut passes = self.passes.lock().expect("no holder panics");
        *passes = Passes { count: passes.count + 1, sum: passes.sum + took, last: took };
    }

    /// The passes so far.
    pub fn passes(&self) -> Passes {
        *self.passes.lock().expect("no holder panics")
    }
}
