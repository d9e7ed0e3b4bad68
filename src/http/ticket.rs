//! Tickets: a browser cannot send a credential when it opens a WebSocket or an event stream, so it may fetch a ticket
//! before. One is good for one request to one path, and not for long. The log has no query, and so no ticket.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use crate::{
    app::Stopwatch,
    domain::{Actor, names::hex},
};

/// How long a ticket is good.
pub const GOOD: Duration = Duration::from_secs(30);

/// The most at a time, of everybody and of one actor.
const MOST: usize = 10_000;
pub const MOST_OF_ONE: usize = 100;

struct Ticket {
    by: Actor,
    path: String,
    given: Stopwatch,
}

/// Managed by the API's server: the tickets that are good.
#[derive(Default)]
pub struct Tickets(Mutex<HashMap<String, Ticket>>);

impl Tickets {
    fn good(&self) -> MutexGuard<'_, HashMap<String, Ticket>> {
        let mut good = self.0.lock().expect("no holder panics");
        good.retain(|_, ticket| ticket.given.elapsed() < GOOD);
        good
    }

    /// Gives a ticket; `None`: there are too many.
    pub fn give(&self, by: Actor, path: &str) -> Option<Result<String, getrandom::Error>> {
        let mut good = self.good();
        if good.len() >= MOST || good.values().filter(|ticket| ticket.by.who == by.who).count() >= MOST_OF_ONE {
            return None;
        }
        let mut bytes = [0; 32];
        if let Err(e) = getrandom::fill(&mut bytes) {
            return Some(Err(e));
        }
        let secret = format!("ticket_{}", hex(&bytes));
        good.insert(secret.clone(), Ticket { by, path: path.to_owned(), given: Stopwatch::start() });
        Some(Ok(secret))
    }

    /// Whose ticket it is. It is good no more after that, also for another path.
    pub fn redeem(&self, secret: &str, path: &str) -> Option<Actor> {
        self.good().remove(secret).filter(|ticket| ticket.path == path).map(|ticket| ticket.by)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_good_once_and_for_one_path() {
        let tickets = Tickets::default();
        let by = Actor::admin("ann");
        let give = || tickets.give(by.clone(), "/v1/a").unwrap().unwrap();
        let ticket = give();
        assert_eq!(tickets.redeem(&ticket, "/v1/a"), Some(by.clone()));
        assert_eq!(tickets.redeem(&ticket, "/v1/a"), None, "once");
        let ticket = give();
        assert_eq!(tickets.redeem(&ticket, "/v1/b"), None);
        assert_eq!(tickets.redeem(&ticket, "/v1/a"), None, "whoever tried elsewhere has lost it");
        for _ in 0..MOST_OF_ONE {
            give();
        }
        assert!(tickets.give(by, "/v1/a").is_none());
        assert!(tickets.give(Actor::admin("bob"), "/v1/a").is_some(), "others are not kept from theirs");
    }
}
