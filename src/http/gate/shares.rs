//! How many connections an address may have, and how many there are in all. A part is kept for addresses that have
//! signed in lately: silent strangers never take it.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::app::Stopwatch;

/// How long an address that signed in is no stranger.
const LATELY: Duration = Duration::from_hours(1);

/// How many such addresses are remembered.
const REMEMBERED: usize = 1_024;

/// How often the log hears of connections that were turned away.
const EVERY: Duration = Duration::from_mins(1);

/// How many connections a gate lets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// In all.
    pub total: u32,
    /// Of these, from addresses that have not signed in lately. The rest is the reserve.
    pub strangers: u32,
    /// From one such address, but for this machine's own.
    pub of_stranger: u32,
    /// From one address that has signed in lately, from a proxy, and from this machine's own.
    pub of_known: u32,
}

/// Managed by the server behind a gate: who has how many connections.
#[derive(Debug, Clone)]
pub struct Shares {
    limits: Limits,
    held: Arc<Mutex<Held>>,
}

#[derive(Debug, Default)]
struct Held {
    total: u32,
    strangers: u32,
    by_address: HashMap<IpAddr, u32>,
    /// When each address has signed in.
    known: HashMap<IpAddr, Stopwatch>,
    /// When the log last heard of connections that were turned away, and how many came since.
    turned_away: Option<(Stopwatch, u64)>,
}

/// A connection's share, until dropped.
#[derive(Debug)]
pub struct Admitted {
    held: Arc<Mutex<Held>>,
    source: IpAddr,
    is_stranger: bool,
}

impl Shares {
    /// Nobody has a connection yet.
    pub fn new(limits: Limits) -> Self {
        Self { limits, held: Arc::default() }
    }

    /// Lets a connection of `address` in to `gate`, unless there are too many. A proxy is nobody's stranger.
    pub fn admit(&self, address: IpAddr, is_proxy: bool, gate: &str) -> Option<Admitted> {
        let source = network(address);
        let mut held = self.held.lock().expect("no holder panics");
        let is_stranger = !is_proxy && held.known.get(&source).is_none_or(|since| since.elapsed() >= LATELY);
        // This machine's own programs are few and may be busy.
        let is_trusted =
            !is_stranger || source == IpAddr::V4(Ipv4Addr::LOCALHOST) || source == IpAddr::V6(Ipv6Addr::LOCALHOST);
        let most = if is_trusted { self.limits.of_known } else { self.limits.of_stranger };
        let of_source = held.by_address.get(&source).copied().unwrap_or_default();
        let crowded = held.total >= self.limits.total || (is_stranger && held.strangers >= self.limits.strangers);
        if crowded || of_source >= most {
            if let Some(times) = held.turn_away() {
                tracing::warn!(gate, peer = %address, times, "too many connections; the newest are turned away");
            }
            return None;
        }
        held.total += 1;
        held.strangers += u32::from(is_stranger);
        *held.by_address.entry(source).or_default() += 1;
        Some(Admitted { held: Arc::clone(&self.held), source, is_stranger })
    }

    /// Remembers that somebody signed in from `address`.
    pub fn signed_in(&self, address: IpAddr) {
        let source = network(address);
        let mut held = self.held.lock().expect("no holder panics");
        if held.known.len() >= REMEMBERED && !held.known.contains_key(&source) {
            let oldest = held.known.iter().max_by_key(|(_, since)| since.elapsed()).map(|(source, _)| *source);
            oldest.map(|oldest| held.known.remove(&oldest));
        }
        held.known.insert(source, Stopwatch::start());
    }
}

impl Held {
    /// Counts a connection that is turned away; returns how many there were when the log is to hear of it.
    fn turn_away(&mut self) -> Option<u64> {
        let unsaid = match &mut self.turned_away {
            Some((said, unsaid)) if said.elapsed() < EVERY => {
                *unsaid += 1;
                return None;
            }
            Some((_, unsaid)) => *unsaid,
            None => 0,
        };
        self.turned_away = Some((Stopwatch::start(), 0));
        Some(unsaid + 1)
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut held = self.held.lock().expect("no holder panics");
        held.total -= 1;
        held.strangers -= u32::from(self.is_stranger);
        if let Some(share) = held.by_address.get_mut(&self.source) {
            *share -= 1;
            if *share == 0 {
                held.by_address.remove(&self.source);
            }
        }
    }
}

/// The network that stands for an address. The owner of one IPv6 address has its whole /64.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) if !v6.is_loopback() => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { total: 6, strangers: 3, of_stranger: 2, of_known: 4 };

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn strangers_never_take_the_reserve() {
        let shares = Shares::new(LIMITS);
        let admit = |from: &str| shares.admit(ip(from), false, "api");
        let one = [admit("192.0.2.1").unwrap(), admit("::ffff:192.0.2.1").unwrap()];
        assert!(admit("192.0.2.1").is_none(), "an address has its share, in either form");
        drop(one);
        let one = [(); 3].map(|()| admit("127.0.0.1").unwrap());
        assert!(admit("127.0.0.1").is_none(), "strangers have theirs, and this machine is one");
        drop(one);
        let one = [admit("192.0.2.1").unwrap(), admit("192.0.2.1").unwrap()];
        let third = admit("192.0.2.2").unwrap();
        assert!(admit("192.0.2.3").is_none(), "strangers have theirs");
        assert!(shares.admit(ip("192.0.2.3"), true, "api").is_some(), "a proxy is no stranger");
        shares.signed_in(ip("192.0.2.3"));
        let known: Vec<_> = (0..3).map(|_| admit("192.0.2.3").unwrap()).collect();
        assert!(admit("192.0.2.3").is_none(), "there are enough in all");
        drop(third);
        let more = admit("192.0.2.3").unwrap();
        assert!(admit("192.0.2.3").is_none(), "who is known has a share, too");
        drop((one, known, more));
        let held = shares.held.lock().unwrap();
        assert_eq!((held.total, held.strangers, held.by_address.len()), (0, 0, 0));
    }

    #[test]
    fn a_network_is_one_source_and_few_are_remembered() {
        let shares = Shares::new(LIMITS);
        let admit = |from: &str| shares.admit(ip(from), false, "api");
        let _two = (admit("2001:db8::1").unwrap(), admit("2001:db8::2").unwrap());
        assert!(admit("2001:db8::3").is_none() && admit("2001:db8:0:1::1").is_some());
        for n in 0..2 * REMEMBERED as u32 {
            shares.signed_in(IpAddr::V4(n.into()));
        }
        assert_eq!(shares.held.lock().unwrap().known.len(), REMEMBERED);
    }

    #[test]
    fn the_log_hears_once_of_many_that_are_turned_away() {
        let mut held = Held::default();
        assert_eq!(held.turn_away(), Some(1));
        assert_eq!((held.turn_away(), held.turn_away()), (None, None));
        assert_eq!(held.turned_away.unwrap().1, 2);
    }
}
