//! Files: take them out of a sandbox and put them in, whether it runs or not. Whoever puts something in works; whoever
//! looks does not.

mod examine;
mod owner;
mod taking;

use std::{io, sync::Arc};

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_util::io::ReaderStream;

use super::{Asked, rights::forbidden};
use crate::{
    app::{
        Error, Result,
        spool::{Filling, Sheet},
    },
    domain::{Actor, Answer, ContainerId, Invalid, Object, Sandbox, Source, Verb, may},
    engine::{
        EngineError, Stat,
        archive::{self, Entry, Flaw, Kind, Pieces, Reader},
    },
};
use examine::Examiner;
use owner::owner;
pub use taking::{Listed, ListedEntry, Taken};

/// How many bytes of a body are read at once.
const PIECE: usize = 64 << 10;

/// The longest path that a file can have.
const LONGEST_PATH: usize = 4_095;

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
            let (folder, name) =
                path.trim_end_matches('/').rsplit_once('/').filter(|(_, name)| !name.is_empty()).ok_or_else(|| {
                    Error::WrongKind("/ is a folder; send a tar (Content-Type: application/x-tar)".into())
                })?;
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
            std::future::pending::<()>().await;
        };
        // Whoever sends what is refused hears it at once.
        tokio::select! {
            examined = examining => examined?,
            () = arrived => {}
        }
        Ok((put, filling.end().await?))
    }

    /// Hands a tar of ours to the engine, if `by` still may: it may have come for a long time.
    async fn unpack(&self, by: &Actor, sandbox: &Sandbox, folder: &str, tar: Pieces) -> Result<()> {
        let (by_now, now) = (self.identity.again(by).await?, self.records.again(sandbox).await?);
        if may(&by_now, Verb::PutFiles, Object::Sandbox(&now.id, &now.ownership)) != Answer::Yes {
            return Err(forbidden(&by_now, Verb::PutFiles));
        }
        let container = sandbox.container.as_ref().ok_or_else(|| Error::NoSandbox(sandbox.name.to_string()))?;
        self.engine.unpack(container, folder, tar).await.map_err(|e| failed(folder, e))?;
        self.note_files(by, sandbox).await
    }

    /// Somebody has put files into a sandbox: if it runs, it is in use.
    pub(crate) async fn note_files(&self, by: &Actor, sandbox: &Sandbox) -> Result<()> {
        let now = self.records.again(sandbox).await?;
        self.usage.touch(&now, Source::Files, by).await
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

/// Why what a client sends cannot be read.
fn of_tar(flaw: Flaw) -> Error {
    match flaw {
        Flaw::Unreadable(_) => Error::BrokenOff,
        flaw => Error::BadTar(flaw.to_string()),
    }
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
