//! The table: every sandbox, its doors, and where its connections go now. It is told; it decides nothing.

use std::{
    collections::{HashMap, HashSet},
    io::ErrorKind,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::SignedDuration;
use rustix::process::{Resource, getrlimit};
use tokio::{
    net::TcpListener,
    sync::{Notify, mpsc},
    task::spawn_blocking,
    time::{sleep, timeout},
};
use tokio_util::task::TaskTracker;

use super::{
    count::Meter,
    door::Door,
    entry::Entry,
    hand_over::Estate,
    message::{Count, Event, Load, Request, Response, Route, Target, Unopened},
    remote::Remote,
    shares::{Refusals, Shares, Wakes},
};
use crate::{
    clock::Clock,
    domain::{SandboxId, TrafficLimits},
};

/// How often counts are told.
pub const TELL_EVERY: Duration = Duration::from_secs(1);

/// The least time between two tellings, however many connections come and go.
pub const TELL_REST: Duration = Duration::from_millis(100);

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
    /// Who was refused.
    pub refusals: Refusals,
    /// The connections.
    pub tasks: TaskTracker,
    /// The talks with older relays, each of which ends with its last connection.
    pub elders: TaskTracker,
    entries: Mutex<HashMap<SandboxId, Arc<Entry>>>,
    events: mpsc::UnboundedSender<Event>,
    changed: Notify,
    /// A newer relay has the listeners, or is about to.
    retired: AtomicBool,
    /// Held while the table is changed: two changes at once could leave a listener that nobody knows of.
    turn: tokio::sync::Mutex<()>,
    /// Older relays, which serve their connections to their end, by numbers of ours.
    older: Mutex<HashMap<u64, Arc<Remote>>>,
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
            refusals: Refusals::default(),
            tasks: TaskTracker::new(),
            elders: TaskTracker::new(),
            entries: Mutex::default(),
            events,
            changed: Notify::new(),
            retired: AtomicBool::new(false),
            turn: tokio::sync::Mutex::default(),
            older: Mutex::default(),
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

    /// Does what is asked, here and in the older relays while they live.
    pub async fn handle(self: &Arc<Self>, request: Request) -> Response {
        if !matches!(request, Request::Counts | Request::Load) {
            self.older.lock().expect("no holder panics").values().for_each(|elder| elder.say(request.clone()));
        }
        let _turn = self.turn.lock().await;
        match request {
            Request::Table(routes) => {
                let stay: HashSet<&SandboxId> = routes.iter().map(|r| &r.sandbox).collect();
                for entry in self.all().iter().filter(|e| !stay.contains(&e.sandbox)) {
                    self.remove(&entry.sandbox).await;
                }
                self.ask_again();
                self.put_all(&routes, &mut HashMap::new()).await
            }
            Request::Put(route) => self.put_all(&[route], &mut HashMap::new()).await,
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
            Request::Overlook { sandbox, for_ms } => {
                let lasting = SignedDuration::from_millis(i64::try_from(for_ms).unwrap_or(i64::MAX));
                if let Some(entry) = self.entries().get(&sandbox) {
                    let meters = entry.meters.lock().expect("no holder panics");
                    meters.values().for_each(|m| m.overlook(self.clock.now(), lasting, self.limits.floor));
                }
                Response::Done
            }
            Request::Counts => Response::Counts(self.counts(true)),
            Request::Load => Response::Load(self.load().await),
        }
    }

    async fn put_all(self: &Arc<Self>, routes: &[Route], given: &mut HashMap<SocketAddr, TcpListener>) -> Response {
        let mut held = Vec::new();
        for route in routes {
            held.extend(self.put(route, given).await);
        }
        Response::Held(held)
    }

    /// Takes over what is told of one sandbox. The ports on which somebody else listens are handed back.
    /// `given` are sockets that listen already, by their addresses.
    async fn put(self: &Arc<Self>, route: &Route, given: &mut HashMap<SocketAddr, TcpListener>) -> Vec<Unopened> {
        let entry =
            Arc::clone(self.entries().entry(route.sandbox.clone()).or_insert_with(|| Arc::new(Entry::new(route))));
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
            if self.retired.load(Ordering::Acquire) {
                held.push(Unopened { at: listen.outside, why: Some("a newer relay has taken over".into()) });
                continue;
            }
            let opened = match given.remove(&listen.outside) {
                Some(socket) => Ok(Door::with(self, &entry, listen.clone(), Arc::new(socket))),
                None => Door::open(self, &entry, listen.clone()),
            };
            match opened {
                Ok(door) => doors.push(door),
                Err(e) => {
                    let why = (e.kind() != ErrorKind::AddrInUse).then(|| e.to_string());
                    held.push(Unopened { at: listen.outside, why });
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

    /// Everything that a newer relay must know, and the sockets; no connection is accepted any more.
    pub async fn estate(&self) -> (Estate, Vec<Arc<TcpListener>>) {
        let _alone = self.turn.lock().await;
        self.retired.store(true, Ordering::Release);
        let (mut estate, mut sockets) = (Estate::default(), Vec::new());
        for entry in self.all() {
            estate.routes.push(entry.route.lock().expect("no holder panics").clone());
            for door in entry.doors.lock().await.iter_mut() {
                door.rest().await;
                estate.listeners.push(door.listen.outside);
                sockets.push(Arc::clone(&door.socket));
            }
        }
        estate.counts = self.counts(true);
        (estate, sockets)
    }

    /// Accepts connections again, since nobody has taken the sockets.
    pub async fn resume(self: &Arc<Self>) {
        self.retired.store(false, Ordering::Release);
        for entry in self.all() {
            let mut doors = entry.doors.lock().await;
            let again = doors.drain(..).map(|d| Door::with(self, &entry, d.listen.clone(), Arc::clone(&d.socket)));
            *doors = again.collect();
        }
    }

    /// Lets go of the sockets, which are another's now.
    pub async fn retire(&self) {
        for entry in self.all() {
            entry.doors.lock().await.clear();
        }
    }

    /// Takes the place of another relay: its table, its sockets, and what it has counted.
    pub async fn adopt(self: &Arc<Self>, elder: u64, estate: Estate, sockets: Vec<TcpListener>) {
        let mut given: HashMap<SocketAddr, TcpListener> = estate.listeners.into_iter().zip(sockets).collect();
        self.put_all(&estate.routes, &mut given).await;
        self.inherit(elder, &estate.counts);
    }

    /// Takes up what an older relay has counted.
    pub fn inherit(&self, elder: u64, counts: &[Count]) {
        for count in counts {
            if let Some(entry) = self.entries().get(&count.sandbox) {
                entry.meter(count.inside).inherit(elder, count);
            }
        }
        self.changed();
    }

    /// An older relay is told from now on what this one is told.
    pub fn add_elder(&self, elder: u64, remote: Arc<Remote>) {
        self.older.lock().expect("no holder panics").insert(elder, remote);
    }

    /// An older relay has ended, and with it its connections.
    pub fn remove_elder(&self, elder: u64) {
        self.older.lock().expect("no holder panics").remove(&elder);
        for entry in self.all() {
            entry.meters.lock().expect("no holder panics").values().for_each(|m| m.disinherit(elder));
        }
        self.changed();
    }

    /// The table as it was told.
    pub fn routes(&self) -> Vec<Route> {
        self.all().iter().map(|e| e.route.lock().expect("no holder panics").clone()).collect()
    }

    /// Makes those who wait for a wake ask again: whoever was asked may have gone.
    fn ask_again(&self) {
        for entry in self.all() {
            entry.ask_again();
        }
    }

    async fn load(&self) -> Load {
        let (mut listeners, mut elsewhere) = (0, 0);
        for entry in self.all() {
            listeners += entry.doors.lock().await.len() as u64;
            let meters = entry.meters.lock().expect("no holder panics");
            elsewhere += meters.values().map(|m| u64::from(m.elsewhere())).sum::<u64>();
        }
        let allowed = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        // That they cannot be counted means that none is left.
        let count = move || std::fs::read_dir("/proc/self/fd").map_or(allowed, |fds| fds.count() as u64);
        let open = spawn_blocking(count).await.unwrap_or(allowed);
        Load { listeners, connections: u64::from(self.shares.total()) + elsewhere, descriptors: (open, allowed) }
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
