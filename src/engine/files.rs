//! Files in a container, taken out and put in. It need not run.

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use jiff::Timestamp;

use super::{
    Result,
    archive::{Kind, Pieces},
};
use crate::domain::ContainerId;

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// Its name, without the folders.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// How many bytes it has, if it is a file.
    pub size: u64,
    /// Its permissions.
    pub mode: u32,
    /// When it was changed, if the engine says.
    pub modified: Option<Timestamp>,
    /// Where a link leads to in the end, as a path in the container.
    pub target: Option<String>,
}

/// Files in containers. Paths are absolute. Links in the folders of a path are followed, in the container's own root.
///
/// Docker holds the container meanwhile: until all is taken or unpacked it answers nothing else about it. So whoever
/// calls keeps nobody waiting in between, a client above all.
#[async_trait]
pub trait Files: Send + Sync {
    /// Looks at what is at `path`; a link at its end is not followed.
    ///
    /// # Errors
    /// [`EngineError::NoPath`](super::EngineError::NoPath).
    async fn look_at(&self, container: &ContainerId, path: &str) -> Result<Stat>;

    /// What is at `path`, with all that is in it, as a tar in which it has its own name.
    ///
    /// # Errors
    /// [`EngineError::NoPath`](super::EngineError::NoPath).
    async fn take(&self, container: &ContainerId, path: &str) -> Result<BoxStream<'static, Result<Bytes>>>;

    /// Unpacks a tar in the folder at `path`. What is there already is replaced, but a folder never by a file nor a
    /// file by a folder.
    ///
    /// # Errors
    /// [`EngineError::NoPath`](super::EngineError::NoPath),
    /// [`EngineError::WrongKind`](super::EngineError::WrongKind),
    /// [`EngineError::ReadOnly`](super::EngineError::ReadOnly). Part of it may be unpacked then.
    async fn unpack(&self, container: &ContainerId, path: &str, tar: Pieces) -> Result<()>;
}
