//! The inside of scripted containers: where they check in, terminals and what is written to them, cpu time.

use std::time::Duration;

use async_trait::async_trait;

use super::{FakeEngine, containers::Container, interior::Interior, or_lie};
use crate::{
    domain::{ContainerId, Phase, Sandbox},
    engine::{Announced, CheckIn, EngineError, Inside, Result},
};

#[async_trait]
impl Inside for FakeEngine {
    async fn furnish(&self, sandbox: &Sandbox, check_in: &CheckIn) -> Result<()> {
        let lie = self.enter("furnish").await?;
        let mut inner = self.inner();
        if let Some(c) = inner.containers.values_mut().find(|c| c.sandbox.id == sandbox.id) {
            c.check_in = check_in.clone();
        }
        or_lie((), lie)
    }

    async fn last_words(&self, container: &ContainerId) -> Result<Vec<u8>> {
        let lie = self.enter("last_words").await?;
        or_lie(self.inner().containers.get(container).ok_or(EngineError::NoContainer)?.inside.written.clone(), lie)
    }

    async fn announce(&self, container: &ContainerId, text: &str) -> Result<Announced> {
        let lie = self.enter("announce").await?;
        let announced = self.in_running(container, |inside| {
            inside.announcements.push(text.to_owned());
            Announced { reached: inside.terminals, stopped: inside.stopped }
        })?;
        or_lie(announced, lie)
    }

    async fn cpu_time(&self, container: &ContainerId) -> Result<Duration> {
        let lie = self.enter("cpu_time").await?;
        or_lie(self.in_running(container, |inside| inside.cpu)?, lie)
    }
}

impl FakeEngine {
    /// What was announced in a container, oldest first, whether or not it had a terminal.
    pub fn announcements(&self, container: &ContainerId) -> Vec<String> {
        self.inner().containers.get(container).map(|c| c.inside.announcements.clone()).unwrap_or_default()
    }

    /// Sets how many terminals a container has. At first it has one.
    pub fn set_terminals(&self, container: &ContainerId, terminals: u32) {
        if let Some(c) = self.inner().containers.get_mut(container) {
            c.inside.terminals = terminals;
        }
    }

    /// Stops this many more terminals, as Ctrl-S does.
    pub fn stop_terminals(&self, container: &ContainerId, stopped: u32) {
        if let Some(c) = self.inner().containers.get_mut(container) {
            c.inside.stopped = stopped;
        }
    }

    /// Adds cpu time to what a container has used.
    pub fn use_cpu(&self, container: &ContainerId, time: Duration) {
        if let Some(c) = self.inner().containers.get_mut(container) {
            c.inside.cpu += time;
        }
    }

    /// Looks into a container that runs.
    pub(super) fn in_running<T>(&self, container: &ContainerId, look: impl FnOnce(&mut Interior) -> T) -> Result<T> {
        match self.inner().containers.get_mut(container) {
            Some(Container { phase: Phase::Running, inside, .. }) => Ok(look(inside)),
            Some(_) => Err(EngineError::Refused(format!("container {container} does not run (scripted)"))),
            None => Err(EngineError::NoContainer),
        }
    }
}
