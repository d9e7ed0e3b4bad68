//! An action, as `/v1/actions` shows it.

use serde::{Deserialize, Serialize};

use super::values::{Instant, Word};

/// Who did what to what, when, and how it ended.
/// Its fields are the keys on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// Its id, as `Spindle-Action` names it.
    pub id: String,
    /// What was done, such as `create`.
    pub verb: String,
    /// `pending`, `in_progress`, `success`, `failed` or `cancelled`.
    pub state: Word,
    /// Who did it.
    pub actor: String,
    /// By what they were known, such as `password`.
    pub credential: String,
    /// From which address.
    pub from: Option<String>,
    /// The id of the request.
    pub request_id: Option<String>,
    /// To what.
    pub object: ActedOn,
    /// The names of what was set or changed.
    #[serde(default)]
    pub changed: Vec<String>,
    /// When it began.
    pub started_at: Instant,
    /// When it ended.
    pub ended_at: Option<Instant>,
    /// Why it failed or was cancelled.
    pub error: Option<Failure>,
}

/// What was acted on, as it was called then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActedOn {
    /// `container`, `image`, `user`, `server` and others.
    pub kind: Word,
    /// What never changes. A container's is Spindle's own, which it has before the engine's.
    pub id: String,
    /// Its name, if that is another text.
    pub name: Option<String>,
    /// The engine's id of a container.
    pub container_id: Option<String>,
    /// The namespace that it is in.
    pub namespace: Option<String>,
}

/// Why an action failed or was cancelled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// For programs.
    pub code: String,
    /// For people.
    pub message: String,
}
