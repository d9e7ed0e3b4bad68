//! Values that many shapes share.

use std::{borrow::Cow, fmt};

use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};

/// A word of a set that may grow. The writer has fixed words; a reader accepts any word.
pub type Word = Cow<'static, str>;

/// RFC 3339 in UTC, written to the millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(transparent)]
pub struct Instant(pub Timestamp);

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.0)
    }
}

impl Serialize for Instant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A length of time in seconds, or a word instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Limit {
    /// So many seconds.
    Seconds(u64),
    /// `never`.
    Word(Word),
}

impl Limit {
    /// A length that never ends.
    pub const NEVER: Self = Self::Word(Cow::Borrowed("never"));

    /// The seconds, if there is an end.
    pub fn seconds(&self) -> Option<u64> {
        match self {
            Self::Seconds(seconds) => Some(*seconds),
            Self::Word(_) => None,
        }
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self::NEVER
    }
}
