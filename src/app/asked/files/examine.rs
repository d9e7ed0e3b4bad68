//! What may be unpacked in a sandbox: no entry of a tar may lie, or lead, outside of the folder that was named. The
//! engine keeps to the sandbox whatever a tar says; this keeps to the folder.

use std::collections::BTreeSet;

use crate::engine::archive::{Entry, Kind};

/// The most bytes of all links' names together.
const MOST_OF_LINKS: usize = 1 << 20;

/// The longest path and the longest name in it that a file can have.
const LONGEST_PATH: usize = 4_095;
const LONGEST_NAME: usize = 255;

/// Examines the entries of one tar.
#[derive(Debug, Default)]
pub struct Examiner {
    /// Where links were so far: nothing may go through them.
    links: BTreeSet<Vec<u8>>,
    bytes: usize,
}

type Parts<'p> = Vec<&'p [u8]>;

impl Examiner {
    /// The entry as it is unpacked, owned by `owner`; `None`: it is the folder itself.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn examine(&mut self, entry: Entry, owner: (u64, u64)) -> Result<Option<Entry>, String> {
        let shown = String::from_utf8_lossy(&entry.path).into_owned();
        let refuse = |why: &str| Err(format!("{shown:?} {why}"));
        let parts = match parts(&entry.path) {
            Ok(parts) => parts,
            Err(why) => return refuse(why),
        };
        if parts.is_empty() {
            return if entry.kind == Kind::Folder { Ok(None) } else { refuse("has no name") };
        }
        if self.goes_through_a_link(&parts) {
            return refuse("lies behind a link of the same tar");
        }
        let path = parts.join(&b'/');
        let target = match entry.kind {
            Kind::Other => return refuse("is a device or a pipe; only files, folders and links are taken"),
            Kind::File | Kind::Folder => Vec::new(),
            Kind::Symlink => {
                if let Err(why) = stays(&parts, &entry.target) {
                    return refuse(why);
                }
                self.bytes += path.len();
                if self.bytes > MOST_OF_LINKS {
                    return refuse("is one link too many: their names have more than a mebibyte");
                }
                self.links.insert(path.clone());
                entry.target
            }
            Kind::HardLink => match self::parts(&entry.target) {
                Ok(target) if !target.is_empty() && !self.goes_through_a_link(&target) => target.join(&b'/'),
                _ => return refuse("is a link to what is not beside it"),
            },
        };
        Ok(Some(Entry { path, owner, target, ..entry }))
    }

    fn goes_through_a_link(&self, parts: &Parts<'_>) -> bool {
        (1..parts.len()).any(|length| self.links.contains(&parts[..length].join(&b'/')))
    }
}

/// The names in a path that stays below.
fn parts(path: &[u8]) -> Result<Parts<'_>, &'static str> {
    if path.starts_with(b"/") {
        return Err("begins at the root; only paths below the folder are taken");
    }
    if path.contains(&0) || path.len() > LONGEST_PATH {
        return Err("is no path that a file can have");
    }
    let parts: Parts<'_> = path.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b".")).collect();
    if parts.contains(&&b".."[..]) {
        return Err("leads out of the folder (..)");
    }
    if parts.iter().any(|part| part.len() > LONGEST_NAME) {
        return Err("has a name that is too long");
    }
    Ok(parts)
}

/// Whether a link at `at` leads to something below.
fn stays(at: &Parts<'_>, target: &[u8]) -> Result<(), &'static str> {
    if target.is_empty() || target.contains(&0) || target.len() > LONGEST_PATH {
        return Err("is a link without a target that can be");
    }
    if target.starts_with(b"/") {
        return Err("is a link that leaves the folder (it begins at the root)");
    }
    let mut depth = at.len() - 1;
    for part in target.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => depth = depth.checked_sub(1).ok_or("is a link that leaves the folder (..)")?,
            _ => depth += 1,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: Kind, path: &str, target: &str) -> Entry {
        Entry { kind, target: target.into(), ..Entry::file(path, 0) }
    }

    /// The paths of what is unpacked, or why it is refused.
    fn examined(entries: &[(Kind, &str, &str)]) -> Result<Vec<String>, String> {
        let mut examiner = Examiner::default();
        let mut paths = Vec::new();
        for (kind, path, target) in entries {
            if let Some(entry) = examiner.examine(entry(*kind, path, target), (1000, 1000))? {
                assert_eq!(entry.owner, (1000, 1000));
                paths.push(String::from_utf8(entry.path).unwrap());
            }
        }
        Ok(paths)
    }

    #[test]
    fn what_stays_below_is_taken() {
        use Kind::{File, Folder, HardLink, Symlink};
        let taken = examined(&[
            (Folder, "./", ""),
            (Folder, "./a/", ""),
            (File, "./a//b", ""),
            (File, "a/..b", ""),
            (Symlink, "a/l", "../c/./d"),
            (Symlink, "m", "a"),
            (HardLink, "h", "./a/b"),
            (HardLink, "h2", "m"),
        ]);
        assert_eq!(taken.unwrap(), ["a", "a/b", "a/..b", "a/l", "m", "h", "h2"]);
    }

    #[test]
    fn what_leaves_is_refused() {
        use Kind::{File, Folder, HardLink, Other, Symlink};
        let long = "n".repeat(256);
        for (entries, why) in [
            (&[(File, "/etc/passwd", "")][..], "root"),
            (&[(File, "../x", "")], ".."),
            (&[(File, "a/../../x", "")], ".."),
            (&[(Folder, "a/..", "")], ".."),
            (&[(File, "./", "")], "no name"),
            (&[(File, &long, "")], "too long"),
            (&[(File, "a\0b", "")], "no path"),
            (&[(Other, "tty", "")], "device"),
            (&[(Symlink, "l", "/etc")], "root"),
            (&[(Symlink, "l", "..")], ".."),
            (&[(Symlink, "a/l", "../../x")], ".."),
            (&[(Symlink, "l", "")], "without a target"),
            (&[(HardLink, "h", "/etc/shadow")], "not beside"),
            (&[(HardLink, "h", "../shadow")], "not beside"),
            (&[(HardLink, "h", "")], "not beside"),
            (&[(Symlink, "l", "a"), (File, "l/x", "")], "behind a link"),
            (&[(Symlink, "l", "a"), (HardLink, "h", "l/x")], "not beside"),
            // Each of the two stays below by its letters; together they leave.
            (&[(Symlink, "a/l", ".."), (Symlink, "a/m", "l/.."), (File, "a/m/x", "")], "behind a link"),
        ] {
            let refused = examined(entries).unwrap_err();
            assert!(refused.contains(why), "{entries:?}: {refused}");
        }
    }

    #[test]
    fn links_without_end_are_refused() {
        let mut examiner = Examiner::default();
        let names = (0..).map(|number| format!("{number}-{}", "x".repeat(200)));
        let refused =
            names.map(|name| examiner.examine(entry(Kind::Symlink, &name, "a"), (0, 0))).find_map(Result::err);
        assert!(refused.unwrap().contains("too many"));
    }
}
