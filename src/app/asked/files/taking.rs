//! Files out of a sandbox: a file, a folder as a tar, or a list.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use jiff::Timestamp;

use super::{checked, failed};
use crate::{
    app::{Error, Result, asked::Asked},
    domain::{Actor, ContainerId, Verb},
    engine::{
        EngineError, Stat,
        archive::{Entry, Flaw, Kind, Pieces, Reader},
    },
};

/// How long a folder is listed, and how much of it: the engine shows a folder with all that is in it.
const LISTING: Duration = Duration::from_secs(5);
const LISTED: usize = 10_000;

/// What somebody takes out.
pub struct Taken {
    /// Its name.
    pub name: String,
    /// How many bytes, if it is a file; a folder comes as a tar.
    pub size: Option<u64>,
    /// The bytes.
    pub pieces: Pieces,
}

/// What is at a path, for those who look.
pub struct Listed {
    /// What it is.
    pub kind: Kind,
    /// What is in it, if it is a folder: or else itself.
    pub entries: Vec<ListedEntry>,
    /// There is more.
    pub is_cut: bool,
}

/// Something in a folder.
pub struct ListedEntry {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// How many bytes a file has.
    pub size: u64,
    /// Its permissions.
    pub mode: u32,
    /// When it was changed, if that is known.
    pub modified: Option<Timestamp>,
    /// Where a link leads to.
    pub target: Option<String>,
}

impl Asked {
    /// A file as it is, or a folder as a tar. A link at the end of `path` is followed.
    ///
    /// # Errors
    /// [`Error::NoPath`], [`Error::WrongKind`], [`Error::TooLarge`], [`Error::NoRoom`].
    pub async fn take_files(self: &Arc<Self>, by: &Actor, reference: &str, path: &str) -> Result<Taken> {
        let path = checked(path)?;
        let (sandbox, container) = self.with_files(by, Verb::GetFiles, reference).await?;
        let acting = self.actions.of(by, Verb::GetFiles, &sandbox).changing([path]);
        acting.around(self.taken(&container, path)).await
    }

    async fn taken(&self, container: &ContainerId, path: &str) -> Result<Taken> {
        let (stat, at) = self.at(container, path).await?;
        let tar = self.engine.take(container, &at).await.map_err(|e| failed(&at, e))?;
        if stat.kind == Kind::Folder {
            let tar = tar.map(|piece| piece.map_err(|e| failed("", e))).boxed();
            return Ok(Taken { name: stat.name, size: None, pieces: self.spool.through(tar).await? });
        }
        let mut reader = Reader::new(tar.map(|piece| piece.map_err(io::Error::other)).boxed());
        let entry = reader.entry().await.map_err(|flaw| unreadable(&flaw))?.filter(|entry| entry.kind == Kind::File);
        let entry = entry.ok_or_else(|| Error::WrongKind(format!("{path} is neither a file nor a folder")))?;
        if entry.size > self.spool.most() {
            return Err(Error::TooLarge(self.spool.most()));
        }
        let pieces = self.spool.through(content(reader)).await?;
        Ok(Taken { name: stat.name, size: Some(entry.size), pieces })
    }

    /// What is in a folder, or at a path.
    ///
    /// # Errors
    /// [`Error::NoPath`].
    pub async fn list_files(&self, by: &Actor, reference: &str, path: &str) -> Result<Listed> {
        let path = checked(path)?;
        let (_, container) = self.with_files(by, Verb::GetFiles, reference).await?;
        let (stat, at) = self.at(&container, path).await?;
        if stat.kind != Kind::Folder {
            let Stat { name, kind, size, mode, modified, target } = stat;
            let entries = vec![ListedEntry { name, kind, size, mode, modified, target }];
            return Ok(Listed { kind, entries, is_cut: false });
        }
        let tar = self.engine.take(&container, &at).await.map_err(|e| failed(&at, e))?;
        let mut reader = Reader::new(tar.map(|piece| piece.map_err(io::Error::other)).boxed());
        let mut entries = Vec::new();
        let listing = async {
            let folder = reader.entry().await?.map(|entry| entry.path).unwrap_or_default();
            while let Some(entry) = reader.entry().await? {
                entries.extend(listed(&folder, &entry));
                if entries.len() == LISTED {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        let is_cut = match tokio::time::timeout(LISTING, listing).await {
            Ok(ended) => ended.map_err(|flaw| unreadable(&flaw))?,
            Err(_) => true,
        };
        Ok(Listed { kind: Kind::Folder, entries, is_cut })
    }
}

/// Why what the engine sends cannot be read.
fn unreadable(flaw: &Flaw) -> Error {
    Error::engine("its files cannot be reached", EngineError::Unavailable(flaw.to_string()))
}

/// The content of the entry at which `reader` is.
fn content(reader: Reader) -> BoxStream<'static, Result<Bytes>> {
    let pieces = stream::unfold(Some(reader), |reader| async move {
        let mut reader = reader?;
        match reader.piece().await {
            Ok(Some(piece)) => Some((Ok(piece), Some(reader))),
            // The engine lets go of the container when all is read.
            Ok(None) => reader.drain().await.err().map(|flaw| (Err(unreadable(&flaw)), None)),
            Err(flaw) => Some((Err(unreadable(&flaw)), None)),
        }
    });
    pieces.boxed()
}

/// What is in `folder` itself.
fn listed(folder: &[u8], entry: &Entry) -> Option<ListedEntry> {
    let name = entry.path.strip_prefix(folder)?;
    let name = name.strip_prefix(b"/").unwrap_or(name);
    let name = name.strip_suffix(b"/").unwrap_or(name);
    if name.is_empty() || name.contains(&b'/') {
        return None;
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Some(ListedEntry {
        name: text(name),
        kind: entry.kind,
        size: entry.size,
        mode: entry.mode,
        modified: i64::try_from(entry.modified).ok().and_then(|at| Timestamp::from_second(at).ok()),
        target: Some(text(&entry.target)).filter(|target| !target.is_empty()),
    })
}
