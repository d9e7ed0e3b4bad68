//! The clock: the system's, or one that a test moves. No other file may ask what time it is.

use std::{
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicI64, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use rustix::time::{ClockId, clock_gettime};

use crate::domain::Boot;

/// Tells the time.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// The present instant, to the millisecond, as the store keeps it.
    fn now(&self) -> Timestamp;

    /// The time since a fixed moment of this start of the machine, even if the clock is set meanwhile. Time in which
    /// the machine sleeps does not count.
    fn steady(&self) -> Duration;

    /// Which start of this machine this is. Each reboot gives a new value.
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
        let since_boot = clock_gettime(ClockId::Monotonic);
        Duration::new(since_boot.tv_sec.unsigned_abs(), since_boot.tv_nsec.unsigned_abs() as u32)
    }

    fn boot(&self) -> Boot {
        // If the kernel does not tell, no reboot is ever noticed.
        static ID: LazyLock<Boot> = LazyLock::new(|| {
            Boot::from(std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim())
        });
        ID.clone()
    }
}

/// The smallest change of the clock for which records are restated.
const STEP: SignedDuration = SignedDuration::from_secs(1);

/// The clock by which records are kept. It follows the steady time. When the machine's clock was set, it follows only
/// when told to, together with the records, so that the time between two records is always the time that has passed.
#[derive(Debug)]
pub struct RecordClock {
    clock: Arc<dyn Clock>,
    /// How far it is ahead of the steady time, in milliseconds.
    ahead: AtomicI64,
}

impl RecordClock {
    /// A clock that goes on from records kept so far `ahead` of the steady time; `None`: it follows the machine's
    /// clock.
    pub fn new(clock: Arc<dyn Clock>, ahead: Option<i64>) -> Self {
        let kept = Self { clock, ahead: AtomicI64::default() };
        kept.take_up(ahead.unwrap_or_else(|| kept.shown()));
        kept
    }

    /// The present instant, as records have it.
    pub fn now(&self) -> Timestamp {
        let now = self.clock.now();
        let kept = i64::try_from(self.steady().as_millis()).unwrap_or(i64::MAX).saturating_add(self.ahead());
        if (now.as_millisecond() - kept).abs() < STEP.as_millis() as i64 {
            now
        } else {
            Timestamp::from_millisecond(kept).unwrap_or(now)
        }
    }

    /// As [`Clock::steady`].
    pub fn steady(&self) -> Duration {
        self.clock.steady()
    }

    /// As [`Clock::boot`].
    pub fn boot(&self) -> Boot {
        self.clock.boot()
    }

    /// How far it is ahead of the steady time, in milliseconds.
    pub fn ahead(&self) -> i64 {
        self.ahead.load(Ordering::SeqCst)
    }

    /// How far the machine's clock is ahead of it at present, in milliseconds.
    pub fn shown(&self) -> i64 {
        self.clock.now().as_millisecond().saturating_sub(self.steady().as_millis() as i64)
    }

    /// How far the machine's clock was set since the last [`RecordClock::take_up`]; zero if less than a second.
    pub fn was_set_by(&self) -> SignedDuration {
        let by = SignedDuration::from_millis(self.shown().saturating_sub(self.ahead()));
        if by.abs() < STEP { SignedDuration::ZERO } else { by }
    }

    /// Goes on so far `ahead` of the steady time.
    pub fn take_up(&self, ahead: i64) {
        self.ahead.store(ahead, Ordering::SeqCst);
    }

    /// An instant that was read from the machine's clock a moment ago, as records have it. It is never ahead of now. If
    /// the clock was set back since, it counts as now.
    pub fn of_late(&self, at: Timestamp) -> Timestamp {
        let now = self.now();
        if self.was_set_by().is_negative() { now } else { at.min(now) }
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

    /// Sets the clock, also backwards. No time passes.
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

/// Measures how long something takes, even if the clock is set meanwhile.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since the start.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(s: i64) -> Timestamp {
        Timestamp::from_second(1_795_000_000 + s).unwrap()
    }

    #[test]
    fn what_passes_is_kept_until_it_is_told_that_the_clock_was_set() {
        let clock = Arc::new(ManualClock::at(second(0)));
        clock.advance(Duration::from_secs(100));
        let kept = RecordClock::new(clock.clone(), None);
        for set in [86_400, -86_400] {
            clock.set(second(100 + set));
            clock.advance(Duration::from_secs(10));
            assert_eq!(kept.now(), second(110), "as if it had not been set");
            assert_eq!(kept.was_set_by(), SignedDuration::from_secs(set));
            let seen = kept.of_late(clock.now());
            assert_eq!(seen, kept.now(), "whoever reads the machine's clock means now");
            kept.take_up(kept.shown());
            assert_eq!((kept.now(), kept.was_set_by()), (second(110 + set), SignedDuration::ZERO));
            clock.set(second(100));
            kept.take_up(kept.shown());
        }
        clock.set(kept.now() + SignedDuration::from_millis(900));
        assert_eq!(kept.now(), clock.now(), "what the time service corrects is followed");
        let next = RecordClock::new(clock.clone(), Some(kept.ahead() - 5_000));
        assert_eq!(next.was_set_by(), SignedDuration::from_millis(5_900), "set while nobody was there to see it");
    }

    #[test]
    fn the_steady_time_goes_on_from_one_process_to_the_next() {
        let up = std::fs::read_to_string("/proc/uptime").unwrap();
        let up: f64 = up.split(' ').next().unwrap().parse().unwrap();
        let steady = SystemClock.steady().as_secs_f64();
        assert!(steady > 0.0 && steady < up + 1.0, "{steady} of {up} since the start of the machine");
    }
}
