//! People: users, namespaces, tokens, sessions and invitations.

use serde::{Deserialize, Serialize};

use super::values::{Instant, Word};

/// A user.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct User {
    /// The name.
    pub name: String,
    /// `admin`, `instructor`, `assistant` or `learner`.
    pub role: Word,
    /// The namespaces that list the user.
    pub namespaces: Vec<String>,
    /// Whether the user has a password.
    pub has_password: bool,
    /// The public keys for the user's own sandboxes.
    pub ssh_key: Option<String>,
    /// When the user was made.
    pub created_at: Instant,
    /// The password that the server made. It is shown this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}

/// Whoever asks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Me {
    /// The name.
    pub name: String,
    /// The role, as far as the credential allows.
    pub role: Word,
    /// The namespaces that list them.
    pub namespaces: Vec<String>,
    /// What the credential is for.
    pub scopes: Vec<Word>,
    /// `password`, `token`, `session` or `invitation`.
    pub credential: Word,
    /// The path of the one container that an invitation is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
}

/// The most that may be there, or what is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Amounts {
    /// Containers, running or not.
    pub containers: Option<u32>,
    /// Containers that run.
    pub running: Option<u32>,
    /// Their memory limits in sum, in bytes.
    pub memory: Option<u64>,
}

/// A namespace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Namespace {
    /// Its name.
    pub name: String,
    /// Its name for people.
    pub title: String,
    /// The most that may be in it; `null`: no limit.
    pub quota: Amounts,
    /// The most that each owner may have in it.
    pub owner_quota: Amounts,
    /// Whether its assistants may run programs in its learners' containers.
    #[serde(default)]
    pub assistant_exec: bool,
    /// What is in it.
    pub used: Amounts,
    /// When it was made.
    pub created_at: Instant,
}

/// A token, a session or an invitation: all but the secret.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Credential {
    /// Its id.
    pub id: String,
    /// Whose it is. Of an invitation: who gave it.
    pub user: String,
    /// What its owner calls it. Of a session: the program that signed in.
    pub name: String,
    /// What it may be used for.
    pub scopes: Vec<Word>,
    /// In which namespaces; empty: in all of its owner's.
    pub namespaces: Vec<String>,
    /// When it was given.
    pub created_at: Instant,
    /// When it ends; `null`: not by itself.
    pub expires_at: Option<Instant>,
    /// When it was last used, to the minute.
    pub used_at: Option<Instant>,
    /// From which address.
    pub used_from: Option<String>,
    /// The secret of a new one. It is shown this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Of a new invitation: the link that signs in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// What became of one row of an import.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Imported {
    /// The row's line in the file; the first has the names of the columns.
    pub line: u64,
    /// The name in it.
    pub name: String,
    /// `created` or `failed`.
    pub status: Word,
    /// Why it failed, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Why it failed, for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<Word>,
    /// The namespaces of the user.
    pub namespaces: Vec<String>,
    /// The password that the server made. It is shown this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}
