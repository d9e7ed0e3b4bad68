//! The answer to a check-in. Most answers are empty.

use serde::{Deserialize, Serialize};

use super::values::Instant;

/// The answer to a user who keeps a container from inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Until when it is kept.
    pub keep_until: Option<Instant>,
    /// The same in the sandbox's own time zone, as users inside see it.
    pub keep_until_local: Option<String>,
    /// When it will be stopped, unless it is used before.
    pub stops_at: Option<Instant>,
}
