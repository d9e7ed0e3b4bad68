//! The state inside a scripted container.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::exec::Scripted;

use super::tree::{self, Tree};
use crate::engine::Said;

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
    /// The same, as its log has it.
    pub(super) log: Vec<Said>,
    /// The files in it.
    pub(super) files: Tree,
}

impl Default for Interior {
    fn default() -> Self {
        Self {
            terminals: 1,
            stopped: 0,
            announcements: Vec::new(),
            cpu: Duration::ZERO,
            memory_used: 0,
            written: Vec::new(),
            log: Vec::new(),
            files: tree::common(),
            execs: BTreeMap::new(),
        }
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
