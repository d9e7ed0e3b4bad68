//! Files: take them out of a sandbox and put them in, whether it runs or not. Whoever puts something in works; whoever
//! looks does not.

mod examine;
mod owner;

use std::{io, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use jiff::Timestamp;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_util::io::ReaderStream;

use super::Asked;
use crate::{
    app::{
        Error, Result,
        spool::{Filling, Sheet},
    },
    domain::{Actor, ContainerId, Evidence, Invalid, Sandbox, Source, Verb, Who},
    engine::{
        EngineError, Stat,
        archive::{self, Entry, Flaw, Kind, Pieces, Reader},
    },
};
use examine::Examiner;
use owner::owner;

/// How many bytes of a body are read at once.
const PIECE: usize = 64 << 10;

/// How long a folder is listed, and how much of it: the engine shows a folder with all that is in it.
const LISTING: Duration = Duration::from_secs(5);
const LISTED: usize = 10_000;

/// The longest path that a file can have.
const LONGEST_PATH: usize = 4_095;

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

/// How something is put in.
#[derive(Debug, Clone, Default)]
pub struct Manner {
    /// Whose it shall be: a user's name or numbers; `None`: the learner's.
    pub owner: Option<String>,
    /// The permissions of a file.
    pub mode: Option<u32>,
}

/// What was put in.
pub struct PutIn {
    /// How many files, folders and links.
    pub entries: u64,
    /// How many bytes of content.
    pub bytes: u64,
}

impl Asked {
    /// The most bytes that are put in, or taken out, at once.
    pub fn transfer_max(&self) -> u64 {
        self.spool.most()
    }

    /// How many bytes are on their way in or out.
    pub fn in_transfer(&self) -> u64 {
        self.spool.used()
    }

    /// # Errors
    /// As [`Asked::take_files`], if `by` may not put files into the sandbox: before any of them is read.
    pub async fn may_put_files(&self, by: &Actor, reference: &str) -> Result<()> {
        self.allowed(by, Verb::PutFiles, reference).await.map(drop)
    }

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
        let entry = reader.entry().await.map_err(unreadable)?.filter(|entry| entry.kind == Kind::File);
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
                entries.extend(listed(&folder, entry));
                if entries.len() == LISTED {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        let is_cut = match tokio::time::timeout(LISTING, listing).await {
            Ok(ended) => ended.map_err(unreadable)?,
            Err(_) => true,
        };
        Ok(Listed { kind: Kind::Folder, entries, is_cut })
    }

    /// Puts a file of `size` bytes in, under its whole `path`. Nothing of it is there before all of it has come.
    ///
    /// # Errors
    /// [`Error::NoPath`] if its folder is not there, [`Error::WrongKind`] if a folder is in its place,
    /// [`Error::ReadOnlyPath`], [`Error::TooLarge`], [`Error::NoRoom`], [`Error::BrokenOff`].
    pub async fn put_file(
        self: &Arc<Self>,
        by: &Actor,
        reference: &str,
        (path, manner): (&str, &Manner),
        size: u64,
        body: &mut (dyn AsyncRead + Send + Unpin),
    ) -> Result<PutIn> {
        let path = checked(path)?;
        let (sandbox, container) = self.with_files(by, Verb::PutFiles, reference).await?;
        if size > self.spool.most() {
            return Err(Error::TooLarge(self.spool.most()));
        }
        let acting = self.actions.of(by, Verb::PutFiles, &sandbox).changing([path]);
        let put = async {
            let (folder, name) = path.trim_end_matches('/').rsplit_once('/').filter(|(_, name)| !name.is_empty())
                .ok_or_else(|| Error::WrongKind("/ is a folder; send a tar (Content-Type: application/x-tar)".into()))?;
            let folder = if folder.is_empty() { "/" } else { folder };
            self.folder_at(&container, folder).await?;
            let is_folder = self.engine.look_at(&container, path).await.is_ok_and(|stat| stat.kind == Kind::Folder);
            if is_folder {
                let hint = "is a folder; name the file in it, or send a tar (Content-Type: application/x-tar)";
                return Err(Error::WrongKind(format!("{path} {hint}")));
            }
            let owner = owner(self.engine.as_ref(), &container, manner.owner.as_deref()).await?;
            let modified = u64::try_from(self.clock.now().as_second()).unwrap_or_default();
            let mode = manner.mode.unwrap_or(0o644);
            let head = Entry { mode, owner, modified, ..Entry::file(name, size) }.head();
            let head = head.map_err(|e| Invalid::new("path", path, e.to_string()))?;
            let content = self.arrived(size, body).await?;
            let rest = [archive::padding(size), Bytes::from_static(&archive::END)];
            let tar = stream::iter([Ok(head)]).chain(content.pieces()).chain(stream::iter(rest.map(Ok)));
            self.unpack(by, &sandbox, folder, tar.boxed()).await?;
            Ok(PutIn { entries: 1, bytes: size })
        };
        acting.around(put).await
    }

    /// A body of `size` bytes, once all of it has come.
    async fn arrived(&self, size: u64, body: &mut (dyn AsyncRead + Send + Unpin)) -> Result<Sheet> {
        let mut filling = self.spool.begin().await?;
        let mut body = body.take(size);
        let mut piece = BytesMut::with_capacity(PIECE);
        while body.limit() > 0 {
            piece.clear();
            match body.read_buf(&mut piece).await {
                Ok(0) | Err(_) => return Err(Error::BrokenOff),
                Ok(_) => filling.put(&piece).await?,
            }
        }
        filling.end().await
    }

    /// Unpacks a tar in the folder at `path`. Nothing of it is there before all of it has come and is found harmless.
    ///
    /// # Errors
    /// As [`Asked::put_file`]; [`Error::BadTar`].
    pub async fn put_tar(
        self: &Arc<Self>,
        by: &Actor,
        reference: &str,
        (path, manner): (&str, &Manner),
        body: impl AsyncRead + Send + Unpin,
    ) -> Result<PutIn> {
        let path = checked(path)?;
        let (sandbox, container) = self.with_files(by, Verb::PutFiles, reference).await?;
        let acting = self.actions.of(by, Verb::PutFiles, &sandbox).changing([path]);
        let put = async {
            self.folder_at(&container, path).await?;
            let owner = owner(self.engine.as_ref(), &container, manner.owner.as_deref()).await?;
            let (put, tar) = self.examined(owner, body).await?;
            if put.entries > 0 {
                self.unpack(by, &sandbox, path, tar.pieces()).await?;
            }
            Ok(put)
        };
        acting.around(put).await
    }

    /// A tar, written anew, once all of it has come.
    async fn examined(&self, owner: (u64, u64), body: impl AsyncRead + Send + Unpin) -> Result<(PutIn, Sheet)> {
        let mut filling = self.spool.begin().await?;
        let (mut examiner, mut put) = (Examiner::default(), PutIn { entries: 0, bytes: 0 });
        let mut body = ReaderStream::with_capacity(body, PIECE);
        // The reader takes what lives on; the body does not.
        let (give, pieces) = tokio::sync::mpsc::channel::<io::Result<Bytes>>(1);
        let pieces = stream::unfold(pieces, |mut pieces| async move { Some((pieces.recv().await?, pieces)) });
        let mut reader = Reader::new(pieces.boxed());
        let arriving = async move {
            while let Some(piece) = body.next().await {
                let is_broken = piece.is_err();
                if give.send(piece).await.is_err() || is_broken {
                    break;
                }
            }
        };
        let examining = async {
            while let Some(entry) = reader.entry().await.map_err(of_tar)? {
                if let Some(entry) = examiner.examine(entry, owner).map_err(Error::BadTar)? {
                    copy(&mut reader, &entry, &mut filling).await?;
                    put = PutIn { entries: put.entries + 1, bytes: put.bytes + entry.size };
                }
            }
            filling.put(&archive::END).await?;
            reader.drain().await.map_err(of_tar)?;
            drop(reader);
            Ok::<_, Error>(())
        };
        let arrived = async {
            arriving.await;
            std::future::pending().await
        };
        // Whoever sends what is refused hears it at once.
        tokio::select! {
            examined = examining => examined?,
            () = arrived => {}
        }
        Ok((put, filling.end().await?))
    }

    /// Hands a tar of ours to the engine. If it runs, somebody works there.
    async fn unpack(&self, by: &Actor, sandbox: &Sandbox, folder: &str, tar: Pieces) -> Result<()> {
        let container = sandbox.container.as_ref().ok_or_else(|| Error::NoSandbox(sandbox.name.to_string()))?;
        self.engine.unpack(container, folder, tar).await.map_err(|e| failed(folder, e))?;
        let now = self.records.again(sandbox).await?;
        let source = if is_learner(by, &now) { Source::Files } else { Source::FilesByOthers };
        let evidence = Evidence { source, at: self.clock.now() };
        self.records.store.record_use(vec![(now.id, now.life.generation, evidence)]).await?;
        Ok(())
    }

    /// The sandbox that `reference` means, and its container.
    async fn with_files(&self, by: &Actor, verb: Verb, reference: &str) -> Result<(Sandbox, ContainerId)> {
        let sandbox = self.allowed(by, verb, reference).await?;
        let container = sandbox.container.clone();
        Ok((sandbox, container.ok_or_else(|| Error::NoSandbox(reference.to_owned()))?))
    }

    /// What is at `path`, and where it really is.
    async fn at(&self, container: &ContainerId, path: &str) -> Result<(Stat, String)> {
        let stat = self.engine.look_at(container, path).await.map_err(|e| failed(path, e))?;
        match stat.target.clone().filter(|_| stat.kind == Kind::Symlink) {
            None => Ok((stat, path.to_owned())),
            Some(target) => {
                let found = self.engine.look_at(container, &target).await.map_err(|e| failed(path, e))?;
                Ok((Stat { name: stat.name, ..found }, target))
            }
        }
    }

    async fn folder_at(&self, container: &ContainerId, path: &str) -> Result<()> {
        match self.at(container, path).await?.0.kind {
            Kind::Folder => Ok(()),
            _ => Err(Error::WrongKind(format!("{path} is no folder"))),
        }
    }
}

/// Whether `by` is whose sandbox it is, or somebody who was invited in that one's stead.
fn is_learner(by: &Actor, sandbox: &Sandbox) -> bool {
    match &by.who {
        Who::User(name) => sandbox.ownership.owner.as_ref().is_some_and(|owner| owner.as_str() == name),
        Who::Invited(_) => true,
        _ => false,
    }
}

/// # Errors
/// [`Error::Invalid`] if it is no path from the root on.
fn checked(path: &str) -> Result<&str> {
    let is_path = path.starts_with('/') && path.len() <= LONGEST_PATH && !path.contains('\0');
    let goes_back = path.split('/').any(|part| part == "..");
    if is_path && !goes_back {
        return Ok(path);
    }
    let allowed = "it is a path in the container that begins with / and has no .., such as /home/student/notes.txt";
    Err(Invalid::new("path", path, allowed).into())
}

fn failed(path: &str, why: EngineError) -> Error {
    match why {
        EngineError::NoPath => Error::NoPath(path.to_owned()),
        EngineError::WrongKind => Error::WrongKind(format!("in {path}: {why}")),
        EngineError::ReadOnly => Error::ReadOnlyPath(path.to_owned()),
        why => Error::engine("its files cannot be reached", why),
    }
}

/// Why what the engine sends cannot be read.
fn unreadable(flaw: Flaw) -> Error {
    Error::engine("its files cannot be reached", EngineError::Unavailable(flaw.to_string()))
}

/// Why what a client sends cannot be read.
fn of_tar(flaw: Flaw) -> Error {
    match flaw {
        Flaw::Unreadable(_) => Error::BrokenOff,
        flaw => Error::BadTar(flaw.to_string()),
    }
}

/// The content of the entry at which `reader` is.
fn content(reader: Reader) -> BoxStream<'static, Result<Bytes>> {
    let pieces = stream::unfold(Some(reader), |reader| async move {
        let mut reader = reader?;
        match reader.piece().await {
            Ok(Some(piece)) => Some((Ok(piece), Some(reader))),
            // The engine lets go of the container when all is read.
            Ok(None) => reader.drain().await.err().map(|flaw| (Err(unreadable(flaw)), None)),
            Err(flaw) => Some((Err(unreadable(flaw)), None)),
        }
    });
    pieces.boxed()
}

/// Copies an entry with its content.
async fn copy(reader: &mut Reader, entry: &Entry, to: &mut Filling) -> Result<()> {
    let head = entry.head().map_err(|e| Error::BadTar(e.to_string()))?;
    to.put(&head).await?;
    while let Some(piece) = reader.piece().await.map_err(of_tar)? {
        to.put(&piece).await?;
    }
    to.put(&archive::padding(entry.size)).await
}

/// What is in `folder` itself.
fn listed(folder: &[u8], entry: Entry) -> Option<ListedEntry> {
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
