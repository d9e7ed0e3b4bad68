//! The answer to a check-in. Most are empty.

use serde::{Deserialize, Serialize};

use super::values::Instant;

/// The answer to whoever keeps a container from inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Until when it is kept.
    pub keep_until: Option<Instant>,
    /// The same as it is shown inside: in the sandbox's own time zone.
    pub keep_until_local: Option<String>,
    /// When it will be stopped, unless it is used until then.
    pub stops_at: Option<Instant>,
}
