//! What became of a program that was run, as `/v1/containers/{id}/exec` shows it.

use serde::{Deserialize, Serialize};

/// A program's end, and the beginning of what it wrote.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Executed {
    /// Its exit code; `null` if it was ended.
    pub exit_code: Option<i64>,
    /// Its output.
    pub stdout: String,
    /// Its errors.
    pub stderr: String,
    /// How many bytes its output had.
    #[serde(default)]
    pub stdout_bytes: u64,
    /// How many bytes its errors had.
    #[serde(default)]
    pub stderr_bytes: u64,
    /// Whether one of them had more than is shown.
    pub truncated: bool,
    /// Whether one of them has bytes that are no UTF-8, which `\u{fffd}` stands for.
    #[serde(default)]
    pub lossy: bool,
    /// Whether it was ended because its time was over.
    #[serde(default)]
    pub timed_out: bool,
}
