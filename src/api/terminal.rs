//! Terminals, as `/v1/containers/{id}/terminals` shows them, and tickets.

use serde::{Deserialize, Serialize};

use super::values::Instant;

/// A terminal that is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terminal {
    /// Its id.
    pub id: String,
    /// Its program.
    pub command: Vec<String>,
    /// As which user it was asked for; `null`: the image's own.
    pub user: Option<String>,
    /// Who opened it.
    pub opened_by: String,
    /// When.
    pub opened_at: Instant,
    /// Who may type in it at present.
    pub writers: Vec<String>,
    /// Who watches.
    pub watchers: Vec<String>,
}

/// The size of a terminal, as a client sets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resize {
    /// The size.
    pub resize: Size,
}

/// A size in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Size {
    /// Characters in a line.
    pub cols: u16,
    /// Lines.
    pub rows: u16,
}

/// A ticket that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// The ticket itself.
    pub ticket: String,
    /// For how many seconds it is good.
    pub expires_in: u64,
}
