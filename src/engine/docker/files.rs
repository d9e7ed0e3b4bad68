//! Files in Docker's containers, by its archive calls.

use std::time::Duration;

use async_trait::async_trait;
use bollard::{
    body_try_stream,
    container::PathStatResponse,
    query_parameters::{
        ContainerArchiveInfoOptionsBuilder, DownloadFromContainerOptionsBuilder, UploadToContainerOptionsBuilder,
    },
};
use bytes::Bytes;
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};

use super::{
    DockerEngine, QUICK, SLOW,
    errors::{translate, within},
};
use crate::{
    domain::ContainerId,
    engine::{
        EngineError, Files, Result, Stat,
        archive::{Kind, Pieces},
    },
};

/// How long Docker may take to unpack what it is sent. It has all of it at hand.
const UNPACKING: Duration = Duration::from_mins(10);

/// Bits of Go's file mode.
const FOLDER: u32 = 1 << 31;
const SYMLINK: u32 = 1 << 27;
const OTHERS: u32 = 1 << 26 | 1 << 25 | 1 << 24 | 1 << 21 | 1 << 19;
const SET_USER: u32 = 1 << 23;
const SET_GROUP: u32 = 1 << 22;
const STICKY: u32 = 1 << 20;

#[async_trait]
impl Files for DockerEngine {
    async fn look_at(&self, container: &ContainerId, path: &str) -> Result<Stat> {
        let client = self.client().await?;
        let options = ContainerArchiveInfoOptionsBuilder::default().path(path).build();
        let call = client.get_container_archive_info(container.as_str(), Some(options));
        let shown = self.seen(within(QUICK, "stat", call, EngineError::NoPath).await);
        match shown {
            Ok(shown) => Ok(stat(shown)),
            Err(e) => Err(self.what_is_missing(container, e).await),
        }
    }

    async fn take(&self, container: &ContainerId, path: &str) -> Result<BoxStream<'static, Result<Bytes>>> {
        let client = self.client().await?;
        let options = DownloadFromContainerOptionsBuilder::default().path(path).build();
        let pieces = client.download_from_container(container.as_str(), Some(options));
        let mut pieces = pieces.map(|piece| piece.map_err(|e| translate(e, EngineError::NoPath))).boxed();
        // The first piece tells whether there is anything.
        let first = match next(&mut pieces).await {
            Some(Err(e)) => return Err(self.what_is_missing(container, e).await),
            first => first,
        };
        let rest = stream::unfold(Some(pieces), |pieces| async move {
            let mut pieces = pieces?;
            let piece = next(&mut pieces).await?;
            let rest = piece.is_ok().then_some(pieces);
            Some((piece, rest))
        });
        Ok(stream::iter(first).chain(rest).boxed())
    }

    async fn unpack(&self, container: &ContainerId, path: &str, tar: Pieces) -> Result<()> {
        // The answer comes when all is unpacked.
        let client = self.client().await?.with_timeout(UNPACKING);
        let options = UploadToContainerOptionsBuilder::default().path(path).no_overwrite_dir_non_dir("1").build();
        let call = client.upload_to_container(container.as_str(), Some(options), body_try_stream(tar));
        match within(UNPACKING, "unpack", call, EngineError::NoPath).await {
            Err(e) => Err(self.what_is_missing(container, refused(e)).await),
            Ok(()) => Ok(()),
        }
    }
}

impl DockerEngine {
    /// Docker answers alike about a container and about a path that are not there.
    async fn what_is_missing(&self, container: &ContainerId, e: EngineError) -> EngineError {
        if e == EngineError::NoPath { self.look(container).await.err().unwrap_or(e) } else { e }
    }
}

/// The next piece of an answer that has begun, or will soon.
async fn next(pieces: &mut BoxStream<'static, Result<Bytes>>) -> Option<Result<Bytes>> {
    let late = EngineError::Timeout { call: "archive", deadline: SLOW };
    tokio::time::timeout(SLOW, pieces.next()).await.unwrap_or(Some(Err(late)))
}

/// Docker tells some things only in its sentences.
fn refused(e: EngineError) -> EngineError {
    match e {
        EngineError::Refused(why) if why.contains("read-only") => EngineError::ReadOnly,
        EngineError::Refused(why) if why.contains("not a directory") || why.contains("cannot overwrite") => {
            EngineError::WrongKind
        }
        other => other,
    }
}

fn stat(shown: PathStatResponse) -> Stat {
    let mode = shown.file_mode;
    let kind = match mode {
        _ if mode & FOLDER != 0 => Kind::Folder,
        _ if mode & SYMLINK != 0 => Kind::Symlink,
        _ if mode & OTHERS != 0 => Kind::Other,
        _ => Kind::File,
    };
    let bit = |of, is| if mode & of != 0 { is } else { 0 };
    Stat {
        name: shown.name,
        kind,
        size: if kind == Kind::File { u64::try_from(shown.size).unwrap_or_default() } else { 0 },
        mode: mode & 0o777 | bit(SET_USER, 0o4000) | bit(SET_GROUP, 0o2000) | bit(STICKY, 0o1000),
        modified: shown.modification_time.and_then(|at| at.parse().ok()),
        target: Some(shown.link_target).filter(|target| !target.is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_modes_and_sentences_are_understood() {
        let of = |file_mode| {
            let (modification_time, link_target) = (Some("2026-11-22T04:00:00+01:00".into()), String::new());
            stat(PathStatResponse { name: "x".into(), size: 7, file_mode, modification_time, link_target })
        };
        assert_eq!((of(0o644).kind, of(0o644).mode, of(0o644).size), (Kind::File, 0o644, 7));
        assert_eq!((of(FOLDER | STICKY | 0o777).kind, of(FOLDER | STICKY | 0o777).mode), (Kind::Folder, 0o1777));
        assert_eq!((of(SYMLINK | 0o777).kind, of(1 << 26 | 1 << 21 | 0o666).kind), (Kind::Symlink, Kind::Other));
        assert!(of(0).modified.is_some());
        let said = |why: &str| refused(EngineError::Refused(why.into()));
        assert_eq!(said("mounted volume is marked read-only"), EngineError::ReadOnly);
        assert_eq!(said("extraction point is not a directory"), EngineError::WrongKind);
        assert_eq!(said("cannot overwrite directory \"/a\" with non-directory \"/\""), EngineError::WrongKind);
        assert!(matches!(said("no space left on device"), EngineError::Refused(_)));
    }
}
