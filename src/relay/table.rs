//! The table: which sandbox has which doors, and where its connections go. It is told this; it decides nothing.

use std::{
    collections::{HashMap, HashSet},
    io::{self, ErrorKind},
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
};

use jiff::SignedDuration;
use rustix::process::{Resource, getrlimit};
use tokio::{net::TcpListener, task::spawn_blocking, time::sleep};

use super::{
    door::Door,
    entry::Entry,
    hall::{Hall, TELL_REST},
    message::{Count, Estate, Event, Listen, Load, Request, Response, Route, Unopened},
};
use crate::domain::SandboxId;

/// All sandboxes and their doors.
#[derive(Debug)]
pub struct Table {
    /// What the connections share.
    pub hall: Arc<Hall>,
    places: Mutex<HashMap<SandboxId, Arc<Place>>>,
    /// Whether a newer relay has the listeners, or is about to get them.
    retired: AtomicBool,
    /// Held while the table changes: two changes at once could leave a listener that nobody knows of.
    turn: tokio::sync::Mutex<()>,
}

/// One sandbox's place in the table.
#[derive(Debug)]
struct Place {
    /// The sandbox as its connections see it.
    entry: Arc<Entry>,
    /// Its listeners.
    doors: tokio::sync::Mutex<Vec<Door>>,
    /// What was last told of it.
    route: Mutex<Route>,
}

impl Place {
    /// A place whose doors are not open yet.
    fn new(route: &Route) -> Self {
        Self {
            entry: Arc::new(Entry::new(route)),
            doors: tokio::sync::Mutex::default(),
            route: Mutex::new(route.clone()),
        }
    }

    fn route(&self) -> Route {
        self.route.lock().expect("no holder panics").clone()
    }
}

impl Table {
    /// An empty table.
    pub fn new(hall: Arc<Hall>) -> Arc<Self> {
        Arc::new(Self {
            hall,
            places: Mutex::default(),
            retired: AtomicBool::new(false),
            turn: tokio::sync::Mutex::default(),
        })
    }

    fn places(&self) -> MutexGuard<'_, HashMap<SandboxId, Arc<Place>>> {
        self.places.lock().expect("no holder panics")
    }

    fn all(&self) -> Vec<Arc<Place>> {
        self.places().values().cloned().collect()
    }

    fn entry(&self, sandbox: &SandboxId) -> Option<Arc<Entry>> {
        self.places().get(sandbox).map(|place| Arc::clone(&place.entry))
    }

    /// Does what is asked.
    pub async fn handle(&self, request: Request) -> Response {
        let _turn = self.turn.lock().await;
        match request {
            Request::Table(routes) => {
                let stay: HashSet<&SandboxId> = routes.iter().map(|r| &r.sandbox).collect();
                for place in self.all().iter().filter(|p| !stay.contains(&p.entry.sandbox)) {
                    self.remove(&place.entry.sandbox).await;
                }
                // The server that was asked for a wake may have gone.
                self.all().iter().for_each(|place| place.entry.ask_again());
                self.put_all(&routes, &mut HashMap::new()).await
            }
            Request::Put(route) => self.put_all(&[route], &mut HashMap::new()).await,
            Request::Remove(sandbox) => {
                self.remove(&sandbox).await;
                Response::Done
            }
            Request::Refuse(sandbox) => {
                if let Some(entry) = self.entry(&sandbox) {
                    entry.refuse();
                }
                Response::Done
            }
            Request::Overlook { sandbox, for_ms } => {
                let lasting = SignedDuration::from_millis(i64::try_from(for_ms).unwrap_or(i64::MAX));
                if let Some(entry) = self.entry(&sandbox) {
                    entry.overlook(self.hall.clock.now(), lasting, self.hall.limits.floor);
                }
                Response::Done
            }
            Request::Counts => Response::Counts(self.counts(true)),
            Request::Load => Response::Load(self.load().await),
        }
    }

    async fn put_all(&self, routes: &[Route], given: &mut HashMap<SocketAddr, TcpListener>) -> Response {
        let mut held = Vec::new();
        for route in routes {
            held.extend(self.put(route, given).await);
        }
        Response::Held(held)
    }

    /// Takes over what is told about one sandbox, and returns the ports that it cannot open. `given` has sockets that
    /// already listen, by address.
    async fn put(&self, route: &Route, given: &mut HashMap<SocketAddr, TcpListener>) -> Vec<Unopened> {
        let place =
            Arc::clone(self.places().entry(route.sandbox.clone()).or_insert_with(|| Arc::new(Place::new(route))));
        let mut doors = place.doors.lock().await;
        place.entry.update(route);
        *place.route.lock().expect("no holder panics") = route.clone();
        let (stay, go) = std::mem::take(&mut *doors).into_iter().partition(|d| route.ports.contains(&d.listen));
        *doors = stay;
        for door in go {
            door.close().await;
        }
        let mut unopened = Vec::new();
        for listen in &route.ports {
            if doors.iter().any(|d| d.listen == *listen) {
                continue;
            }
            let at = listen.outside;
            if self.retired.load(Ordering::Acquire) {
                unopened.push(Unopened { at, why: Some("a newer relay has taken over".into()) });
                continue;
            }
            match self.open(&place.entry, listen, given.remove(&at)) {
                Ok(door) => doors.push(door),
                Err(e) => {
                    let why = (e.kind() != ErrorKind::AddrInUse).then(|| e.to_string());
                    unopened.push(Unopened { at, why });
                }
            }
        }
        unopened
    }

    fn open(&self, entry: &Arc<Entry>, listen: &Listen, given: Option<TcpListener>) -> io::Result<Door> {
        match given {
            Some(socket) => Ok(Door::with(&self.hall, entry, listen.clone(), Arc::new(socket))),
            None => Door::open(&self.hall, entry, listen.clone()),
        }
    }

    /// Closes a sandbox's listeners and connections; when this returns, its ports are free.
    async fn remove(&self, sandbox: &SandboxId) {
        let Some(place) = self.places().remove(sandbox) else { return };
        for door in place.doors.lock().await.drain(..) {
            door.close().await;
        }
        place.entry.shut();
    }

    /// Closes everything, and waits until it is closed.
    pub async fn close(&self) {
        for place in self.all() {
            self.remove(&place.entry.sandbox).await;
        }
        self.hall.connections.close();
        self.hall.connections.wait().await;
    }

    /// The table as it was told.
    pub fn routes(&self) -> Vec<Route> {
        self.all().iter().map(|place| place.route()).collect()
    }

    fn counts(&self, all: bool) -> Vec<Count> {
        let (now, floor) = (self.hall.clock.now(), self.hall.limits.floor);
        self.all().iter().flat_map(|place| place.entry.counts(now, floor, all)).collect()
    }

    /// Tells counts, at least once a second while they change and soon after a connection begins or ends.
    pub async fn tell_counts(&self) {
        loop {
            self.hall.wait_to_tell().await;
            // Only counts that changed are told.
            let counts = self.counts(false);
            if !counts.is_empty() {
                self.hall.tell(Event::Counts(counts));
            }
            sleep(TELL_REST).await;
        }
    }

    async fn load(&self) -> Load {
        let (mut listeners, mut elsewhere) = (0, 0);
        for place in self.all() {
            listeners += place.doors.lock().await.len() as u64;
            elsewhere += place.entry.elsewhere();
        }
        let connections = u64::from(self.hall.shares.total()) + elsewhere;
        Load { listeners, connections, descriptors: descriptors().await }
    }
}

/// Handing over from one relay to the next.
impl Table {
    /// Everything that a newer relay must know, and the sockets. From now on no connection is accepted.
    pub async fn estate(&self) -> (Estate, Vec<Arc<TcpListener>>) {
        let _alone = self.turn.lock().await;
        self.retired.store(true, Ordering::Release);
        let (mut estate, mut sockets) = (Estate::default(), Vec::new());
        for place in self.all() {
            estate.routes.push(place.route());
            for door in place.doors.lock().await.iter_mut() {
                door.rest().await;
                estate.listeners.push(door.listen.outside);
                sockets.push(Arc::clone(&door.socket));
            }
        }
        estate.counts = self.counts(true);
        (estate, sockets)
    }

    /// Accepts connections again, since nobody has taken the sockets.
    pub async fn resume(&self) {
        self.retired.store(false, Ordering::Release);
        for place in self.all() {
            let mut doors = place.doors.lock().await;
            let again = |d: Door| Door::with(&self.hall, &place.entry, d.listen.clone(), Arc::clone(&d.socket));
            *doors = doors.drain(..).map(again).collect();
        }
    }

    /// Lets go of the sockets, which belong to another relay now.
    pub async fn retire(&self) {
        for place in self.all() {
            place.doors.lock().await.clear();
        }
    }

    /// Takes the place of another relay: its table, its sockets, and what it has counted.
    pub async fn adopt(&self, elder: u64, estate: Estate, sockets: Vec<TcpListener>) {
        let mut given: HashMap<SocketAddr, TcpListener> = estate.listeners.into_iter().zip(sockets).collect();
        self.put_all(&estate.routes, &mut given).await;
        self.inherit(elder, &estate.counts);
    }

    /// Adds what an older relay has counted.
    pub fn inherit(&self, elder: u64, counts: &[Count]) {
        for count in counts {
            if let Some(entry) = self.entry(&count.sandbox) {
                entry.meter(count.inside).inherit(elder, count);
            }
        }
        self.hall.hurry_counts();
    }

    /// An older relay has ended, and with it its connections.
    pub fn disinherit(&self, elder: u64) {
        self.all().iter().for_each(|place| place.entry.disinherit(elder));
        self.hall.hurry_counts();
    }
}

/// How many descriptors this process has open, and may have.
async fn descriptors() -> (u64, u64) {
    let allowed = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    // If they cannot be counted, assume that none is left.
    let count = move || std::fs::read_dir("/proc/self/fd").map_or(allowed, |fds| fds.count() as u64);
    (spawn_blocking(count).await.unwrap_or(allowed), allowed)
}
