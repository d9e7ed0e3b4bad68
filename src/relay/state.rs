//! The state of one sandbox: where its connections go, and whether that is still true.

use std::{os::fd::OwnedFd, sync::Arc, time::Duration};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Pid, PidfdFlags, pidfd_open},
};

use super::message::{Route, Target};
use crate::clock::Stopwatch;

/// Where one sandbox's connections go.
#[derive(Debug, Clone)]
pub struct State {
    /// The start that the table knows.
    pub generation: u64,
    /// What happens to a new connection.
    pub target: Target,
    /// How long connections of an earlier start, or of one that has ended, may go on.
    pub cut_after: Duration,
    /// Since when it is open, or closed.
    pub since: Stopwatch,
    /// How often waiting connections were turned away.
    pub refused: u64,
    process: FirstProcess,
}

/// What is known of a sandbox's first process.
#[derive(Debug, Clone)]
enum FirstProcess {
    /// Nothing is known: the table is believed.
    Untold,
    /// It had ended before it could be watched.
    Ended,
    /// It is watched.
    Watched(Arc<OwnedFd>),
    /// It could not be watched, because descriptors ran out. It is looked for each time.
    Unwatched(Pid),
}

impl FirstProcess {
    fn of(target: &Target) -> Self {
        let Target::Open { pid: Some(pid), .. } = target else { return Self::Untold };
        let Some(pid) = i32::try_from(*pid).ok().and_then(Pid::from_raw) else { return Self::Untold };
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(process) => Self::Watched(Arc::new(process)),
            Err(Errno::SRCH) => Self::Ended,
            // This kernel or container does not allow the call.
            Err(Errno::NOSYS | Errno::PERM) => Self::Untold,
            Err(_) => Self::Unwatched(pid),
        }
    }

    fn is_alive(&self) -> bool {
        let lives = |process: &OwnedFd| {
            let mut asked = [PollFd::new(process, PollFlags::IN)];
            poll(&mut asked, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ended| ended == 0)
        };
        match self {
            FirstProcess::Untold => true,
            FirstProcess::Ended => false,
            FirstProcess::Watched(process) => lives(process),
            FirstProcess::Unwatched(pid) => pidfd_open(*pid, PidfdFlags::empty()).is_ok_and(|process| lives(&process)),
        }
    }
}

impl State {
    /// What `route` says. What is still true of the state `before` is kept.
    pub fn of(route: &Route, before: Option<&State>) -> Self {
        let same = before.filter(|b| b.generation == route.generation && b.target == route.target);
        Self {
            generation: route.generation,
            target: route.target.clone(),
            cut_after: Duration::from_millis(route.cut_after_ms),
            since: before
                .filter(|b| b.generation == route.generation && b.target.is_open() == route.target.is_open())
                .map_or_else(Stopwatch::start, |b| b.since),
            refused: before.map_or(0, |b| b.refused),
            process: same.map_or_else(|| FirstProcess::of(&route.target), |b| b.process.clone()),
        }
    }

    /// Whether `other` shows the same start at the same place.
    pub fn is_same_start(&self, other: &State) -> bool {
        self.generation == other.generation && self.target == other.target
    }

    /// Whether the sandbox's first process lives. While it does, nobody else has its address.
    pub fn is_alive(&self) -> bool {
        self.process.is_alive()
    }
}
