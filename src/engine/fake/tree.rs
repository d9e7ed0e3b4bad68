//! The tree of files in a scripted container.

use std::collections::BTreeMap;

use crate::engine::{
    Stat,
    archive::{Entry, Kind},
};

/// Of a longer file only its length is kept; it reads as zeroes.
pub(super) const KEPT: u64 = 1 << 20;

/// What can only be read.
pub(super) const READ_ONLY: &str = "/run/spindle";

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nstudent:x:1000:1001::/home/student:/bin/sh\n";

/// Something at a path. Its own path in `what` is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FakeFile {
    /// What it is.
    pub what: Entry,
    /// Its content, unless it is too long to be kept.
    pub content: Vec<u8>,
}

/// All that is in a container, by path.
pub(super) type Tree = BTreeMap<String, FakeFile>;

/// What every container has.
pub(super) fn common() -> Tree {
    let folder = |path: &str| {
        let what = Entry { kind: Kind::Folder, mode: 0o755, ..Entry::file("", 0) };
        (path.to_owned(), FakeFile { what, content: Vec::new() })
    };
    let passwd = FakeFile { what: Entry::file("", PASSWD.len() as u64), content: PASSWD.into() };
    let folders = ["/", "/etc", "/home", "/home/student", "/run", READ_ONLY, "/tmp"].map(folder);
    folders.into_iter().chain([("/etc/passwd".to_owned(), passwd)]).collect()
}

/// A path without what means nothing in it; the root is empty.
pub(super) fn tidy(path: &str) -> String {
    let parts = path.split('/').filter(|part| !part.is_empty() && *part != ".");
    parts.fold(String::new(), |path, part| format!("{path}/{part}"))
}

/// What is at a path.
pub(super) fn stat(path: &str, file: &FakeFile) -> Stat {
    let Entry { kind, size, mode, ref target, .. } = file.what;
    let name = path.rsplit('/').next().unwrap_or_default().to_owned();
    let target = (kind == Kind::Symlink).then(|| String::from_utf8_lossy(target).into_owned());
    Stat { name, kind, size, mode, modified: None, target }
}
