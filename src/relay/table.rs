//! The table: every sandbox, its doors, and where its connections go now. It is told; it decides nothing.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    os::fd::OwnedFd,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Pid, PidfdFlags, Resource, getrlimit, pidfd_open},
};
use tokio::{
    sync::{Notify, mpsc, watch},
    time::{sleep, timeout},
};
use tokio_util::task::TaskTracker;

use super::{
    count::Meter,
    door::Door,
    message::{Count, Event, Load, Request, Response, Route, Target},
    shares::{Shares, Wakes},
};
use crate::{
    clock::{Clock, Stopwatch},
    domain::{SandboxId, TrafficLimits},
};

/// How often counts are told.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// The least time between two tellings, however many connections come and go.
const TELL_REST: Duration = Duration::from_millis(100);

/// Where one sandbox's connections go.
#[derive(Debug, Clone)]
pub struct State {
    /// The start that the table knows.
    pub generation: u64,
    /// What happens to a new connection.
    pub target: Target,
    /// When connections of an earlier start, or of one that has ended, are closed.
    pub cut_after: Duration,
    /// How long it has been so.
    pub since: Stopwatch,
    /// How often those who wait were turned away.
    pub refused: u64,
    process: Process,
}

/// What is known of a sandbox's first process.
#[derive(Debug, Clone)]
enum Process {
    /// Nothing: the table is believed.
    Untold,
    /// It had ended before it could be watched.
    Ended,
    /// It can be watched.
    Watched(Arc<OwnedFd>),
}

impl Process {
    fn of(target: &Target) -> Self {
        let Target::Open { pid: Some(pid), .. } = target else { return Self::Untold };
        match Pid::from_raw(*pid as i32).map(|pid| pidfd_open(pid, PidfdFlags::empty())) {
            Some(Ok(process)) => Self::Watched(Arc::new(process)),
            Some(Err(Errno::SRCH)) => Self::Ended,
            Some(Err(_)) | None => Self::Untold,
        }
    }
}

impl State {
    fn of(route: &Route, before: Option<&State>) -> Self {
        let same = before.filter(|b| b.generation == route.generation && b.target == route.target);
        Self {
            generation: route.generation,
            target: route.target.clone(),
            cut_after: Duration::from_millis(route.cut_after_ms),
            since: same.map_or_else(Stopwatch::start, |b| b.since),
            refused: before.map_or(0, |b| b.refused),
            process: same.map_or_else(|| Process::of(&route.target), |b| b.process.clone()),
        }
    }

    /// Whether `other` shows the same start at the same place.
    pub fn is_same_start(&self, other: &State) -> bool {
        self.generation == other.generation && self.target == other.target
    }

    /// Whether the sandbox's first process lives. While it does, nobody else has its address.
    pub fn is_alive(&self) -> bool {
        match &self.process {
            Process::Untold => true,
            Process::Ended => false,
            Process::Watched(process) => {
                let mut asked = [PollFd::new(process, PollFlags::IN)];
                poll(&mut asked, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ended| ended == 0)
            }
        }
    }
}

/// One sandbox in the table.
#[derive(Debug)]
pub struct Entry {
    /// Which one.
    pub sandbox: SandboxId,
    /// Its wake was asked for, and nothing has changed since.
    pub asked: AtomicBool,
    state: watch::Sender<State>,
    meters: Mutex<HashMap<u16, Arc<Meter>>>,
    doors: tokio::sync::Mutex<Vec<Door>>,
}

impl Entry {
    /// Follows its state.
    pub fn subscribe(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// The counts of its port `inside`.
    pub fn meter(&self, inside: u16) -> Arc<Meter> {
        Arc::clone(self.meters.lock().expect("no holder panics").entry(inside).or_default())
    }

    fn take(&self, route: &Route) {
        self.state.send_if_modified(|state| {
            let next = State::of(route, Some(state));
            let changed = !next.is_same_start(state) || next.cut_after != state.cut_after;
            *state = next;
            changed
        });
        self.asked.store(false, Ordering::Release);
    }
}

/// The relay itself.
#[derive(Debug)]
pub struct Core {
    /// How much of everything there may be.
    pub limits: TrafficLimits,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Who has how many connections.
    pub shares: Shares,
    /// Who has woken how many.
    pub wakes: Wakes,
    /// The connections.
    pub tasks: TaskTracker,
    entries: Mutex<HashMap<SandboxId, Arc<Entry>>>,
    events: mpsc::UnboundedSender<Event>,
    changed: Notify,
}

impl Core {
    /// An empty table, and what it will say.
    pub fn new(limits: TrafficLimits, clock: Arc<dyn Clock>) -> (Arc<Self>, mpsc::UnboundedReceiver<Event>) {
        let (events, heard) = mpsc::unbounded_channel();
        let core = Self {
            limits,
            clock,
            shares: Shares::default(),
            wakes: Wakes::default(),
            tasks: TaskTracker::new(),
            entries: Mutex::default(),
            events,
            changed: Notify::new(),
        };
        (Arc::new(core), heard)
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<SandboxId, Arc<Entry>>> {
        self.entries.lock().expect("no holder panics")
    }

    fn all(&self) -> Vec<Arc<Entry>> {
        self.entries().values().cloned().collect()
    }

    /// Says something to whoever listens.
    pub fn tell(&self, event: Event) {
        // At a shutdown nobody does.
        let _ = self.events.send(event);
    }

    /// Counts have changed that should be told soon.
    pub fn changed(&self) {
        self.changed.notify_one();
    }

    /// Does what is asked.
    pub async fn handle(self: &Arc<Self>, request: Request) -> Response {
        match request {
            Request::Table(routes) => {
                let stay: HashSet<&SandboxId> = routes.iter().map(|r| &r.sandbox).collect();
                for entry in self.all().iter().filter(|e| !stay.contains(&e.sandbox)) {
                    self.remove(&entry.sandbox).await;
                }
                let mut held = Vec::new();
                for route in &routes {
                    held.extend(self.put(route).await);
                }
                Response::Held(held)
            }
            Request::Put(route) => Response::Held(self.put(&route).await),
            Request::Remove(sandbox) => {
                self.remove(&sandbox).await;
                Response::Done
            }
            Request::Refuse(sandbox) => {
                let entry = self.entries().get(&sandbox).cloned();
                if let Some(entry) = entry {
                    entry.asked.store(false, Ordering::Release);
                    entry.state.send_modify(|state| state.refused += 1);
                }
                Response::Done
            }
            Request::Counts => Response::Counts(self.counts(true)),
            Request::Load => Response::Load(self.load().await),
        }
    }

    /// Takes over what is told of one sandbox. The ports on which somebody else listens are handed back.
    async fn put(self: &Arc<Self>, route: &Route) -> Vec<SocketAddr> {
        let entry = Arc::clone(self.entries().entry(route.sandbox.clone()).or_insert_with(|| {
            let entry = Entry {
                sandbox: route.sandbox.clone(),
                asked: AtomicBool::new(false),
                state: watch::Sender::new(State::of(route, None)),
                meters: Mutex::default(),
                doors: tokio::sync::Mutex::default(),
            };
            Arc::new(entry)
        }));
        let mut doors = entry.doors.lock().await;
        entry.take(route);
        let (stay, go) = std::mem::take(&mut *doors).into_iter().partition(|d| route.ports.contains(&d.listen));
        *doors = stay;
        for door in go {
            door.close().await;
        }
        let mut held = Vec::new();
        for listen in &route.ports {
            if doors.iter().any(|d| d.listen == *listen) {
                continue;
            }
            match Door::open(self, &entry, listen.clone()) {
                Ok(door) => doors.push(door),
                Err(e) => {
                    tracing::debug!(sandbox = %entry.sandbox, at = %listen.outside, error = %e, "cannot listen");
                    held.push(listen.outside);
                }
            }
        }
        held
    }

    /// Closes a sandbox's listeners and connections; when this returns, its ports are free.
    async fn remove(&self, sandbox: &SandboxId) {
        let Some(entry) = self.entries().remove(sandbox) else { return };
        for door in entry.doors.lock().await.drain(..) {
            door.close().await;
        }
        entry.state.send_modify(|state| {
            state.target = Target::Shut;
            state.cut_after = Duration::ZERO;
        });
    }

    /// Closes everything, and waits until it is closed.
    pub async fn close(&self) {
        for entry in self.all() {
            self.remove(&entry.sandbox).await;
        }
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn counts(&self, all: bool) -> Vec<Count> {
        let now = self.clock.now();
        let mut counts = Vec::new();
        for entry in self.all() {
            let meters = entry.meters.lock().expect("no holder panics");
            let read =
                |(inside, meter): (&u16, &Arc<Meter>)| meter.read(&entry.sandbox, *inside, now, self.limits.floor, all);
            counts.extend(meters.iter().filter_map(read));
        }
        counts
    }

    async fn load(&self) -> Load {
        let mut listeners = 0;
        for entry in self.all() {
            listeners += entry.doors.lock().await.len() as u64;
        }
        let open = std::fs::read_dir("/proc/self/fd").map_or(0, |fds| fds.count() as u64);
        let allowed = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        Load { listeners, connections: self.shares.total().into(), descriptors: (open, allowed) }
    }

    /// Tells counts, at least once a second while they change and soon after a connection begins or ends.
    pub async fn tell_counts(&self) {
        loop {
            // Nobody asks for what did not change.
            let _ = timeout(TELL_EVERY, self.changed.notified()).await;
            let counts = self.counts(false);
            if !counts.is_empty() {
                self.tell(Event::Counts(counts));
            }
            sleep(TELL_REST).await;
        }
    }
}
