//! Containers of the scripted engine, each as a whole.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use async_trait::async_trait;

use super::{FakeEngine, interior::Interior, or_lie};
use crate::{
    domain::{Carrier, ContainerId, EvidenceLog, Exit, Life, Observed, Phase, Reach, Sandbox, SandboxId},
    engine::{CheckIn, Containers, EngineError, Happening, Result, SandboxSpec, amendment},
};

/// A container in memory.
#[derive(Debug, Clone)]
pub(super) struct Container {
    pub(super) sandbox: Sandbox,
    pub(super) name: String,
    pub(super) published: Vec<u16>,
    pub(super) phase: Phase,
    pub(super) starts: u64,
    pub(super) address: IpAddr,
    pub(super) ignores_term: bool,
    pub(super) check_in: CheckIn,
    /// Who may log in.
    pub(super) ssh_key: Option<String>,
    /// The caller's variables.
    pub(super) env: Vec<(String, String)>,
    pub(super) inside: Interior,
    pub(super) paused: bool,
    /// How its last run ended.
    pub(super) exit: Exit,
}

/// How a program ends on a signal.
pub(super) const TERMINATED: Exit = Exit { code: 143, oom_killed: false };

impl Container {
    pub(super) fn begin(&mut self) {
        self.phase = Phase::Running;
        self.starts += 1;
        self.inside.begin();
    }

    pub(super) fn end(&mut self, exit: Exit) {
        (self.phase, self.paused, self.exit) = (Phase::Exited, false, exit);
    }
}

#[async_trait]
impl Containers for FakeEngine {
    async fn create(&self, spec: &SandboxSpec) -> Result<ContainerId> {
        let lie = self.enter("create").await?;
        self.stock.get(&spec.sandbox.recipe.image)?;
        let mut inner = self.inner();
        let name = spec.sandbox.name.as_str();
        if let Some((other, _)) = inner.containers.iter().find(|(_, c)| c.name == name) {
            return Err(EngineError::NameTaken(format!("{name} is in use by {other} (scripted)")));
        }
        inner.made += 1;
        let made = inner.made;
        let id = ContainerId::parse(&format!("{:064x}", 0xfade_0000_0000_0000_u64 + u64::from(made)))
            .expect("64 hex digits");
        let life = Life { evidence: EvidenceLog::default(), keep_until: None, ..spec.sandbox.life.clone() };
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
            // In 127.0.0.0/8, so that a test can speak from this address.
            address: IpAddr::V4(Ipv4Addr::from(self.network + made)),
            ignores_term: false,
            check_in: spec.check_in.clone(),
            ssh_key: spec.ssh_key.clone(),
            env: spec.env.clone(),
            inside: Interior::default(),
            paused: false,
            exit: TERMINATED,
        };
        inner.amendments.insert(spec.sandbox.id.clone(), amendment::of(&spec.sandbox));
        inner.containers.insert(id.clone(), container);
        drop(inner);
        or_lie(id, lie)
    }

    async fn start(&self, container: &ContainerId) -> Result<()> {
        let lie = self.enter("start").await?;
        let ends_at_once = {
            let mut inner = self.inner();
            let (held, ends) = (inner.held_ports.clone(), inner.ends.clone());
            let c = inner.containers.get_mut(container).ok_or(EngineError::NoContainer)?;
            if let Some(port) = c.published.iter().find(|p| held.contains(p)) {
                return Err(EngineError::PortHeld(format!("port {port} (scripted)")));
            }
            if c.phase == Phase::Running {
                return or_lie((), lie);
            }
            c.begin();
            ends.get(&c.sandbox.recipe.image.tagged()).copied()
        };
        self.tell(container, Happening::Started);
        if let Some(exit) = ends_at_once {
            self.crash(container, exit, "");
        }
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

    async fn remove(&self, sandbox: &SandboxId, container: Option<&ContainerId>) -> Result<()> {
        let lie = self.enter("remove").await?;
        if let Some(container) = container {
            self.vanish(container);
        }
        self.spoil_amendment(sandbox, None);
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

    async fn list(&self) -> Result<Vec<Observed>> {
        let lie = self.enter("list").await?;
        let inner = self.inner();
        let shown = inner.containers.iter().filter(|_| !inner.hidden);
        or_lie(shown.map(|(id, c)| observed(id, c, false)).collect(), lie)
    }

    async fn amend(&self, sandbox: &Sandbox) -> Result<()> {
        let lie = self.enter("amend").await?;
        self.spoil_amendment(&sandbox.id, Some(&amendment::of(sandbox)));
        or_lie((), lie)
    }

    async fn recover(&self, container: &ContainerId) -> Result<Sandbox> {
        let lie = self.enter("recover").await?;
        let inner = self.inner();
        let c = inner.containers.get(container).ok_or(EngineError::NoContainer)?;
        let mut sandbox = c.sandbox.clone();
        if let Some(text) = inner.amendments.get(&sandbox.id) {
            amendment::put_over(&mut sandbox, text);
        }
        or_lie(sandbox, lie)
    }
}

fn observed(id: &ContainerId, c: &Container, deep: bool) -> Observed {
    let runs = c.phase == Phase::Running;
    Observed {
        reach: Reach { address: runs.then_some(c.address), ..Reach::default() },
        mark: deep.then(|| c.starts.to_string()),
        name: Some(c.name.clone()),
        paused: c.paused,
        memory: deep.then_some(c.sandbox.recipe.memory),
        cpus: deep.then_some(c.sandbox.recipe.cpus),
        exit: (deep && c.phase == Phase::Exited).then_some(c.exit),
        ..Observed::shallow(id.clone(), Some(c.sandbox.id.clone()), c.phase)
    }
}
