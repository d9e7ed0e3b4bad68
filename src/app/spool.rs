//! The spool: what goes into a sandbox waits here until all of it has come, and what comes out until the client has taken
//! it. The engine holds a sandbox for as long as it reads or writes its files, and answers nothing else about it: no
//! slow client may make it wait. A file here has no name, so nothing is left of it when the server ends, however it ends.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::{Bytes, BytesMut};
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use tokio::{sync::watch, task::spawn_blocking};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::{Error, Result, Settings};
use crate::engine::archive::Pieces;

/// How many bytes are read or written at once.
const PIECE: usize = 256 << 10;

/// How many transfers of the greatest length have room together.
const TOGETHER: u64 = 4;

/// The spool.
pub struct Spool {
    directory: PathBuf,
    /// The most bytes of one transfer.
    most: u64,
    /// The bytes of all transfers.
    used: Arc<AtomicU64>,
    tasks: TaskTracker,
}

impl Spool {
    /// A spool as the settings say. Its directory is made when it is used first.
    pub fn new(settings: &Settings, tasks: TaskTracker) -> Self {
        let (directory, most) = (settings.spool.clone(), settings.transfer_max);
        Self { directory, most, used: Arc::default(), tasks }
    }

    /// The most bytes of one transfer.
    pub fn most(&self) -> u64 {
        self.most
    }

    /// How many bytes are waiting at present.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Begins a transfer.
    ///
    /// # Errors
    /// [`Error::NoRoom`].
    pub async fn begin(&self) -> Result<Filling> {
        let directory = self.directory.clone();
        let made = blocking(move || nameless(&directory)).await;
        let file = made.map_err(|e| Error::NoRoom(format!("{}: {e}", self.directory.display())))?;
        let sheet = Sheet { file: Arc::new(file), length: 0, used: Arc::clone(&self.used) };
        Ok(Filling { sheet, held: BytesMut::new(), most: self.most })
    }

    /// Takes all of `source` as fast as it comes, and hands it on as fast as it is wanted. If nobody wants it any more,
    /// no more of it is taken.
    ///
    /// # Errors
    /// [`Error::NoRoom`].
    pub async fn through(&self, mut source: BoxStream<'static, Result<Bytes>>) -> Result<Pieces> {
        let mut filling = self.begin().await?;
        let file = Arc::clone(&filling.sheet.file);
        let (tell, progress) = watch::channel(Progress::default());
        let taking = self.tasks.spawn(async move {
            let taken = async {
                while let Some(piece) = source.next().await {
                    filling.put(&piece?).await?;
                    tell.send_modify(|progress| progress.length = filling.sheet.length);
                }
                filling.flush().await
            };
            let taken = taken.await;
            tell.send_modify(|progress| {
                progress.length = filling.sheet.length;
                progress.end = Some(taken.map_err(|e| e.to_string()));
            });
            // Until it is read it takes room.
            filling.sheet
        });
        let state = (file, progress, AbortOnDropHandle::new(taking), 0);
        let pieces = stream::unfold(Some(state), |state| async move {
            let (file, mut progress, taking, at) = state?;
            let now = match progress.wait_for(|p| p.length > at || p.end.is_some()).await {
                Ok(now) => now.clone(),
                Err(_) => return Some((Err(io::ErrorKind::BrokenPipe.into()), None)),
            };
            if now.length == at {
                let why = now.end.and_then(std::result::Result::err)?;
                return Some((Err(io::Error::other(why)), None));
            }
            let (read, length) = (Arc::clone(&file), now.length - at);
            let piece = blocking(move || piece_at(&read, at, length)).await;
            let next = piece.as_ref().ok().map(|piece| at + piece.len() as u64);
            Some((piece, next.map(|at| (file, progress, taking, at))))
        });
        Ok(pieces.boxed())
    }
}

#[derive(Debug, Clone, Default)]
struct Progress {
    length: u64,
    end: Option<std::result::Result<(), String>>,
}

/// A transfer that is coming.
pub struct Filling {
    sheet: Sheet,
    held: BytesMut,
    most: u64,
}

impl Filling {
    /// Adds bytes.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::NoRoom`].
    pub async fn put(&mut self, bytes: &[u8]) -> Result<()> {
        if self.sheet.length + (self.held.len() + bytes.len()) as u64 > self.most {
            return Err(Error::TooLarge(self.most));
        }
        self.held.extend_from_slice(bytes);
        if self.held.len() >= PIECE { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<()> {
        let (held, at) = (self.held.split().freeze(), self.sheet.length);
        if held.is_empty() {
            return Ok(());
        }
        self.sheet.take_room(held.len() as u64, self.most * TOGETHER)?;
        let file = Arc::clone(&self.sheet.file);
        let written = blocking(move || file.write_all_at(&held, at)).await;
        written.map_err(|e| Error::NoRoom(e.to_string()))
    }

    /// All of it has come.
    ///
    /// # Errors
    /// [`Error::NoRoom`].
    pub async fn end(mut self) -> Result<Sheet> {
        self.flush().await?;
        Ok(self.sheet)
    }
}

/// What has come.
pub struct Sheet {
    file: Arc<File>,
    length: u64,
    used: Arc<AtomicU64>,
}

impl Sheet {
    fn take_room(&mut self, bytes: u64, room: u64) -> Result<()> {
        if self.used.fetch_add(bytes, Ordering::Relaxed) + bytes > room {
            self.used.fetch_sub(bytes, Ordering::Relaxed);
            return Err(Error::NoRoom("too much is being carried in and out at present".into()));
        }
        self.length += bytes;
        Ok(())
    }

    /// All of it.
    pub fn pieces(self) -> Pieces {
        let pieces = stream::unfold((self, 0), |(sheet, at)| async move {
            let (file, left) = (Arc::clone(&sheet.file), sheet.length.checked_sub(at).filter(|left| *left > 0)?);
            let piece = blocking(move || piece_at(&file, at, left)).await;
            let next = piece.as_ref().map_or(sheet.length, |piece| at + piece.len() as u64);
            Some((piece, (sheet, next)))
        });
        pieces.boxed()
    }
}

impl Drop for Sheet {
    fn drop(&mut self) {
        self.used.fetch_sub(self.length, Ordering::Relaxed);
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    spawn_blocking(work).await.unwrap_or_else(|_| Err(io::ErrorKind::Interrupted.into()))
}

/// A piece of a file of which `left` bytes are there after `at`.
fn piece_at(file: &File, at: u64, left: u64) -> io::Result<Bytes> {
    let mut piece = vec![0; usize::try_from(left).unwrap_or(usize::MAX).min(PIECE)];
    file.read_exact_at(&mut piece, at)?;
    Ok(piece.into())
}

/// A file without a name in `directory`, which others cannot enter.
fn nameless(directory: &Path) -> io::Result<File> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|_| io::Error::other("no random numbers"))?;
    let path = directory.join(format!("{:016x}", u64::from_be_bytes(bytes)));
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}
