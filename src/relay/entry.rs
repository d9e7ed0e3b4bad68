//! An entry: one sandbox as its connections see it. It says where they go now, who asks for the wake, what they
//! carried.

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
    /// The sandbox.
    pub sandbox: SandboxId,
    name: Mutex<String>,
    /// Where its connections go.
    state: watch::Sender<State>,
    /// Whether the wake was asked for, and nothing has changed since.
    asked: AtomicBool,
    /// Since when it is being woken.
    woken_since: Mutex<Option<Timestamp>>,
    /// What its ports have carried.
    meters: Mutex<HashMap<u16, Arc<Meter>>>,
}

impl Entry {
    /// A sandbox that is known only by its `route`.
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

    /// Takes over what the table is told about the sandbox.
    pub fn update(&self, route: &Route) {
        self.state.send_if_modified(|state| {
            let next = State::of(route, Some(state));
            let moved = !next.is_same_start(state);
            // Clear `asked` before the new state is visible, or a client's fresh question is erased. A change during a
            // start keeps `asked`: that start is the one that was asked for.
            if moved {
                self.asked.store(false, Ordering::Release);
            }
            // The next wake begins anew.
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

    /// Turns away the connections that wait for the wake. The next connection may ask again.
    pub fn refuse(&self) {
        self.asked.store(false, Ordering::Release);
        self.state.send_modify(|state| state.refused += 1);
    }

    /// Follows the sandbox's state.
    pub fn follow(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// The sandbox's name.
    pub fn name(&self) -> String {
        self.name.lock().expect("no holder panics").clone()
    }

    /// Since when it is being started: since its wake was asked for, else since the table opened it.
    pub fn started_at(&self, now: Timestamp) -> Timestamp {
        let open = SignedDuration::try_from(self.state.borrow().since.elapsed()).unwrap_or_default();
        self.woken_since.lock().expect("no holder panics").unwrap_or(now - open)
    }
}

/// The wake: many connections may want it, one of them asks.
impl Entry {
    /// Claims the question. True for the one connection that shall ask; `seen` is the state that it has seen.
    pub fn take_question(&self, seen: &watch::Receiver<State>) -> bool {
        if self.asked.swap(true, Ordering::AcqRel) {
            return false;
        }
        // If the state has changed since, the change has cleared the question, and it must stay cleared.
        let outdated = seen.has_changed().unwrap_or(true);
        if outdated {
            self.asked.store(false, Ordering::Release);
        }
        !outdated
    }

    /// If the wake was asked for, makes the connections that wait for it ask again.
    pub fn ask_again(&self) {
        if self.asked.swap(false, Ordering::AcqRel) {
            self.state.send_modify(|_| ());
        }
    }

    /// Notes that the wake begins.
    pub fn begin_wake(&self, now: Timestamp) {
        *self.woken_since.lock().expect("no holder panics") = Some(now);
    }
}

/// What the sandbox's ports have carried.
impl Entry {
    /// The meter of the port `inside`.
    pub fn meter(&self, inside: u16) -> Arc<Meter> {
        Arc::clone(self.meters.lock().expect("no holder panics").entry(inside).or_default())
    }

    /// The counts that have changed since they were last told; with `all`, those of every port that was ever used.
    pub fn counts(&self, now: Timestamp, floor: u64, all: bool) -> Vec<Count> {
        let meters = self.meters.lock().expect("no holder panics");
        meters.iter().filter_map(|(inside, meter)| meter.read(&self.sandbox, *inside, now, floor, all)).collect()
    }

    /// From now on, for as long as `lasting`, what it sends to clients is not use.
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
