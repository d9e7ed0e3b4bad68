//! Files in a container.

use serde::{Deserialize, Serialize};

use super::values::{Instant, Word};

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// The path that was asked for.
    pub path: String,
    /// `folder`, `file` or `other`.
    pub kind: Word,
    /// What is in a folder; a file itself.
    pub entries: Vec<FileEntry>,
    /// Whether there is more than is shown.
    pub truncated: bool,
}

/// Something in a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its name. What is not UTF-8 is replaced.
    pub name: String,
    /// `file`, `folder`, `link`, `hard_link` or `other`.
    pub kind: Word,
    /// Bytes.
    pub size: u64,
    /// Permissions, in octal digits.
    pub mode: String,
    /// When it was changed.
    pub modified: Option<Instant>,
    /// Where a link leads to.
    pub target: Option<String>,
}

/// What was put in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutIn {
    /// Where.
    pub path: String,
    /// How many files, folders and links.
    pub entries: u64,
    /// How many bytes of content.
    pub bytes: u64,
}
