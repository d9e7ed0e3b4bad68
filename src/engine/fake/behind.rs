//! What happens to scripted containers from outside: programs end, and others meddle behind Spindle's back.

use super::{
    FakeEngine,
    containers::{Container, TERMINATED},
};
use crate::{
    domain::{ContainerId, Cpus, Exit, Memory, Phase},
    engine::{Happening, Outlet, Said},
};

impl FakeEngine {
    /// Starts a container anew behind Spindle's back, or lets its program end by itself with code 0.
    pub fn force(&self, container: &ContainerId, phase: Phase) {
        if phase == Phase::Running {
            if let Some(c) = self.inner().containers.get_mut(container) {
                c.begin();
            }
            self.tell(container, Happening::Started);
        } else {
            self.crash(container, Exit { code: 0, oom_killed: false }, "");
        }
    }

    /// Lets a container's program write `words` and end by itself.
    pub fn crash(&self, container: &ContainerId, exit: Exit, words: &str) {
        if let Some(c) = self.inner().containers.get_mut(container) {
            c.inside.written.extend(words.as_bytes());
            let said = |line: &str| Said { outlet: Outlet::Stdout, at: None, bytes: line.to_owned().into() };
            c.inside.log.extend(words.split_inclusive('\n').map(said));
            c.end(exit);
        }
        self.tell(container, Happening::Ended);
    }

    /// Ends a container by a signal, as `docker kill` and `docker stop` do. Does nothing if it does not run.
    pub fn kill(&self, container: &ContainerId) {
        let runs = match self.inner().containers.get_mut(container) {
            Some(c) if c.phase == Phase::Running => {
                c.end(TERMINATED);
                true
            }
            _ => false,
        };
        if runs {
            self.tell(container, Happening::Signalled);
            self.tell(container, Happening::Ended);
        }
    }

    /// Removes a container behind Spindle's back.
    pub fn vanish(&self, container: &ContainerId) {
        if let Some(mut gone) = self.inner().containers.remove(container) {
            gone.inside.end();
        }
        self.tell(container, Happening::Removed);
    }

    /// Pauses a container behind Spindle's back, or lets it go on.
    pub fn pause(&self, container: &ContainerId, paused: bool) {
        self.change(container, |c| c.paused = paused);
    }

    /// Renames a container behind Spindle's back.
    pub fn rename_behind(&self, container: &ContainerId, name: &str) {
        self.change(container, |c| c.name = name.to_owned());
    }

    /// Changes a container's limits behind Spindle's back.
    pub fn update(&self, container: &ContainerId, memory: Memory, cpus: Cpus) {
        self.change(container, |c| (c.sandbox.recipe.memory, c.sandbox.recipe.cpus) = (memory, cpus));
    }

    fn change(&self, container: &ContainerId, change: impl FnOnce(&mut Container)) {
        self.inner().containers.get_mut(container).map(change);
        self.tell(container, Happening::Changed);
    }

    /// Makes the program of an image end as soon as it is started.
    pub fn end_at_once(&self, image: &str, exit: Exit) {
        self.inner().ends.insert(image.to_owned(), exit);
    }
}
