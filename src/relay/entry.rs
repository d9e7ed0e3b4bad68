//! An entry: one sandbox as its connections see it. Where they go now, who asks for its wake, and what they carried.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use super::{
    count::Meter,
    message::{Count, Route, Target},
    state::State,
};
use crate::domain::SandboxId;

/// One sandbox as its connections see it.
#[derive(Debug)]
pub struct Entry {
    /// Which one.
    pub sandbox: SandboxId,
    name: Mutex<String>,
    /// Where its connections go.
    state: watch::Sender<State>,
    /// Its wake was asked for, and it is still where it was.
    asked: AtomicBool,
    /// Since when it is being woken.
    woken_since: Mutex<Option<Timestamp>>,
    /// What its ports have carried.
    meters: Mutex<HashMap<u16, Arc<Meter>>>,
}

impl Entry {
    /// A sandbox of which only `route` is known.
    pub fn new(route: &Route) -> Self {
        Self {
            sandbox: route.sandbox.clone(),
            name: Mutex::new(route.name.clone()),
            state: watch::Sender::new(State::of(route, None)),
            asked: AtomicBool::new(false),
            woken_since: Mutex::default(),
            meters: Mutex::default(),
        }
    }

    /// Takes over what the table is told of it.
    pub fn update(&self, route: &Route) {
        self.state.send_if_modified(|state| {
            let next = State::of(route, Some(state));
            let moved = !next.is_same_start(state);
            // Clear `asked` before the new state is visible, or a client's fresh question is erased. A start that is under
            // way is told of too, and is still the one that was asked for.
            if moved {
                self.asked.store(false, Ordering::Release);
            }
            // The next wake has another beginning.
            if moved && !next.target.is_open() {
                *self.woken_since.lock().expect("no holder panics") = None;
            }
            let changed = moved || next.cut_after != state.cut_after;
            *state = next;
            changed
        });
        *self.name.lock().expect("no holder panics") = route.name.clone();
    }

    /// Turns all connections away, now and from now on.
    pub fn shut(&self) {
        self.state.send_modify(|state| {
            state.target = Target::Shut;
            state.cut_after = Duration::ZERO;
        });
    }

    /// Turns away those who wait for its wake. The next one may ask again.
    pub fn refuse(&self) {
        self.asked.store(false, Ordering::Release);
        self.state.send_modify(|state| state.refused += 1);
    }

    /// Follows its state.
    pub fn follow(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// What it is called.
    pub fn name(&self) -> String {
        self.name.lock().expect("no holder panics").clone()
    }

    /// Since when it is being started: since its wake was asked for, else since the table says that it is open.
    pub fn started_at(&self, now: Timestamp) -> Timestamp {
        let open = SignedDuration::try_from(self.state.borrow().since.elapsed()).unwrap_or_default();
        self.woken_since.lock().expect("no holder panics").unwrap_or(now - open)
    }
}

/// Its wake: of all connections that want it one asks.
impl Entry {
    /// Takes the question. True for the one connection that is to ask; `seen` is the state in which it wants to.
    pub fn take_question(&self, seen: &watch::Receiver<State>) -> bool {
        if self.asked.swap(true, Ordering::AcqRel) {
            return false;
        }
        // The state has changed since: that change has cleared the question, and this must not set it again.
        let outdated = seen.has_changed().unwrap_or(true);
        if outdated {
            self.asked.store(false, Ordering::Release);
        }
        !outdated
    }

    /// Makes those who wait for a wake ask anew, if it was asked for.
    pub fn ask_again(&self) {
        if self.asked.swap(false, Ordering::AcqRel) {
            self.state.send_modify(|_| ());
        }
    }

    /// Begins its wake.
    pub fn begin_wake(&self, now: Timestamp) {
        *self.woken_since.lock().expect("no holder panics") = Some(now);
    }
}

/// What its ports have carried.
impl Entry {
    /// The meter of its port `inside`.
    pub fn meter(&self, inside: u16) -> Arc<Meter> {
        Arc::clone(self.meters.lock().expect("no holder panics").entry(inside).or_default())
    }

    /// The counts of its ports that have changed since they were told; `all`: of every port that was ever used.
    pub fn counts(&self, now: Timestamp, floor: u64, all: bool) -> Vec<Count> {
        let meters = self.meters.lock().expect("no holder panics");
        meters.iter().filter_map(|(inside, meter)| meter.read(&self.sandbox, *inside, now, floor, all)).collect()
    }

    /// From now on, and for that long, nothing that it sends to clients is use.
    pub fn overlook(&self, now: Timestamp, lasting: SignedDuration, floor: u64) {
        self.meters.lock().expect("no holder panics").values().for_each(|m| m.overlook(now, lasting, floor));
    }

    /// An older relay has ended, and with it its connections.
    pub fn disinherit(&self, elder: u64) {
        self.meters.lock().expect("no holder panics").values().for_each(|m| m.disinherit(elder));
    }

    /// How many connections older relays carry to it.
    pub fn elsewhere(&self) -> u64 {
        self.meters.lock().expect("no holder panics").values().map(|m| u64::from(m.elsewhere())).sum()
    }
}
