//! Shares: limits on connections and wakes, in all, to one sandbox and from one address.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::{
    clock::Stopwatch,
    domain::{SandboxId, TrafficLimits},
};

/// The length of time over which wakes are counted.
const MINUTE: Duration = Duration::from_mins(1);

#[derive(Debug, Default)]
struct Held {
    total: u32,
    by_sandbox: HashMap<SandboxId, u32>,
    by_source: HashMap<IpAddr, u32>,
    by_pair: HashMap<(SandboxId, IpAddr), u32>,
}

/// Who has how many connections.
#[derive(Debug, Default)]
pub struct Shares(Arc<Mutex<Held>>);

/// A connection's share, until dropped.
#[derive(Debug)]
pub struct Admitted {
    held: Arc<Mutex<Held>>,
    sandbox: SandboxId,
    source: IpAddr,
}

impl Shares {
    /// Lets a connection in, unless there are too many.
    pub fn admit(&self, sandbox: &SandboxId, source: IpAddr, limits: &TrafficLimits) -> Option<Admitted> {
        let source = source_of(source);
        let mut held = self.0.lock().expect("no holder panics");
        let of_sandbox = held.by_sandbox.get(sandbox).copied().unwrap_or_default();
        let of_source = held.by_source.get(&source).copied().unwrap_or_default();
        let pair = (sandbox.clone(), source);
        // One address gets at most half of a sandbox's share.
        let of_pair = held.by_pair.get(&pair).copied().unwrap_or_default();
        let greedy = of_source >= limits.per_source || of_pair >= limits.per_sandbox.div_ceil(2);
        let crowded = greedy && !source.is_loopback();
        if held.total >= limits.connections || of_sandbox >= limits.per_sandbox || crowded {
            return None;
        }
        held.total += 1;
        *held.by_sandbox.entry(sandbox.clone()).or_default() += 1;
        *held.by_source.entry(source).or_default() += 1;
        *held.by_pair.entry(pair).or_default() += 1;
        Some(Admitted { held: Arc::clone(&self.0), sandbox: sandbox.clone(), source })
    }

    /// How many connections there are.
    pub fn total(&self) -> u32 {
        self.0.lock().expect("no holder panics").total
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut held = self.held.lock().expect("no holder panics");
        held.total -= 1;
        release(&mut held.by_sandbox, &self.sandbox);
        release(&mut held.by_source, &self.source);
        release(&mut held.by_pair, &(self.sandbox.clone(), self.source));
    }
}

/// The network that stands for one source: in IPv6 everybody has a whole /64.
fn source_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) if !v6.is_loopback() => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        other => other,
    }
}

fn release<K: Hash + Eq>(shares: &mut HashMap<K, u32>, key: &K) {
    if let Some(share) = shares.get_mut(key) {
        *share -= 1;
        if *share == 0 {
            shares.remove(key);
        }
    }
}

/// How many refused addresses are remembered.
const REMEMBERED: usize = 1_024;

/// The addresses from which connections were refused. The log names each once.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<HashSet<IpAddr>>);

impl Refusals {
    /// Remembers `source`; true if it is new. Beyond `REMEMBERED` addresses it remembers none.
    pub fn remember(&self, source: IpAddr) -> bool {
        let mut told = self.0.lock().expect("no holder panics");
        told.len() < REMEMBERED && told.insert(source.to_canonical())
    }
}

/// The wakes of the present minute.
#[derive(Debug, Default)]
pub struct Wakes(Mutex<Option<Minute>>);

#[derive(Debug)]
struct Minute {
    begun: Stopwatch,
    total: u32,
    by_source: HashMap<IpAddr, u32>,
}

impl Wakes {
    /// Counts a wake from `source`, if it is allowed; returns whether it is.
    pub fn allow(&self, source: IpAddr, limits: &TrafficLimits) -> bool {
        let source = source_of(source);
        let mut wakes = self.0.lock().expect("no holder panics");
        let minute = match wakes.take().filter(|m| m.begun.elapsed() < MINUTE) {
            Some(minute) => wakes.insert(minute),
            None => wakes.insert(Minute { begun: Stopwatch::start(), total: 0, by_source: HashMap::new() }),
        };
        let of_source = minute.by_source.entry(source).or_default();
        if minute.total >= limits.wakes || (*of_source >= limits.wakes_per_source && !source.is_loopback()) {
            return false;
        }
        *of_source += 1;
        minute.total += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: TrafficLimits = TrafficLimits {
        connections: 5,
        per_sandbox: 4,
        per_source: 2,
        wakes: 4,
        wakes_per_source: 2,
        wake_timeout: Duration::ZERO,
        floor: 0,
        refused: None,
    };

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn nobody_takes_more_than_a_share_and_shares_come_back() {
        let (shares, one, two) = (Shares::default(), SandboxId::from_bytes([1; 16]), SandboxId::from_bytes([2; 16]));
        let (a, b) = (ip("192.0.2.1"), ip("192.0.2.2"));
        let first = shares.admit(&one, a, &LIMITS).unwrap();
        let second = shares.admit(&one, ip("::ffff:192.0.2.1"), &LIMITS).unwrap();
        assert!(shares.admit(&two, a, &LIMITS).is_none(), "one address has its share, in either form");
        let third = shares.admit(&one, b, &LIMITS).unwrap();
        let fourth = shares.admit(&one, ip("127.0.0.1"), &LIMITS).unwrap();
        assert!(shares.admit(&one, ip("127.0.0.1"), &LIMITS).is_none(), "the sandbox has its share");
        let rest: Vec<_> = (0..1).map(|_| shares.admit(&two, ip("127.0.0.1"), &LIMITS).unwrap()).collect();
        assert!(shares.admit(&two, ip("192.0.2.3"), &LIMITS).is_none(), "there are enough in all");
        drop((first, second, third, fourth, rest));
        assert_eq!(shares.total(), 0);
        let held = shares.0.lock().unwrap();
        assert!(held.by_sandbox.is_empty() && held.by_source.is_empty() && held.by_pair.is_empty());
    }

    #[test]
    fn half_of_a_sandbox_is_left_to_others_and_a_network_is_one_source() {
        let (shares, one) = (Shares::default(), SandboxId::from_bytes([1; 16]));
        let limits = TrafficLimits { per_source: 5, ..LIMITS };
        let of = |text| shares.admit(&one, ip(text), &limits);
        let _two = (of("2001:db8::1").unwrap(), of("2001:db8::2").unwrap());
        assert!(of("2001:db8::3").is_none(), "the same network");
        assert!(of("2001:db8:0:1::1").is_some() && of("192.0.2.1").is_some());
    }

    #[test]
    fn a_refusal_is_told_once_of_each_source_and_of_so_many() {
        let refusals = Refusals::default();
        assert!(refusals.remember(ip("10.0.0.2")) && !refusals.remember(ip("::ffff:10.0.0.2")));
        let news = (0..2 * REMEMBERED as u32).filter(|n| refusals.remember(IpAddr::V4((*n).into())));
        assert_eq!(news.count(), REMEMBERED - 1);
    }

    #[test]
    fn wakes_are_counted_by_source_and_in_all() {
        let wakes = Wakes::default();
        let of = |text| wakes.allow(ip(text), &LIMITS);
        assert!(of("192.0.2.1") && of("192.0.2.1") && !of("192.0.2.1"));
        assert!(of("127.0.0.1") && of("127.0.0.1") && !of("127.0.0.1"));
    }
}
