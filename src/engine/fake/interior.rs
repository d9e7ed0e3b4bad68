//! The state inside a scripted container.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::exec::Scripted;

/// What a container has inside.
#[derive(Debug, Clone)]
pub(super) struct Interior {
    pub(super) terminals: u32,
    pub(super) stopped: u32,
    pub(super) announcements: Vec<String>,
    /// Since its last start.
    pub(super) cpu: Duration,
    /// In bytes.
    pub(super) memory_used: u64,
    /// What its program has written.
    pub(super) written: Vec<u8>,
    /// The programs that were prepared in it, by their ids.
    pub(super) execs: BTreeMap<String, Arc<Scripted>>,
}

impl Default for Interior {
    fn default() -> Self {
        let (announcements, written, execs) = (Vec::new(), Vec::new(), BTreeMap::new());
        Self { terminals: 1, stopped: 0, announcements, cpu: Duration::ZERO, memory_used: 0, written, execs }
    }
}

impl Interior {
    /// The container has ended, and with it all programs in it.
    pub(super) fn end(&mut self) {
        self.execs.values().for_each(|exec| exec.end(137));
    }

    /// The container is started.
    pub(super) fn begin(&mut self) {
        self.cpu = Duration::ZERO;
    }
}
