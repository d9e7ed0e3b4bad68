//! The one shape of all errors (`CONTRACT.md` 5).

use serde::{Deserialize, Serialize};

use super::values::Word;

/// An error.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Error {
    /// For people.
    pub message: String,
    /// For programs.
    #[serde(default)]
    pub code: Word,
    /// The request's id, by which to find it in the log.
    #[serde(default)]
    pub request_id: String,
    /// What would help, if the message alone does not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}
