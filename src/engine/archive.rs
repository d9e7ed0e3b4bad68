//! Tars as they come, entry by entry, and the heads of entries as we write them. What we hand on is always written
//! anew, so nobody behind us can read in a tar what we have not seen in it.

use std::{ffi::OsStr, io, os::unix::ffi::OsStrExt, path::Path};

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream::BoxStream};
use tar::{Builder, EntryType, Header, PaxExtensions};

/// The size of which everything in a tar is a multiple.
const BLOCK: usize = 512;

/// The most bytes of what an entry says of itself besides its head: long names, above all.
const MOST_SAID: u64 = 256 << 10;

/// What ends a tar.
pub const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// Bytes as they come.
pub type Pieces = BoxStream<'static, io::Result<Bytes>>;

/// What an entry of a tar is, and what is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file with content.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Symlink,
    /// A second name of another entry.
    HardLink,
    /// A device, a pipe, or what we do not know.
    Other,
}

impl Kind {
    /// The word for it in the API.
    pub fn word(self) -> &'static str {
        match self {
            Kind::File => "file",
            Kind::Folder => "folder",
            Kind::Symlink => "link",
            Kind::HardLink => "hard_link",
            Kind::Other => "other",
        }
    }
}

/// What a tar says of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it is, as it is written there.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// How many bytes of content follow.
    pub size: u64,
    /// Its permissions.
    pub mode: u32,
    /// Whose it is: user and group.
    pub owner: (u64, u64),
    /// When it was changed, in seconds since 1970.
    pub modified: u64,
    /// Where it leads to, if it is a link.
    pub target: Vec<u8>,
}

impl Entry {
    /// A file of so many bytes, which everybody may read.
    pub fn file(path: impl Into<Vec<u8>>, size: u64) -> Self {
        let (path, kind, mode) = (path.into(), Kind::File, 0o644);
        Self { path, kind, size, mode, owner: (0, 0), modified: 0, target: Vec::new() }
    }

    /// Its head, with all names however long they are. The content follows, and then [`padding`].
    ///
    /// # Errors
    /// If no tar can hold such an entry.
    pub fn head(&self) -> io::Result<Bytes> {
        let mut header = Header::new_gnu();
        header.set_mode(self.mode);
        header.set_uid(self.owner.0);
        header.set_gid(self.owner.1);
        header.set_mtime(self.modified);
        header.set_size(self.size);
        header.set_entry_type(match self.kind {
            Kind::File => EntryType::Regular,
            Kind::Folder => EntryType::Directory,
            Kind::Symlink => EntryType::Symlink,
            Kind::HardLink => EntryType::Link,
            Kind::Other => return Err(io::Error::other("only files, folders and links are written")),
        });
        let mut builder = Builder::new(Vec::new());
        let path = as_path(&self.path);
        match self.kind {
            Kind::Symlink | Kind::HardLink => builder.append_link(&mut header, path, as_path(&self.target))?,
            // The content is not copied: only its head is made here.
            _ => builder.append_data(&mut header, path, io::empty())?,
        }
        let mut head = builder.into_inner()?;
        head.truncate(head.len() - END.len());
        Ok(head.into())
    }
}

fn as_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

/// What follows after so many bytes of content.
pub fn padding(size: u64) -> Bytes {
    Bytes::from_static(&END[..(size.next_multiple_of(BLOCK as u64) - size) as usize])
}

/// Why a tar cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum Flaw {
    /// It is no tar, or one that is not understood.
    #[error("{0}")]
    Malformed(String),
    /// It ends amid.
    #[error("it ends before its end")]
    Cut,
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(io::Error),
}

/// Reads a tar.
pub struct Reader {
    pieces: Pieces,
    held: BytesMut,
    /// How many bytes of the present entry's content, and of what fills its last block, are still to come.
    content: u64,
    filling: u64,
}

impl Reader {
    /// A tar that comes in `pieces`.
    pub fn new(pieces: Pieces) -> Self {
        Self { pieces, held: BytesMut::new(), content: 0, filling: 0 }
    }

    /// The next entry. What is left of the present one is skipped. `None` at the tar's end.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn entry(&mut self) -> Result<Option<Entry>, Flaw> {
        let mut said = Said::default();
        loop {
            while self.piece().await?.is_some() {}
            self.skip_filling().await?;
            let block = self.exactly(BLOCK).await?;
            if block.iter().all(|byte| *byte == 0) {
                return Ok(None);
            }
            let header = Header::from_byte_slice(&block);
            check_sum(header)?;
            let size = header.entry_size().map_err(|_| Flaw::Malformed("an entry has no size".into()))?;
            let kind = header.entry_type();
            if kind.is_pax_global_extensions()
                || kind.is_pax_local_extensions()
                || kind.is_gnu_longname()
                || kind.is_gnu_longlink()
            {
                let text = self.said(size).await?;
                said.take(kind, &text)?;
                continue;
            }
            let entry = said.entry(header, size)?;
            (self.content, self.filling) = (entry.size, padding(entry.size).len() as u64);
            return Ok(Some(entry));
        }
    }

    /// The next piece of the present entry's content; `None` at its end.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, Flaw> {
        if self.content == 0 {
            return Ok(None);
        }
        if self.held.is_empty() {
            self.more().await?;
        }
        let length = usize::try_from(self.content).unwrap_or(usize::MAX).min(self.held.len());
        self.content -= length as u64;
        Ok(Some(self.held.split_to(length).freeze()))
    }

    /// Reads what comes after the tar's end, and heeds none of it.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn drain(&mut self) -> Result<(), Flaw> {
        while let Some(piece) = self.pieces.next().await {
            piece.map_err(Flaw::Unreadable)?;
        }
        Ok(())
    }

    async fn more(&mut self) -> Result<(), Flaw> {
        let piece = self.pieces.next().await.ok_or(Flaw::Cut)?.map_err(Flaw::Unreadable)?;
        if self.held.is_empty() {
            self.held = BytesMut::from(piece);
        } else {
            self.held.extend_from_slice(&piece);
        }
        Ok(())
    }

    async fn exactly(&mut self, length: usize) -> Result<Bytes, Flaw> {
        while self.held.len() < length {
            self.more().await?;
        }
        Ok(self.held.split_to(length).freeze())
    }

    async fn skip_filling(&mut self) -> Result<(), Flaw> {
        let filling = std::mem::take(&mut self.filling) as usize;
        self.exactly(filling).await.map(drop)
    }

    /// What an entry says of the next one.
    async fn said(&mut self, size: u64) -> Result<Bytes, Flaw> {
        if size > MOST_SAID {
            return Err(Flaw::Malformed(format!("an entry says more than {MOST_SAID} bytes of itself")));
        }
        let text = self.exactly(size as usize).await?;
        self.filling = padding(size).len() as u64;
        Ok(text)
    }
}

fn check_sum(header: &Header) -> Result<(), Flaw> {
    let bytes = header.as_bytes();
    let counted = |(at, byte): (usize, &u8)| u32::from(if (148..156).contains(&at) { b' ' } else { *byte });
    let sum: u32 = bytes.iter().enumerate().map(counted).sum();
    let is_right = header.cksum().is_ok_and(|written| written == sum);
    is_right.then_some(()).ok_or_else(|| Flaw::Malformed("it is no tar (a checksum is wrong)".into()))
}

/// What entries before an entry have said of it.
#[derive(Default)]
struct Said {
    path: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    size: Option<u64>,
}

impl Said {
    fn take(&mut self, kind: EntryType, text: &[u8]) -> Result<(), Flaw> {
        let name = || text.split(|byte| *byte == 0).next().unwrap_or_default().to_vec();
        if kind.is_gnu_longname() {
            self.path = Some(name());
        } else if kind.is_gnu_longlink() {
            self.target = Some(name());
        } else {
            for extension in PaxExtensions::new(text) {
                let extension = extension.map_err(|_| Flaw::Malformed("an extension does not read".into()))?;
                let (key, value) = (extension.key_bytes(), extension.value_bytes());
                let is_global = kind.is_pax_global_extensions();
                match key {
                    b"path" | b"linkpath" | b"size" if is_global => {
                        return Err(Flaw::Malformed("it says names or sizes for all of its entries at once".into()));
                    }
                    b"path" => self.path = Some(value.to_vec()),
                    b"linkpath" => self.target = Some(value.to_vec()),
                    b"size" => {
                        let size = std::str::from_utf8(value).ok().and_then(|size| size.parse().ok());
                        let why = || Flaw::Malformed("the size of an entry is no number".into());
                        self.size = Some(size.ok_or_else(why)?);
                    }
                    _ if key.starts_with(b"GNU.sparse") => return Err(sparse()),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// The entry with the head `header`.
    fn entry(self, header: &Header, size: u64) -> Result<Entry, Flaw> {
        let path = self.path.unwrap_or_else(|| header.path_bytes().into_owned());
        let target = self.target.or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned));
        let kind = match header.entry_type() {
            // Old tars write a folder so.
            EntryType::Regular | EntryType::Continuous if path.ends_with(b"/") => Kind::Folder,
            EntryType::Regular | EntryType::Continuous => Kind::File,
            EntryType::Directory => Kind::Folder,
            EntryType::Symlink => Kind::Symlink,
            EntryType::Link => Kind::HardLink,
            EntryType::GNUSparse => return Err(sparse()),
            _ => Kind::Other,
        };
        let size = self.size.unwrap_or(size);
        if kind != Kind::File && size > 0 {
            let path = String::from_utf8_lossy(&path).into_owned();
            return Err(Flaw::Malformed(format!("{path:?} is no file and has content")));
        }
        let number = |number: io::Result<u64>| number.unwrap_or_default();
        Ok(Entry {
            kind,
            size,
            mode: header.mode().unwrap_or(0o644) & 0o7777,
            owner: (number(header.uid()), number(header.gid())),
            modified: number(header.mtime()),
            target: target.filter(|_| matches!(kind, Kind::Symlink | Kind::HardLink)).unwrap_or_default(),
            path,
        })
    }
}

fn sparse() -> Flaw {
    Flaw::Malformed("it has sparse files; make it without --sparse".into())
}

#[cfg(test)]
mod tests;
