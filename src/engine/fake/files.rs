//! The files in scripted containers: a few that every system has, and what is put there.

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};

use super::{
    FakeEngine,
    containers::Container,
    or_lie,
    tree::{FakeFile, KEPT, READ_ONLY, Tree, stat, tidy},
};
use crate::{
    domain::ContainerId,
    engine::{
        EngineError, Files, Result, Stat,
        archive::{self, Entry, Kind, Pieces, Reader},
    },
};

/// The parts of a tar of what is at `path`, and in it: heads and contents.
fn parts(tree: &Tree, path: &str) -> Vec<(Bytes, u64)> {
    let parent = path.rsplit_once('/').map_or(0, |(parent, _)| parent.len() + 1);
    let is_in = |at: &&String| *at == path || at.starts_with(&format!("{path}/"));
    let mut parts = Vec::new();
    for (at, file) in tree.iter().filter(|(at, _)| is_in(at)) {
        let slash = if file.what.kind == Kind::Folder { "/" } else { "" };
        let entry = Entry { path: format!("{}{slash}", &at[parent..]).into_bytes(), ..file.what.clone() };
        parts.push((entry.head().expect("it has a name"), 0));
        let missing = entry.size - file.content.len() as u64;
        parts.push((file.content.clone().into(), missing));
        parts.push((archive::padding(entry.size), 0));
    }
    parts.push((Bytes::from_static(&archive::END), 0));
    parts
}

impl FakeEngine {
    /// What a container has at a path.
    pub fn file(&self, container: &ContainerId, path: &str) -> Option<FakeFile> {
        self.inner().containers.get(container)?.inside.files.get(path).cloned()
    }

    /// The paths of all that a container has.
    pub fn paths(&self, container: &ContainerId) -> Vec<String> {
        self.inner().containers.get(container).map(|c| c.inside.files.keys().cloned().collect()).unwrap_or_default()
    }

    /// Puts something into a container behind Spindle's back.
    pub fn lay(&self, container: &ContainerId, path: &str, what: Entry, content: &[u8]) {
        if let Some(c) = self.inner().containers.get_mut(container) {
            c.inside.files.insert(path.to_owned(), FakeFile { what, content: content.to_vec() });
        }
    }

    /// Does something with a container, while there is one and the engine answers.
    fn with<T>(&self, container: &ContainerId, act: impl FnOnce(&mut Container) -> Result<T>) -> Result<T> {
        let mut inner = self.inner();
        if inner.away {
            return Err(EngineError::Unavailable("nobody listens (scripted)".into()));
        }
        act(inner.containers.get_mut(container).ok_or(EngineError::NoContainer)?)
    }

    async fn unpack_into(&self, container: &ContainerId, folder: &str, tar: Pieces) -> Result<()> {
        let mut reader = Reader::new(tar);
        let broken = |flaw: archive::Flaw| EngineError::Refused(format!("the tar does not read: {flaw}"));
        while let Some(entry) = reader.entry().await.map_err(broken)? {
            let path = tidy(&format!("{folder}/{}", String::from_utf8_lossy(&entry.path)));
            self.with(container, |c| {
                let there = c.inside.files.get(&path);
                if there.is_some_and(|f| (f.what.kind == Kind::Folder) != (entry.kind == Kind::Folder)) {
                    return Err(EngineError::WrongKind);
                }
                let what = Entry { path: Vec::new(), size: 0, ..entry.clone() };
                c.inside.files.insert(path.clone(), FakeFile { what, content: Vec::new() });
                Ok(())
            })?;
            while let Some(piece) = reader.piece().await.map_err(broken)? {
                self.with(container, |c| {
                    let file = c.inside.files.get_mut(&path).ok_or(EngineError::NoPath)?;
                    file.what.size += piece.len() as u64;
                    if file.what.size <= KEPT {
                        file.content.extend_from_slice(&piece);
                    } else {
                        file.content = Vec::new();
                    }
                    Ok(())
                })?;
            }
        }
        reader.drain().await.map_err(broken)
    }
}

#[async_trait]
impl Files for FakeEngine {
    async fn look_at(&self, container: &ContainerId, path: &str) -> Result<Stat> {
        let lie = self.enter("look_at").await?;
        let path = tidy(path);
        let at = if path.is_empty() { "/" } else { &path };
        let found = self.with(container, |c| c.inside.files.get(at).map(|f| stat(at, f)).ok_or(EngineError::NoPath))?;
        or_lie(found, lie)
    }

    async fn take(&self, container: &ContainerId, path: &str) -> Result<BoxStream<'static, Result<Bytes>>> {
        let lie = self.enter("take").await?;
        let path = tidy(path);
        let parts = self.with(container, |c| {
            c.inside.files.get(&path).ok_or(EngineError::NoPath)?;
            Ok(parts(&c.inside.files, &path))
        })?;
        let (inner, open, container) = (self.inner.clone(), self.open.clone(), container.clone());
        let parts = stream::iter(parts).flat_map(|(bytes, zeroes)| {
            let zero = Bytes::from(vec![0; 64 << 10]);
            let whole = zeroes / zero.len() as u64;
            let rest = zero.slice(..(zeroes % zero.len() as u64) as usize);
            let filler = stream::iter(0..whole).map(move |_| zero.clone());
            stream::iter([bytes])
                .chain(filler)
                .chain(stream::iter([rest]))
                .filter(|b| std::future::ready(!b.is_empty()))
        });
        let pieces = parts.map(move |piece| {
            let _open = &open;
            let inner = inner.lock().expect("no holder panics");
            match inner.containers.get(&container) {
                _ if inner.away => Err(EngineError::Unavailable("nobody listens (scripted)".into())),
                None => Err(EngineError::NoContainer),
                Some(_) => Ok(piece),
            }
        });
        or_lie(pieces.boxed(), lie)
    }

    async fn unpack(&self, container: &ContainerId, path: &str, tar: Pieces) -> Result<()> {
        let lie = self.enter("unpack").await?;
        let _open = self.open.clone();
        let path = tidy(path);
        if path == READ_ONLY || path.starts_with(&format!("{READ_ONLY}/")) {
            return Err(EngineError::ReadOnly);
        }
        let at = if path.is_empty() { "/" } else { &path };
        let kind = self.with(container, |c| c.inside.files.get(at).map(|f| f.what.kind).ok_or(EngineError::NoPath))?;
        if kind != Kind::Folder {
            return Err(EngineError::WrongKind);
        }
        let unpacked = self.unpack_into(container, &path, tar).await;
        or_lie((), unpacked.err().or(lie))
    }
}
