//! Attempts: wrong passwords slow down whoever sends them, and nobody else.
//!
//! Every failure is counted for the address and for the name. Where a name has signed in from an address within a day,
//! failures are counted for that pair alone: others' guesses do not slow it, and its own do not slow others.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    num::NonZero,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use governor::{
    Quota, RateLimiter, clock::DefaultClock, middleware::StateInformationMiddleware, state::keyed::HashMapStateStore,
};

use super::secret::digest;
use crate::clock::Stopwatch;

/// How many failures at once are not slowed.
const AT_ONCE: u32 = 10;

/// How long one more failure takes after these: for a name, whoever tries it, and for an address or a pair.
const PER_NAME: Duration = Duration::from_secs(10);
const PER_ADDRESS: Duration = Duration::from_secs(3);

/// For how long a sign-in counts.
const A_DAY: Duration = Duration::from_hours(24);

/// The most entries of each kind; strangers must not fill the memory.
const MOST: usize = 20_000;

/// For whom a failure is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Address(IpAddr),
    Name([u8; 32]),
    Pair(IpAddr, [u8; 32]),
}

type Limiter = RateLimiter<Key, HashMapStateStore<Key>, DefaultClock, StateInformationMiddleware>;

fn limiter(every: Duration) -> Limiter {
    let quota = Quota::with_period(every).expect("it is longer than nothing");
    RateLimiter::hashmap(quota.allow_burst(NonZero::new(AT_ONCE).expect("it is not 0"))).with_middleware()
}

/// The failures of a while.
pub struct Attempts {
    names: Limiter,
    addresses: Limiter,
    seen: Mutex<Seen>,
}

/// For how long, and since when.
struct Closed(Duration, Stopwatch);

impl Closed {
    /// How long it stays so.
    fn left(&self) -> Duration {
        self.0.saturating_sub(self.1.elapsed())
    }
}

#[derive(Default)]
struct Seen {
    /// Where nobody is let in for a while.
    closed: HashMap<Key, Closed>,
    /// When a name last signed in from an address.
    signed_in: HashMap<Key, Stopwatch>,
}

impl Default for Attempts {
    fn default() -> Self {
        Self { names: limiter(PER_NAME), addresses: limiter(PER_ADDRESS), seen: Mutex::default() }
    }
}

impl Attempts {
    /// A poisoned lock is fine: no panic leaves the maps half done.
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long whoever tries `name` from `address` must wait; `None`: not at all.
    pub fn wait(&self, address: Option<IpAddr>, name: &str) -> Option<Duration> {
        let seen = self.seen();
        let left = keys(&seen, address, name).into_iter().filter_map(|key| seen.closed.get(&key).map(Closed::left));
        left.max().filter(|wait| !wait.is_zero())
    }

    /// Counts a failure.
    pub fn failed(&self, address: Option<IpAddr>, name: &str) {
        let mut seen = self.seen();
        seen.make_room();
        for limiter in [&self.names, &self.addresses] {
            if limiter.len() > MOST {
                limiter.retain_recent();
            }
        }
        for key in keys(&seen, address, name) {
            let limiter = if matches!(key, Key::Name(_)) { &self.names } else { &self.addresses };
            let wait = match limiter.check_key(&key) {
                Ok(left) if left.remaining_burst_capacity() > 0 => continue,
                Ok(left) => left.quota().replenish_interval(),
                Err(until) => until.wait_time_from(governor::clock::Clock::now(limiter.clock())),
            };
            seen.closed.insert(key, Closed(wait, Stopwatch::start()));
        }
    }

    /// Notes that `name` has signed in from `address`.
    pub fn succeeded(&self, address: Option<IpAddr>, name: &str) {
        let Some(address) = address.map(network) else { return };
        let mut seen = self.seen();
        seen.make_room();
        seen.signed_in.insert(Key::Pair(address, digest(&[name.as_bytes()])), Stopwatch::start());
    }
}

impl Seen {
    fn make_room(&mut self) {
        if self.closed.len() > MOST {
            self.closed.retain(|_, closed| !closed.left().is_zero());
        }
        if self.signed_in.len() > MOST {
            self.signed_in.retain(|_, at| at.elapsed() < A_DAY);
        }
    }
}

fn keys(seen: &Seen, address: Option<IpAddr>, name: &str) -> Vec<Key> {
    let name = digest(&[name.as_bytes()]);
    let Some(address) = address.map(network) else { return vec![Key::Name(name)] };
    let pair = Key::Pair(address, name);
    match seen.signed_in.get(&pair) {
        Some(at) if at.elapsed() < A_DAY => vec![pair],
        _ => vec![Key::Address(address), Key::Name(name)],
    }
}

/// The address, or the network of an IPv6 address, whose owner has 2^64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[allow(clippy::unnecessary_wraps, reason = "as the calls take it")]
    fn at(last: u8) -> Option<IpAddr> {
        Some(address(last))
    }

    fn fails(attempts: &Attempts, address: IpAddr, name: &str) {
        for _ in 0..AT_ONCE {
            attempts.failed(Some(address), name);
        }
    }

    #[test]
    fn who_guesses_waits_and_others_do_not() {
        let attempts = Attempts::default();
        for _ in 0..AT_ONCE {
            assert_eq!(attempts.wait(at(1), "ann"), None);
            attempts.failed(at(1), "ann");
        }
        let wait = attempts.wait(at(1), "bob").expect("the address waits, whatever name it tries");
        assert!(wait <= PER_ADDRESS, "{wait:?}");
        let wait = attempts.wait(at(2), "ann").expect("the name waits, whoever tries it");
        assert!(wait <= PER_NAME && wait > PER_ADDRESS, "{wait:?}");
        assert_eq!(attempts.wait(at(2), "bob"), None);
    }

    #[test]
    fn who_signed_in_from_there_lately_is_not_slowed_by_others() {
        let attempts = Attempts::default();
        attempts.succeeded(at(1), "ann");
        fails(&attempts, address(2), "ann");
        fails(&attempts, address(1), "bob");
        assert_eq!(attempts.wait(at(1), "ann"), None);
        fails(&attempts, address(1), "ann");
        assert!(attempts.wait(at(1), "ann").is_some(), "its own guesses slow it");
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let attempts = Attempts::default();
        let [one, other, far] =
            ["2001:db8::1", "2001:db8::2:1", "2001:db8:0:1::1"].map(|a| a.parse::<IpAddr>().unwrap());
        fails(&attempts, one, "ann");
        assert!(attempts.wait(Some(other), "bob").is_some());
        assert_eq!(attempts.wait(Some(far), "bob"), None);
    }
}
