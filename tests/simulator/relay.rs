//! The scripted relay, as the server sees it: what it was told, what it has counted, and whether it answers.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
};

use jiff::Timestamp;
use tokio::sync::mpsc::UnboundedSender;

use super::{clock::pass, life::Life, world::World};
use crate::{
    domain::{SandboxId, State},
    relay::{Count, Event, Load, Request, Response, Route, Script, Unopened, Unreachable},
};

/// How long an answer may take.
const DEADLINE: i64 = 5_000;

#[derive(Debug, Default)]
struct Inner {
    routes: BTreeMap<SandboxId, Route>,
    counts: BTreeMap<SandboxId, Count>,
    changed: BTreeSet<SandboxId>,
    held: BTreeSet<u16>,
    away: bool,
    /// How many of a thousand requests go wrong.
    faults: i64,
    events: Option<UnboundedSender<Event>>,
}

/// The relay. It may outlive the server.
#[derive(Debug, Default)]
pub struct SimRelay(Mutex<Inner>);

impl SimRelay {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("no holder panics")
    }

    /// Another process listens to it from now on.
    pub fn connect(&self, events: UnboundedSender<Event>) {
        let _ = events.send(Event::Fresh);
        self.inner().events = Some(events);
    }

    /// It goes away, or comes back. Returns whether it was away before.
    pub fn set_away(&self, away: bool) -> bool {
        let mut inner = self.inner();
        let before = std::mem::replace(&mut inner.away, away);
        if !away && let Some(events) = &inner.events {
            let _ = events.send(Event::Fresh);
        }
        before
    }

    pub fn set_faults(&self, faults: i64) {
        self.inner().faults = faults;
    }

    /// Ports that others hold.
    pub fn hold(&self, ports: impl IntoIterator<Item = u16>) {
        self.inner().held = ports.into_iter().collect();
    }

    /// It ends, and another relay begins, which knows nothing.
    pub fn forget(&self) {
        let mut inner = self.inner();
        inner.routes.clear();
        inner.counts.clear();
        inner.changed.clear();
    }

    /// Bytes move on a connection to a sandbox, if there can be one. Returns whether they moved.
    pub fn use_it(&self, world: &World, id: &SandboxId) -> bool {
        let row = world.row(id);
        let mut inner = self.inner();
        let Some(route) = inner.routes.get(id).filter(|r| r.target.is_open()) else { return false };
        // A relay that was not told of the latest start turns connections away.
        let is_this =
            row.is_some_and(|r| matches!(r.life.state, State::Running { .. }) && r.life.generation == route.generation);
        if !is_this {
            return false;
        }
        let (generation, at) = (route.generation, Timestamp::from_millisecond(world.clock.wall()).expect("near"));
        let count = inner.counts.entry(id.clone()).or_insert_with(|| Count {
            sandbox: id.clone(),
            inside: 8000,
            open: 1,
            in_use: 1,
            bytes_in: 0,
            bytes_out: 0,
            last_byte: None,
            last_use: None,
        });
        count.bytes_in += 10_000;
        count.last_byte = Some(at);
        count.last_use = count.last_use.max(Some((generation, at)));
        inner.changed.insert(id.clone());
        true
    }

    /// Somebody connects to a sleeping sandbox.
    pub fn knock(&self, id: &SandboxId) -> bool {
        let inner = self.inner();
        let asleep = inner.routes.get(id).is_some_and(|r| r.target == crate::relay::Target::Asleep);
        if let Some(events) = inner.events.as_ref().filter(|_| asleep && !inner.away) {
            let peer = SocketAddr::from(([192, 0, 2, 1], 4_000));
            let _ = events.send(Event::Wake { sandbox: id.clone(), peer, inside: 8000 });
        }
        asleep
    }

    /// The clock was set back to `now`: times that lie ahead become now.
    pub fn set_back(&self, now: i64) {
        let now = Timestamp::from_millisecond(now).expect("near");
        for count in self.inner().counts.values_mut() {
            count.last_byte = count.last_byte.map(|at| at.min(now));
            count.last_use = count.last_use.map(|(generation, at)| (generation, at.min(now)));
        }
    }

    /// Tells the counts that have changed, as the real relay does each second.
    pub fn tell(&self) {
        let mut inner = self.inner();
        if inner.away || inner.changed.is_empty() {
            return;
        }
        let changed = std::mem::take(&mut inner.changed);
        let counts = changed.iter().filter_map(|id| inner.counts.get(id).cloned()).collect();
        if let Some(events) = &inner.events {
            let _ = events.send(Event::Counts(counts));
        }
    }

    fn unopened(inner: &Inner, route: &Route) -> Vec<Unopened> {
        let by_other = |at: SocketAddr| inner.routes.values().any(|r| r.sandbox != route.sandbox && listens(r, at));
        let open = |at: SocketAddr| inner.routes.get(&route.sandbox).is_some_and(|r| listens(r, at));
        let held = |at: SocketAddr| !open(at) && inner.held.contains(&at.port()) || by_other(at);
        route.ports.iter().filter(|p| held(p.outside)).map(|p| Unopened { at: p.outside, why: None }).collect()
    }

    fn put(inner: &mut Inner, mut route: Route) -> Vec<Unopened> {
        let unopened = Self::unopened(inner, &route);
        route.ports.retain(|p| !unopened.iter().any(|u| u.at == p.outside));
        inner.routes.insert(route.sandbox.clone(), route);
        unopened
    }

    fn answer(&self, request: Request) -> Response {
        let inner = &mut *self.inner();
        match request {
            Request::Table(routes) => {
                inner.routes.retain(|id, _| routes.iter().any(|r| r.sandbox == *id));
                Response::Held(routes.into_iter().flat_map(|route| Self::put(inner, route)).collect())
            }
            Request::Put(route) => Response::Held(Self::put(inner, route)),
            Request::Remove(id) => {
                inner.routes.remove(&id);
                inner.counts.remove(&id);
                inner.changed.remove(&id);
                Response::Done
            }
            Request::Refuse(_) | Request::Overlook { .. } => Response::Done,
            Request::Counts => Response::Counts(inner.counts.values().cloned().collect()),
            Request::Load => Response::Load(Load::default()),
        }
    }
}

fn listens(route: &Route, at: SocketAddr) -> bool {
    route.ports.iter().any(|p| p.outside == at)
}

/// The relay as one process sees it.
pub struct Line {
    pub world: Arc<World>,
    pub life: Arc<Life>,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Line")
    }
}

impl Line {
    async fn fault(&self, answer: impl FnOnce() -> Response) -> Result<Response, Unreachable> {
        let broken = || Unreachable("scripted".into());
        match self.world.dice.of(0..4) {
            0 => Err(broken()),
            1 => {
                answer();
                Err(broken())
            }
            2 => {
                pass(self.world.dice.of(10..DEADLINE)).await;
                Ok(answer())
            }
            _ => {
                pass(DEADLINE).await;
                Err(broken())
            }
        }
    }
}

impl Script for Line {
    fn ask(&self, request: Request) -> Pin<Box<dyn Future<Output = Result<Response, Unreachable>> + Send + '_>> {
        Box::pin(async move {
            self.life.point().await;
            let relay = &self.world.relay;
            let (away, faults) = {
                let inner = relay.inner();
                (inner.away, inner.faults)
            };
            let answered = if away {
                Err(Unreachable("scripted: away".into()))
            } else if self.world.dice.in_thousand(faults) {
                self.world.oracle().tell(|| format!("relay: a fault at {}", word(&request)));
                self.world.oracle().trouble(None, true);
                let answered = self.fault(|| relay.answer(request)).await;
                if !self.life.is_dead() {
                    self.world.oracle().trouble(None, false);
                }
                answered
            } else {
                Ok(relay.answer(request))
            };
            if let Ok(Response::Held(held)) = &answered {
                held.iter().for_each(|u| self.world.held(u.at));
            }
            self.life.point().await;
            answered
        })
    }
}

fn word(request: &Request) -> &'static str {
    match request {
        Request::Table(_) => "table",
        Request::Put(_) => "put",
        Request::Remove(_) => "remove",
        Request::Refuse(_) => "refuse",
        Request::Overlook { .. } => "overlook",
        Request::Counts => "counts",
        Request::Load => "load",
    }
}
