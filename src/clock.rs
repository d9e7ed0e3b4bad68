//! The clock: the system's, or one that a test moves. The only file that may ask what time it is.

use std::{
    sync::{
        LazyLock, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};

use crate::domain::Boot;

/// Tells the time.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// The present instant, to the millisecond, which is what the store keeps.
    fn now(&self) -> Timestamp;

    /// How long it has been since a moment that stays the same, whatever is done to the clock meanwhile.
    fn steady(&self) -> Duration;

    /// Which start of this machine this is: another one after each reboot.
    fn boot(&self) -> Boot;
}

fn to_millisecond(at: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(at.as_millisecond()).expect("an instant that was in range before")
}

/// The machine's own clock.
#[derive(Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        to_millisecond(Timestamp::now())
    }

    fn steady(&self) -> Duration {
        static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
        BEGIN.elapsed()
    }

    fn boot(&self) -> Boot {
        // Where the kernel does not tell, no reboot is ever noticed.
        static ID: LazyLock<Boot> = LazyLock::new(|| {
            Boot::from(std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim())
        });
        ID.clone()
    }
}

/// A clock that stands still until a test moves it.
#[derive(Debug)]
pub struct ManualClock {
    now: Mutex<Timestamp>,
    steady: Mutex<Duration>,
    reboots: AtomicU32,
}

impl ManualClock {
    /// A clock that shows `at`.
    pub fn at(at: Timestamp) -> Self {
        Self { now: Mutex::new(to_millisecond(at)), steady: Mutex::default(), reboots: AtomicU32::new(0) }
    }

    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        *self.steady.lock().expect("no holder panics") += by;
        let mut now = self.now.lock().expect("no holder panics");
        *now = now.checked_add(SignedDuration::try_from(by).expect("short")).expect("in range");
    }

    /// Sets the clock, backwards too, while no time passes.
    pub fn set(&self, at: Timestamp) {
        *self.now.lock().expect("no holder panics") = to_millisecond(at);
    }

    /// Starts the machine anew.
    pub fn reboot(&self) {
        self.reboots.fetch_add(1, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.now.lock().expect("no holder panics")
    }

    fn steady(&self) -> Duration {
        *self.steady.lock().expect("no holder panics")
    }

    fn boot(&self) -> Boot {
        Boot::from(self.reboots.load(Ordering::Relaxed).to_string().as_str())
    }
}

/// Measures how long something takes, whatever happens to the clock meanwhile.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// How long it has been.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}
