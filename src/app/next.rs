//! The next pass: who wants one, and at which containers it looks closely.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard},
};

use tokio::sync::Notify;

use crate::domain::ContainerId;

/// At which containers a pass looks closely.
#[derive(Debug, Default)]
pub struct Suspects {
    /// At these, to which something happened.
    pub containers: HashSet<ContainerId>,
    /// At all of them, and at the engine itself.
    pub all: bool,
}

/// What the next pass is asked for.
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

    /// Has the next pass look closely at a container. One whose start is recorded may have been restarted between our look
    /// at it and the record: the event of that was heard too early, and only a close look shows it.
    pub fn look_closely_at(&self, container: ContainerId) {
        self.suspects().containers.insert(container);
    }

    /// Has the next pass look closely at everything.
    pub fn look_at_all(&self) {
        self.suspects().all = true;
    }

    /// Takes what a pass that begins now looks at closely.
    pub fn take(&self) -> Suspects {
        std::mem::take(&mut self.suspects())
    }
}
