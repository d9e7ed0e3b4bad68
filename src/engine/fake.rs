//! A scripted engine for tests: it keeps containers in memory, and fails, hangs and lies on request.

mod behind;
mod images;
mod inside;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{StreamExt, stream::BoxStream};
use images::Images;
use inside::Inside;
use jiff::Timestamp;
use tokio::sync::{Notify, broadcast};

use super::{
    Announced, CheckIn, Engine, EngineError, EngineInfo, Event, Happening, ImageDetails, LayerProgress, Result,
    SandboxSpec,
};
use crate::domain::{Carrier, ContainerId, EvidenceLog, Exit, ImageRef, Life, Observed, Phase, Sandbox, SandboxId};

/// What a call shall do instead of what it should.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Fail without having done anything.
    Fail(EngineError),
    /// Do it, and say that it failed.
    Lie(EngineError),
    /// Wait until [`FakeEngine::release`].
    Hang,
}

#[derive(Debug, Clone)]
struct Container {
    sandbox: Sandbox,
    name: String,
    published: Vec<u16>,
    phase: Phase,
    starts: u64,
    address: IpAddr,
    ignores_term: bool,
    check_in: CheckIn,
    inside: Inside,
    paused: bool,
    /// How its last run ended.
    exit: Exit,
}

/// The end of whoever was told to end.
const TERMINATED: Exit = Exit { code: 143, oom_killed: false };

impl Container {
    fn begin(&mut self) {
        self.phase = Phase::Running;
        self.starts += 1;
        self.inside.begin();
    }

    fn end(&mut self, exit: Exit) {
        (self.phase, self.paused, self.exit) = (Phase::Exited, false, exit);
    }
}

#[derive(Debug, Default)]
struct Inner {
    containers: BTreeMap<ContainerId, Container>,
    made: u32,
    away: bool,
    faults: HashMap<&'static str, VecDeque<Fault>>,
    calls: Vec<&'static str>,
    held_ports: Vec<u16>,
    mute: Vec<ContainerId>,
    hidden: bool,
    /// Images whose program ends at once, and how.
    ends: HashMap<String, Exit>,
}

/// The engine.
#[derive(Debug)]
pub struct FakeEngine {
    inner: Mutex<Inner>,
    images: Arc<Images>,
    events: broadcast::Sender<Event>,
    release: Notify,
    /// Below its containers' addresses: engines of tests that run side by side have their own.
    network: u32,
}

impl Default for FakeEngine {
    fn default() -> Self {
        static ENGINES: AtomicU32 = AtomicU32::new(0);
        let network = 0x7f01_0000 + (ENGINES.fetch_add(1, Ordering::Relaxed) % 0x800) * 0x1000;
        Self {
            inner: Mutex::default(),
            images: Arc::default(),
            events: broadcast::channel(1024).0,
            release: Notify::new(),
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

    /// How often a method was called.
    pub fn calls(&self, call: &str) -> usize {
        self.inner().calls.iter().filter(|c| **c == call).count()
    }

    fn tell(&self, container: &ContainerId, what: Happening) {
        // Nobody need listen.
        let _ = self.events.send(Event { container: container.clone(), what, at: None });
    }

    /// Records the call, and plays the fault that is due. A lie is handed back, to be told afterwards.
    async fn enter(&self, call: &'static str) -> Result<Option<EngineError>> {
        let released = self.release.notified();
        tokio::pin!(released);
        released.as_mut().enable();
        let fault = {
            let mut inner = self.inner();
            inner.calls.push(call);
            if inner.away {
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

fn or_lie<T>(value: T, lie: Option<EngineError>) -> Result<T> {
    lie.map_or(Ok(value), Err)
}

fn observed(id: &ContainerId, c: &Container, deep: bool) -> Observed {
    let runs = c.phase == Phase::Running;
    Observed {
        address: runs.then_some(c.address),
        mark: deep.then(|| c.starts.to_string()),
        name: Some(c.name.clone()),
        paused: c.paused,
        memory: deep.then_some(c.sandbox.recipe.memory),
        cpus: deep.then_some(c.sandbox.recipe.cpus),
        exit: (deep && c.phase == Phase::Exited).then_some(c.exit),
        ..Observed::shallow(id.clone(), Some(c.sandbox.id.clone()), c.phase)
    }
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

    async fn images(&self) -> Result<Vec<String>> {
        let lie = self.enter("images").await?;
        or_lie(self.images.tags(), lie)
    }

    async fn image(&self, image: &ImageRef) -> Result<ImageDetails> {
        let lie = self.enter("image").await?;
        or_lie(self.images.get(image)?, lie)
    }

    async fn pull(&self, image: &ImageRef) -> Result<BoxStream<'static, Result<LayerProgress>>> {
        let lie = self.enter("pull").await?;
        or_lie(self.images.pull(image)?, lie)
    }

    async fn remove_image(&self, image: &ImageRef) -> Result<()> {
        let lie = self.enter("remove_image").await?;
        let id = self.images.get(image)?.id;
        if self.made_from(&id) > 0 {
            return Err(EngineError::ImageInUse("a container is using it (scripted)".into()));
        }
        self.images.remove(image);
        or_lie((), lie)
    }

    async fn containers_of(&self, id: &str) -> Result<usize> {
        let lie = self.enter("containers_of").await?;
        or_lie(self.made_from(id), lie)
    }

    async fn create(&self, spec: &SandboxSpec) -> Result<ContainerId> {
        let lie = self.enter("create").await?;
        self.images.get(&spec.sandbox.recipe.image)?;
        let mut inner = self.inner();
        let name = spec.sandbox.name.as_str();
        if let Some((other, _)) = inner.containers.iter().find(|(_, c)| c.name == name) {
            return Err(EngineError::NameTaken(format!("{name} is in use by {other} (scripted)")));
        }
        inner.made += 1;
        let made = inner.made;
        let id = ContainerId::parse(&format!("{:064x}", 0xfade_0000_0000_0000_u64 + u64::from(made)))
            .expect("64 hex digits");
        let life = Life { evidence: EvidenceLog::default(), ..spec.sandbox.life.clone() };
        let container = Container {
            sandbox: Sandbox { container: Some(id.clone()), life, ..spec.sandbox.clone() },
            name: spec.sandbox.name.as_str().to_owned(),
            published: spec
                .sandbox
                .ports
                .iter()
                .filter(|p| p.carrier == Carrier::Engine)
                .map(|p| p.outside.port)
                .collect(),
            phase: Phase::Created,
            starts: 0,
            // In 127.0.0.0/8, so that a test can speak from it.
            address: IpAddr::V4(Ipv4Addr::from(self.network + made)),
            ignores_term: false,
            check_in: spec.check_in.clone(),
            inside: Inside::default(),
            paused: false,
            exit: TERMINATED,
        };
        inner.containers.insert(id.clone(), container);
        drop(inner);
        or_lie(id, lie)
    }

    async fn furnish(&self, sandbox: &Sandbox, check_in: &CheckIn) -> Result<()> {
        let lie = self.enter("furnish").await?;
        let mut inner = self.inner();
        if let Some(c) = inner.containers.values_mut().find(|c| c.sandbox.id == sandbox.id) {
            c.check_in = check_in.clone();
        }
        or_lie((), lie)
    }

    async fn start(&self, container: &ContainerId) -> Result<()> {
        let lie = self.enter("start").await?;
        self.begin(container)?;
        or_lie((), lie)
    }

    async fn stop(&self, container: &ContainerId, _grace: Duration) -> Result<()> {
        let lie = self.enter("stop").await?;
        let stubborn = self.inner().containers.get(container).ok_or(EngineError::NoContainer)?.ignores_term;
        if stubborn {
            self.release.notified().await;
        }
        self.kill(container);
        or_lie((), lie)
    }

    async fn remove(&self, _sandbox: &SandboxId, container: Option<&ContainerId>) -> Result<()> {
        let lie = self.enter("remove").await?;
        if let Some(container) = container {
            self.vanish(container);
        }
        or_lie((), lie)
    }

    async fn inspect(&self, container: &ContainerId) -> Result<Observed> {
        let lie = self.enter("inspect").await?;
        let inner = self.inner();
        if inner.mute.contains(container) {
            return Err(EngineError::Timeout { call: "inspect", deadline: Duration::from_secs(10) });
        }
        let found = inner.containers.get(container).filter(|_| !inner.hidden);
        or_lie(observed(container, found.ok_or(EngineError::NoContainer)?, true), lie)
    }

    async fn last_words(&self, container: &ContainerId) -> Result<Vec<u8>> {
        let lie = self.enter("last_words").await?;
        or_lie(self.inner().containers.get(container).ok_or(EngineError::NoContainer)?.inside.written.clone(), lie)
    }

    async fn announce(&self, container: &ContainerId, text: &str) -> Result<Announced> {
        let lie = self.enter("announce").await?;
        or_lie(self.write_to_terminals(container, text)?, lie)
    }

    async fn cpu_time(&self, container: &ContainerId) -> Result<Duration> {
        let lie = self.enter("cpu_time").await?;
        or_lie(self.total_cpu_time(container)?, lie)
    }

    async fn list(&self) -> Result<Vec<Observed>> {
        let lie = self.enter("list").await?;
        let inner = self.inner();
        let shown = inner.containers.iter().filter(|_| !inner.hidden);
        or_lie(shown.map(|(id, c)| observed(id, c, false)).collect(), lie)
    }

    async fn recover(&self, container: &ContainerId) -> Result<Sandbox> {
        let lie = self.enter("recover").await?;
        let inner = self.inner();
        let c = inner.containers.get(container).ok_or(EngineError::NoContainer)?;
        or_lie(c.sandbox.clone(), lie)
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
