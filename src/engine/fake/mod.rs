//! A scripted engine for tests: it keeps containers in memory, and fails, hangs and lies on request.

mod altering;
mod behind;
mod containers;
mod exec;
mod files;
mod images;
mod inside;
mod interior;
mod logs;
mod looks;
mod tree;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use containers::Container;
use futures_util::{StreamExt, stream::BoxStream};
use images::Stock;
use jiff::Timestamp;
use tokio::sync::{Notify, broadcast, watch};
pub use tree::FakeFile;

use super::{CheckIn, Engine, EngineError, EngineInfo, Event, Happening, Result};
use crate::domain::{ContainerId, Exit, SandboxId};

/// How a call misbehaves.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Fail without having done anything.
    Fail(EngineError),
    /// Do it, and report a failure.
    Lie(EngineError),
    /// Wait until [`FakeEngine::release`].
    Hang,
}

#[derive(Debug, Default)]
struct Inner {
    containers: BTreeMap<ContainerId, Container>,
    made: u32,
    /// How many programs were prepared in them.
    prepared: u32,
    away: bool,
    faults: HashMap<&'static str, VecDeque<Fault>>,
    calls: Vec<&'static str>,
    held_ports: Vec<u16>,
    mute: Vec<ContainerId>,
    hidden: bool,
    /// What was written down of each sandbox.
    amendments: HashMap<SandboxId, String>,
    /// Images whose program ends at once, and how.
    ends: HashMap<String, Exit>,
}

/// The engine.
#[derive(Debug)]
pub struct FakeEngine {
    inner: Arc<Mutex<Inner>>,
    /// Wakes those who wait for something new in a container.
    stirred: Arc<Notify>,
    /// Held by every stream of an answer.
    open: Arc<()>,
    /// How many pieces of answers were taken.
    pulled: Arc<AtomicU64>,
    stock: Arc<Stock>,
    events: broadcast::Sender<Event>,
    release: Notify,
    /// How often attached programs were cut off.
    cuts: watch::Sender<u32>,
    /// The lowest address of its network. Each engine has a network of its own, since tests run side by side.
    network: u32,
}

impl Default for FakeEngine {
    fn default() -> Self {
        static ENGINES: AtomicU32 = AtomicU32::new(0);
        let network = 0x7f01_0000 + (ENGINES.fetch_add(1, Ordering::Relaxed) % 0x800) * 0x1000;
        Self {
            inner: Arc::default(),
            stirred: Arc::default(),
            open: Arc::default(),
            pulled: Arc::default(),
            stock: Arc::default(),
            events: broadcast::channel(1024).0,
            release: Notify::new(),
            cuts: watch::Sender::new(0),
            network,
        }
    }
}

impl FakeEngine {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no holder panics")
    }

    /// Makes the next call of a method (by its name) misbehave; several queue up.
    pub fn next(&self, call: &'static str, fault: Fault) {
        self.inner().faults.entry(call).or_default().push_back(fault);
    }

    /// Makes the engine unreachable, or reachable again.
    pub fn set_away(&self, away: bool) {
        self.inner().away = away;
        self.stirred.notify_waiters();
    }

    /// Lets every hanging call go on.
    pub fn release(&self) {
        self.release.notify_waiters();
    }

    /// Declares host ports that another program holds.
    pub fn hold_ports(&self, ports: impl IntoIterator<Item = u16>) {
        self.inner().held_ports = ports.into_iter().collect();
    }

    /// Makes every inspection of a container fail, though it is there.
    pub fn refuse_to_tell_of(&self, container: &ContainerId) {
        self.inner().mute.push(container.clone());
    }

    /// Makes the engine show no container at all, as another engine would, or show them again.
    pub fn hide_all(&self, hidden: bool) {
        self.inner().hidden = hidden;
    }

    /// Makes a container ignore SIGTERM, so that a stop takes its whole grace.
    pub fn ignore_term(&self, container: &ContainerId) {
        if let Some(c) = self.inner().containers.get_mut(container) {
            c.ignores_term = true;
        }
    }

    /// The ids of all containers.
    pub fn containers(&self) -> Vec<ContainerId> {
        self.inner().containers.keys().cloned().collect()
    }

    /// A container's address.
    pub fn address(&self, container: &ContainerId) -> Option<IpAddr> {
        self.inner().containers.get(container).map(|c| c.address)
    }

    /// Where and how often a container was told to check in.
    pub fn check_in(&self, container: &ContainerId) -> Option<CheckIn> {
        self.inner().containers.get(container).map(|c| c.check_in.clone())
    }

    /// The public keys of those who may log in.
    pub fn ssh_key(&self, container: &ContainerId) -> Option<String> {
        self.inner().containers.get(container).and_then(|c| c.ssh_key.clone())
    }

    /// How often a method was called.
    pub fn calls(&self, call: &str) -> usize {
        self.inner().calls.iter().filter(|c| **c == call).count()
    }

    /// What is written down of a sandbox; `None` if nothing is.
    pub fn amendment(&self, sandbox: &SandboxId) -> Option<String> {
        self.inner().amendments.get(sandbox).cloned()
    }

    /// Writes down something else, or removes what is written down.
    pub fn spoil_amendment(&self, sandbox: &SandboxId, text: Option<&str>) {
        let mut inner = self.inner();
        inner.amendments.remove(sandbox);
        inner.amendments.extend(text.map(|text| (sandbox.clone(), text.to_owned())));
    }

    fn tell(&self, container: &ContainerId, what: Happening) {
        self.stirred.notify_waiters();
        // Nobody need listen.
        let _ = self.events.send(Event { container: container.clone(), what, at: None });
    }

    /// Records the call, and plays the fault that is due. It returns a lie, for the call to tell in the end.
    async fn enter(&self, call: &'static str) -> Result<Option<EngineError>> {
        let released = self.release.notified();
        tokio::pin!(released);
        released.as_mut().enable();
        let fault = {
            let mut inner = self.inner();
            inner.calls.push(call);
            // What is written down is on the host.
            if inner.away && !["amend", "admit"].contains(&call) {
                return Err(EngineError::Unavailable("nobody listens (scripted)".into()));
            }
            inner.faults.get_mut(call).and_then(VecDeque::pop_front)
        };
        match fault {
            None => Ok(None),
            Some(Fault::Fail(error)) => Err(error),
            Some(Fault::Lie(error)) => Ok(Some(error)),
            Some(Fault::Hang) => {
                released.await;
                Ok(None)
            }
        }
    }
}

/// The value, or the lie if there is one.
fn or_lie<T>(value: T, lie: Option<EngineError>) -> Result<T> {
    lie.map_or(Ok(value), Err)
}

#[async_trait]
impl Engine for FakeEngine {
    async fn info(&self) -> Result<EngineInfo> {
        let lie = self.enter("info").await?;
        or_lie(EngineInfo { version: "scripted".into(), api_version: "0".into() }, lie)
    }

    async fn memory(&self) -> Result<u64> {
        let lie = self.enter("memory").await?;
        or_lie(24 << 30, lie)
    }

    async fn prepare(&self) -> Result<IpAddr> {
        let lie = self.enter("prepare").await?;
        or_lie(IpAddr::V4(Ipv4Addr::LOCALHOST), lie)
    }

    async fn watch(&self, _since: Timestamp) -> Result<BoxStream<'static, Result<Event>>> {
        self.enter("watch").await?;
        let events = futures_util::stream::unfold(self.events.subscribe(), |mut receiver| async {
            loop {
                match receiver.recv().await {
                    Ok(event) => return Some((Ok(event), receiver)),
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                }
            }
        });
        Ok(events.boxed())
    }
}
