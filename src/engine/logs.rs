//! What the programs of a container have written, and go on to write.

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use jiff::Timestamp;

use super::Result;
use crate::domain::ContainerId;

/// Where a program writes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outlet {
    /// What it prints.
    Stdout,
    /// What it complains of.
    Stderr,
}

impl Outlet {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Stdout, Self::Stderr];

    /// The word for it in the API.
    pub fn word(self) -> &'static str {
        match self {
            Outlet::Stdout => "stdout",
            Outlet::Stderr => "stderr",
        }
    }
}

/// Which part of a log somebody wants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogsWanted {
    /// At most so many of the last lines; `None`: all.
    pub tail: Option<u64>,
    /// Nothing older than this.
    pub since: Option<Timestamp>,
    /// What comes to only one of the outlets.
    pub only: Option<Outlet>,
    /// What is written from now on too, until the container ends.
    pub follow: bool,
}

/// A line that a program has written, or a piece of a long one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Where to.
    pub outlet: Outlet,
    /// When, if the engine says.
    pub at: Option<Timestamp>,
    /// What, with the line's end. A piece without one goes on with the next from the same outlet.
    pub bytes: Bytes,
}

/// What a log is read from, as it comes.
pub type Saying = BoxStream<'static, Result<Said>>;

/// The logs of containers.
#[async_trait]
pub trait Logs: Send + Sync {
    /// What a container has written, oldest first. It need not run. With `follow` the stream ends when the container
    /// does. If the engine goes away meanwhile, the last item is an error. Nothing is read ahead of who takes the
    /// stream, but for a buffer; dropping it ends all.
    async fn logs(&self, container: &ContainerId, wanted: &LogsWanted) -> Result<Saying>;
}
