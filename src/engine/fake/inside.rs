//! The inside of scripted containers: terminals and what was written to them, cpu time.

use std::time::Duration;

use super::{Container, FakeEngine};
use crate::{
    domain::{ContainerId, Phase},
    engine::{Announced, EngineError, Result},
};

/// What a container has inside.
#[derive(Debug, Clone)]
pub(super) struct Inside {
    terminals: u32,
    stopped: u32,
    announcements: Vec<String>,
    /// Since its last start.
    cpu: Duration,
    /// What its program has written.
    pub(super) written: Vec<u8>,
}

impl Default for Inside {
    fn default() -> Self {
        Self { terminals: 1, stopped: 0, announcements: Vec::new(), cpu: Duration::ZERO, written: Vec::new() }
    }
}

impl Inside {
    pub(super) fn begin(&mut self) {
        self.cpu = Duration::ZERO;
    }
}

impl FakeEngine {
    /// What was announced in a container, oldest first, whether or not it had a terminal.
    pub fn announcements(&self, container: &ContainerId) -> Vec<String> {
        self.inner().containers.get(container).map(|c| c.inside.announcements.clone()).unwrap_or_default()
    }

    /// Sets how many terminals a container has; at first it is one.
    pub fn set_terminals(&self, container: &ContainerId, terminals: u32) {
        if let Some(c) = self.inner().containers.get_mut(container) {
            c.inside.terminals = terminals;
        }
    }

    /// Has those at so many further terminals stop them, as by Ctrl-S.
    pub fn stop_terminals(&self, container: &ContainerId, stopped: u32) {
        if let Some(c) = self.inner().containers.get_mut(container) {
            c.inside.stopped = stopped;
        }
    }

    /// Makes a container have used so much more cpu time.
    pub fn use_cpu(&self, container: &ContainerId, time: Duration) {
        if let Some(c) = self.inner().containers.get_mut(container) {
            c.inside.cpu += time;
        }
    }

    pub(super) fn write_to_terminals(&self, container: &ContainerId, text: &str) -> Result<Announced> {
        self.in_running(container, |inside| {
            inside.announcements.push(text.to_owned());
            Announced { reached: inside.terminals, stopped: inside.stopped }
        })
    }

    pub(super) fn total_cpu_time(&self, container: &ContainerId) -> Result<Duration> {
        self.in_running(container, |inside| inside.cpu)
    }

    fn in_running<T>(&self, container: &ContainerId, look: impl FnOnce(&mut Inside) -> T) -> Result<T> {
        match self.inner().containers.get_mut(container) {
            Some(Container { phase: Phase::Running, inside, .. }) => Ok(look(inside)),
            Some(_) => Err(EngineError::Refused(format!("container {container} does not run (scripted)"))),
            None => Err(EngineError::NoContainer),
        }
    }
}
