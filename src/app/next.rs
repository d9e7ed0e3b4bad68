//! The next pass: what wakes it, and at which containers it looks closely.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard},
};

use tokio::sync::Notify;

use crate::domain::ContainerId;

/// At which containers a pass looks closely.
#[derive(Debug, Default)]
pub struct Suspects {
    /// These containers: something happened to them.
    pub containers: HashSet<ContainerId>,
    /// All containers, and the engine itself.
    pub all: bool,
}

/// What the next pass shall do.
#[derive(Debug)]
pub struct Next {
    wake: Notify,
    suspects: Mutex<Suspects>,
}

impl Default for Next {
    /// The first pass looks at everything.
    fn default() -> Self {
        Self { wake: Notify::new(), suspects: Mutex::new(Suspects { all: true, ..Suspects::default() }) }
    }
}

impl Next {
    fn suspects(&self) -> MutexGuard<'_, Suspects> {
        self.suspects.lock().expect("no holder panics")
    }

    /// Asks for a pass soon.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Waits until somebody wants a pass.
    pub async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Makes the next pass look closely at a container. Why: others may restart a container between our look and our
    /// record of its start. Then its event came too early, and only a close look shows the restart.
    pub fn look_closely_at(&self, container: ContainerId) {
        self.suspects().containers.insert(container);
    }

    /// Makes the next pass look closely at everything.
    pub fn look_at_all(&self) {
        self.suspects().all = true;
    }

    /// Hands the suspects to a pass that begins now.
    pub fn take(&self) -> Suspects {
        std::mem::take(&mut self.suspects())
    }
}
