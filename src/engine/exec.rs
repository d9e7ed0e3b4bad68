//! Programs that are run inside a container besides its own, attached in both directions.

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use tokio::io::AsyncWrite;

use super::Result;
use crate::domain::{Begun, ContainerId, Program, Size};

/// On which of its streams a program wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// Its output; on a terminal, all that it writes.
    Out,
    /// Its errors.
    Err,
}

/// Both directions of a program that was begun. Dropping them does not end the program.
pub struct Attached {
    /// What it writes, in pieces of at most 16 KiB. It waits while nobody reads. It ends when the program does, or with
    /// an error if the engine goes away.
    pub output: BoxStream<'static, Result<(Channel, Vec<u8>)>>,
    /// What it reads. Shutting it down is the end of its input.
    pub input: Box<dyn AsyncWrite + Send + Unpin>,
}

/// What became of a program.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ran {
    /// Whether it runs.
    pub running: bool,
    /// Its exit code, if it has ended, or could not be started.
    pub code: Option<i64>,
    /// Its process on the engine's machine, if it was started.
    pub pid: Option<u32>,
}

/// Programs in a running container.
#[async_trait]
pub trait Exec: Send + Sync {
    /// Prepares a program, and starts nothing. `id` is ours: the program finds it as `SPINDLE_EXEC`. Returns the engine's id.
    ///
    /// # Errors
    /// [`EngineError::Refused`](super::EngineError::Refused) if the container does not run or is paused.
    async fn prepare_exec(&self, container: &ContainerId, program: &Program, id: &str) -> Result<String>;

    /// Starts a program that was prepared. If it cannot be started, the output says why, and
    /// [`Exec::look_at_exec`] shows a code and no process.
    async fn begin_exec(&self, exec: &str, on_terminal: bool) -> Result<Attached>;

    /// Sets the size of a program's terminal.
    async fn resize_exec(&self, exec: &str, size: Size) -> Result<()>;

    /// What became of a program.
    async fn look_at_exec(&self, exec: &str) -> Result<Ran>;

    /// Ends a program, and all processes of its session and below them: first it asks them, a moment later it kills
    /// them. A program that has ended may have left some. Returns when none is left; also if the container is gone.
    async fn end_exec(&self, begun: &Begun) -> Result<()>;
}
