//! Logs and records refused callers: the user name and the address, never the password. A million tries get one line a
//! second, and one record a minute.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use rocket::Request;

use super::{auth, gate};
use crate::{
    app::{App, Stopwatch},
    domain::names::shortened,
};

/// How often the log hears of one address.
const EVERY: Duration = Duration::from_secs(1);

/// How often an action is recorded of one address. Actions are kept for long.
const RECORD_EVERY: Duration = Duration::from_mins(1);

/// How many addresses at a time are told one by one. All others are told together.
const ADDRESSES: usize = 64;

/// Managed by the API's server: which refusals were told lately.
#[derive(Default)]
pub struct Refusals {
    logged: Lately,
    recorded: Lately,
}

/// The addresses whose refusals were told a short time ago.
#[derive(Default)]
struct Lately(Mutex<HashMap<Option<IpAddr>, Recent>>);

struct Recent {
    said: Stopwatch,
    /// How many refusals came since.
    unsaid: u64,
    last: Option<String>,
}

/// What is told: how many refusals an address had, and the user name of the last one.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    peer: Option<IpAddr>,
    user: Option<String>,
    times: u64,
}

impl Refusals {
    /// Notes that `request` was refused.
    pub fn note(&self, request: &Request<'_>) {
        let peer = gate::peer(request).map(|peer| peer.address);
        let user = auth::user_tried(request);
        if let Some(said) = self.logged.count(peer, user.clone(), EVERY) {
            said.log();
        }
        // Whoever sends no credentials has not tried to sign in.
        if user.is_some()
            && let Some(said) = self.recorded.count(peer, user, RECORD_EVERY)
        {
            said.record(request);
        }
    }

    /// Tells what is not yet told about callers who have stopped trying.
    pub fn settle(&self, request: &Request<'_>) {
        for said in self.logged.due(EVERY) {
            said.log();
        }
        for said in self.recorded.due(RECORD_EVERY) {
            said.record(request);
        }
    }
}

impl Lately {
    fn count(&self, peer: Option<IpAddr>, user: Option<String>, every: Duration) -> Option<Said> {
        let mut recent = self.0.lock().expect("no holder panics");
        let one_by_one = |peer: &Option<IpAddr>| recent.contains_key(peer) || recent.len() < ADDRESSES;
        let key = peer.map(gate::network).filter(|network| one_by_one(&Some(*network)));
        if let Some(known) = recent.get_mut(&key).filter(|known| known.said.elapsed() < every) {
            known.unsaid += 1;
            known.last = user;
            return None;
        }
        let before = recent.insert(key, Recent { said: Stopwatch::start(), unsaid: 0, last: None });
        Some(Said { peer: key.and(peer), user, times: 1 + before.map_or(0, |before| before.unsaid) })
    }

    /// Forgets addresses that have been quiet. Returns what was not logged about them yet.
    fn due(&self, every: Duration) -> Vec<Said> {
        let mut recent = self.0.lock().expect("no holder panics");
        let quiet = recent.extract_if(|_, known| known.said.elapsed() >= every);
        quiet
            .filter(|(_, known)| known.unsaid > 0)
            .map(|(peer, k)| Said { peer, user: k.last, times: k.unsaid })
            .collect()
    }
}

impl Said {
    fn log(&self) {
        let peer = self.peer.map_or("other addresses".to_owned(), |peer| peer.to_string());
        match self.user.as_deref().map(shortened) {
            // Quoted, because it may contain anything.
            Some(user) => tracing::warn!(peer, ?user, times = self.times, "wrong credentials"),
            // As from curl without -u, or from a browser before it asks.
            None => tracing::info!(peer, times = self.times, "no credentials"),
        }
    }

    fn record(&self, request: &Request<'_>) {
        if let (Some(app), Some(user)) = (request.rocket().state::<Arc<App>>(), &self.user) {
            let user = if user.is_empty() { "(no name)".into() } else { shortened(user) };
            app.actions.sign_in_failed(&user, self.peer, self.times);
        }
    }
}

#[cfg(test)]
#[expect(clippy::unnecessary_wraps, reason = "the helpers give what `count` takes")]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    const LONG: Duration = Duration::from_hours(1);

    fn from(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    fn user() -> Option<String> {
        Some("root".into())
    }

    #[test]
    fn a_brute_forcer_gets_a_line_and_the_next_one_counts_the_rest() {
        let refusals = Lately::default();
        let (one, two) = (from("192.0.2.1"), from("192.0.2.2"));
        assert_eq!(refusals.count(one, user(), LONG), Some(Said { peer: one, user: user(), times: 1 }));
        for _ in 0..999 {
            assert_eq!(refusals.count(one, user(), LONG), None);
        }
        assert_eq!(refusals.count(two, None, LONG), Some(Said { peer: two, user: None, times: 1 }));
        assert_eq!(refusals.count(one, user(), Duration::ZERO), Some(Said { peer: one, user: user(), times: 1_000 }));
    }

    #[test]
    fn nothing_stays_unsaid_when_the_last_has_tried() {
        let refusals = Lately::default();
        let one = from("192.0.2.1");
        for _ in 0..3 {
            refusals.count(one, user(), LONG);
        }
        assert_eq!(refusals.due(LONG), []);
        assert_eq!(refusals.due(Duration::ZERO), [Said { peer: one, user: user(), times: 2 }]);
        assert_eq!(refusals.due(Duration::ZERO), []);
    }

    #[test]
    fn many_addresses_are_no_way_to_more_lines() {
        let refusals = Lately::default();
        let lines = |address: &dyn Fn(u32) -> IpAddr| {
            (0..10_000).filter(|n| refusals.count(Some(address(*n)), user(), LONG).is_some()).count()
        };
        assert_eq!(lines(&|n| Ipv6Addr::from_bits((0x2001_0db8_u128 << 96) + u128::from(n)).into()), 1);
        assert_eq!(lines(&|n| std::net::Ipv4Addr::from_bits(n).into()), ADDRESSES);
    }
}
