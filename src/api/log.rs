//! A log, line by line.

use serde::{Deserialize, Serialize};

use super::values::{Instant, Word};

/// A line that a program has written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When.
    pub at: Option<Instant>,
    /// `stdout` or `stderr`.
    pub stream: Word,
    /// What, without the line's end. What is not UTF-8 is replaced.
    pub line: String,
    /// Whether the next line of the same stream belongs to it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
}
