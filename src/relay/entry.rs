//! One sandbox as the relay knows it: its doors, where its connections go now, and what they carried.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use super::{count::Meter, door::Door, message::Route, state::State};
use crate::domain::SandboxId;

/// One sandbox in the table.
#[derive(Debug)]
pub struct Entry {
    /// Which one.
    pub sandbox: SandboxId,
    /// Its wake was asked for, and it is still where it was.
    pub asked: AtomicBool,
    /// Since when it is being woken.
    begun: Mutex<Option<Timestamp>>,
    /// Where its connections go.
    pub state: watch::Sender<State>,
    /// What its ports have carried.
    pub meters: Mutex<HashMap<u16, Arc<Meter>>>,
    /// Its listeners.
    pub doors: tokio::sync::Mutex<Vec<Door>>,
    /// What was last told of it.
    pub route: Mutex<Route>,
}

impl Entry {
    /// One of which nothing is known but `route`. Nobody listens for it yet.
    pub fn new(route: &Route) -> Self {
        Self {
            sandbox: route.sandbox.clone(),
            asked: AtomicBool::new(false),
            begun: Mutex::default(),
            state: watch::Sender::new(State::of(route, None)),
            meters: Mutex::default(),
            doors: tokio::sync::Mutex::default(),
            route: Mutex::new(route.clone()),
        }
    }

    /// Follows its state.
    pub fn subscribe(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// The counts of its port `inside`.
    pub fn meter(&self, inside: u16) -> Arc<Meter> {
        Arc::clone(self.meters.lock().expect("no holder panics").entry(inside).or_default())
    }

    /// Makes those who wait for a wake ask for it anew, if it was asked for.
    pub fn ask_again(&self) {
        if self.asked.swap(false, Ordering::AcqRel) {
            self.state.send_modify(|_| ());
        }
    }

    /// Its wake begins.
    pub fn begins(&self, now: Timestamp) {
        *self.begun.lock().expect("no holder panics") = Some(now);
    }

    /// Its name, and since when it is being started: when its wake was asked for, else when it was told to be open.
    pub fn started(&self, now: Timestamp) -> (String, Timestamp) {
        let open = SignedDuration::try_from(self.state.borrow().since.elapsed()).unwrap_or_default();
        let begun = self.begun.lock().expect("no holder panics").unwrap_or(now - open);
        (self.route.lock().expect("no holder panics").name.clone(), begun)
    }

    /// Takes over what is told of it.
    pub fn take(&self, route: &Route) {
        self.state.send_if_modified(|state| {
            let next = State::of(route, Some(state));
            let moved = !next.is_same_start(state);
            // Before anybody sees the new state, and asks in it. A start that is under way is told of too, and is still
            // the one that was asked for.
            if moved {
                self.asked.store(false, Ordering::Release);
            }
            // What comes next begins another time.
            if moved && !next.target.is_open() {
                *self.begun.lock().expect("no holder panics") = None;
            }
            let changed = moved || next.cut_after != state.cut_after;
            *state = next;
            changed
        });
        *self.route.lock().expect("no holder panics") = route.clone();
    }
}
