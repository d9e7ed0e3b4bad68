//! The clock: the system's, or one that a test moves. The only file that may ask what time it is.

use std::{
    sync::{LazyLock, Mutex},
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};

/// Tells the time.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// The present instant, to the millisecond, which is what the store keeps.
    fn now(&self) -> Timestamp;

    /// How long it has been since a moment that stays the same, whatever is done to the clock meanwhile.
    fn steady(&self) -> Duration;

    /// When this machine was started; in the far past if that cannot be told.
    fn booted_at(&self) -> Timestamp;
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

    fn booted_at(&self) -> Timestamp {
        let uptime = std::fs::read_to_string("/proc/uptime").ok();
        let seconds: Option<f64> = uptime.and_then(|text| text.split_whitespace().next()?.parse().ok());
        let up = seconds.and_then(|s| SignedDuration::try_from_secs_f64(s).ok());
        up.and_then(|up| self.now().checked_sub(up).ok()).unwrap_or(Timestamp::MIN)
    }
}

/// A clock that stands still until a test moves it.
#[derive(Debug)]
pub struct ManualClock {
    now: Mutex<Timestamp>,
    steady: Mutex<Duration>,
    booted_at: Mutex<Timestamp>,
}

impl ManualClock {
    /// A clock that shows `at`.
    pub fn at(at: Timestamp) -> Self {
        Self { now: Mutex::new(to_millisecond(at)), steady: Mutex::default(), booted_at: Mutex::new(Timestamp::MIN) }
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
        *self.booted_at.lock().expect("no holder panics") = self.now();
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.now.lock().expect("no holder panics")
    }

    fn steady(&self) -> Duration {
        *self.steady.lock().expect("no holder panics")
    }

    fn booted_at(&self) -> Timestamp {
        *self.booted_at.lock().expect("no holder panics")
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
