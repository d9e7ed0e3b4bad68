//! The simulator's clock. It follows tokio's paused time, in which waiting costs nothing, and can also be set.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use jiff::Timestamp;
use tokio::time::Instant;

use crate::{clock::Clock, domain::Boot};

/// What the clock shows when a trace begins, in milliseconds since the epoch.
const BEGIN: i64 = 1_795_000_000_000;

/// The clock of one trace.
#[derive(Debug)]
pub struct SimClock {
    begin: Instant,
    ahead: AtomicI64,
}

impl SimClock {
    pub fn new() -> Self {
        Self { begin: Instant::now(), ahead: AtomicI64::new(0) }
    }

    /// Milliseconds since the trace began, even if the clock was set.
    pub fn elapsed(&self) -> i64 {
        self.begin.elapsed().as_millis() as i64
    }

    /// What the clock shows, in milliseconds since the epoch.
    pub fn wall(&self) -> i64 {
        BEGIN + self.elapsed() + self.ahead.load(Ordering::Relaxed)
    }

    /// Whether the clock was ever set.
    pub fn was_set(&self) -> bool {
        self.ahead.load(Ordering::Relaxed) != 0
    }

    /// Sets the clock ahead or back. No time passes.
    pub fn jump(&self, by: i64) {
        self.ahead.fetch_add(by, Ordering::Relaxed);
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.wall()).expect("a time near the beginning")
    }

    fn steady(&self) -> Duration {
        self.begin.elapsed()
    }

    fn boot(&self) -> Boot {
        Boot::from("the only one")
    }
}

/// Lets that many milliseconds pass.
pub async fn pass(milliseconds: i64) {
    tokio::time::sleep(Duration::from_millis(milliseconds.max(0) as u64)).await;
}
