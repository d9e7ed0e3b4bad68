//! The state inside a scripted container.

use std::time::Duration;

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
    /// What its program has written.
    pub(super) written: Vec<u8>,
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
            written: Vec::new(),
            log: Vec::new(),
            files: tree::common(),
        }
    }
}

impl Interior {
    /// The container is started.
    pub(super) fn begin(&mut self) {
        self.cpu = Duration::ZERO;
    }
}
