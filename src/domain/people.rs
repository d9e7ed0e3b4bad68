//! People: who asks for something to be done, and with which rights.

use std::{
    collections::BTreeSet,
    fmt,
    net::{IpAddr, SocketAddr},
};

use deunicode::deunicode;

use super::{
    names::{Invalid, SandboxId},
    role::{Role, Scope},
};

/// Reads `text` if it begins with a letter or digit and has only lower-case letters, digits and the bytes in `also`.
fn plain(field: &'static str, text: &str, also: &str) -> Result<String, Invalid> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || also.bytes().any(|a| a == b);
    let head = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if head && text.len() <= 63 && text.bytes().all(allowed) {
        return Ok(text.to_owned());
    }
    let clean = deunicode(&text.chars().take(256).collect::<String>()).to_ascii_lowercase();
    let clean = clean.split(|c: char| !allowed(c.try_into().unwrap_or(b' '))).filter(|word| !word.is_empty());
    let mut clean =
        clean.collect::<Vec<_>>().join("-").trim_start_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned();
    clean.truncate(63);
    let proposal = if clean.is_empty() { String::new() } else { format!("; {clean:?} would do") };
    let also: Vec<String> = also.chars().map(String::from).collect();
    let allowed = format!(
        "it has 1 to 63 letters a to z, digits and {}, and begins with a letter or digit{proposal}",
        also.join(" ")
    );
    Err(Invalid::new(field, text, allowed))
}

/// The name of a user that was made through the API. The configured admin's name may be any.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserName(String);

impl UserName {
    /// Parses a user's name. `field` is the caller's name for it.
    pub fn parse(field: &'static str, text: &str) -> Result<Self, Invalid> {
        if [Who::INSIDE, "none"].contains(&text) {
            return Err(Invalid::new(field, text, "it has a meaning of its own, so no user has this name"));
        }
        plain(field, text, ".-_@").map(Self)
    }

    /// The text itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A namespace: one course, with its people, its sandboxes and its quota.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Namespace(String);

impl Namespace {
    /// The name of the namespace that is always there.
    pub const DEFAULT: &str = "default";

    /// Parses a namespace's name. `field` is the caller's name for it.
    pub fn parse(field: &'static str, text: &str) -> Result<Self, Invalid> {
        plain(field, text, "-").map(Self)
    }

    /// Whether it is the one that is always there.
    pub fn is_default(&self) -> bool {
        self.0 == Self::DEFAULT
    }

    /// The text itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Self(Self::DEFAULT.to_owned())
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// To whom a sandbox belongs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ownership {
    /// The course that it is in.
    pub namespace: Namespace,
    /// The learner whose own it is.
    pub owner: Option<UserName>,
}

/// Who did something, as records and the log name them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// A user of the API, by name.
    User(String),
    /// Somebody with an invitation to one sandbox, by the invitation's id.
    Invited(String),
    /// Somebody who is logged in inside the sandbox.
    Inside,
    /// Somebody who connects to a sandbox that sleeps.
    Wake(SocketAddr),
    /// The pass, without a request.
    Pass,
    /// The server as it starts.
    Server,
}

impl Who {
    /// The name of [`Who::Inside`]. No user has it.
    pub const INSIDE: &str = "inside";

    /// No user's name has a space.
    const INVITED: &str = "invitation ";

    /// The person whom records call `name`.
    pub fn named(name: &str) -> Self {
        match name.strip_prefix(Self::INVITED) {
            Some(id) => Who::Invited(id.to_owned()),
            None if name == Self::INSIDE => Who::Inside,
            None => Who::User(name.to_owned()),
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Who::User(name) => f.write_str(name),
            Who::Invited(id) => write!(f, "{}{id}", Self::INVITED),
            Who::Inside => f.write_str(Self::INSIDE),
            Who::Wake(peer) => write!(f, "a connection from {peer}"),
            Who::Pass => f.write_str("the pass"),
            Who::Server => f.write_str("Spindle itself"),
        }
    }
}

/// By what somebody was known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// A name and a password.
    Password,
    /// A token, by its id.
    Token(String),
    /// A session of a browser, by its id.
    Session(String),
    /// An invitation to one sandbox, by its id.
    Invitation(String),
    /// None: Spindle itself, or somebody whom it knows by where they are.
    None,
}

impl Credential {
    /// The word for its kind.
    pub fn word(&self) -> &'static str {
        match self {
            Credential::Password => "password",
            Credential::Token(_) => "token",
            Credential::Session(_) => "session",
            Credential::Invitation(_) => "invitation",
            Credential::None => "none",
        }
    }
}

impl fmt::Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Credential::Token(id) | Credential::Session(id) | Credential::Invitation(id) => {
                write!(f, "{} {id}", self.word())
            }
            Credential::Password | Credential::None => f.write_str(self.word()),
        }
    }
}

/// What somebody may do, as [`may`](super::rights::may) reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rights {
    /// What they are.
    pub role: Role,
    /// The namespaces that list them. An admin needs none.
    pub namespaces: BTreeSet<Namespace>,
    /// What their credential is for.
    pub scopes: BTreeSet<Scope>,
    /// The one sandbox that an invitation is for.
    pub only: Option<SandboxId>,
    /// The namespaces whose assistants may enter their learners' sandboxes.
    pub enters: BTreeSet<Namespace>,
}

impl Rights {
    /// Everything.
    pub fn all() -> Self {
        let (namespaces, enters) = (BTreeSet::new(), BTreeSet::new());
        Self { role: Role::Admin, namespaces, scopes: Scope::ALL.into(), only: None, enters }
    }

    /// What somebody of `role` may do in `namespaces`.
    pub fn of(role: Role, namespaces: BTreeSet<Namespace>) -> Self {
        Self { role, namespaces, ..Self::all() }
    }

    /// Whether the credential is for `scope`.
    pub fn has(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope) || (scope == Scope::Read && !self.scopes.is_empty())
    }

    /// What is left of them for a token with `scopes`, in `namespaces` if it names some. Nobody does more with a token
    /// than without.
    #[must_use]
    pub fn narrowed(mut self, scopes: &BTreeSet<Scope>, namespaces: &BTreeSet<Namespace>) -> Self {
        self.scopes = self.scopes.intersection(scopes).copied().collect();
        if !namespaces.is_empty() {
            // An admin of some courses is their instructor.
            let all = self.role == Role::Admin;
            self.namespaces.extend(namespaces.iter().filter(|_| all).cloned());
            self.namespaces.retain(|mine| namespaces.contains(mine));
            self.role = self.role.min(Role::Instructor);
        }
        self
    }
}

/// Who asks for an action, by which credential, from where, and with which rights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// Who.
    pub who: Who,
    /// By what they are known.
    pub credential: Credential,
    /// From which address.
    pub from: Option<IpAddr>,
    /// The id of the request by which they ask.
    pub request: Option<String>,
    /// What they may do.
    pub rights: Rights,
}

impl Actor {
    fn without_credential(who: Who) -> Self {
        Self { who, credential: Credential::None, from: None, request: None, rights: Rights::all() }
    }

    /// Somebody who is logged in inside the sandbox.
    pub fn inside(from: Option<IpAddr>) -> Self {
        Self { from, ..Self::without_credential(Who::Inside) }
    }

    /// Somebody who connects from `peer` to a sandbox that sleeps.
    pub fn wake(peer: SocketAddr) -> Self {
        Self { from: Some(peer.ip()), ..Self::without_credential(Who::Wake(peer)) }
    }

    /// The pass, without a request.
    pub fn pass() -> Self {
        Self::without_credential(Who::Pass)
    }

    /// The server as it starts.
    pub fn server() -> Self {
        Self::without_credential(Who::Server)
    }

    /// An admin of that name, with a password.
    pub fn admin(name: &str) -> Self {
        Self { credential: Credential::Password, ..Self::without_credential(Who::User(name.to_owned())) }
    }

    /// Whether they may know that there is this namespace.
    pub fn may_know(&self, namespace: &Namespace) -> bool {
        self.rights.role == Role::Admin || self.rights.namespaces.contains(namespace)
    }

    /// Whether a sandbox of `ownership` is the actor's own: as its owner, or by an invitation to it.
    pub fn owns(&self, ownership: &Ownership) -> bool {
        match (&self.who, &ownership.owner) {
            (Who::Invited(_), _) => true,
            (Who::User(name), Some(owner)) => owner.as_str() == name,
            _ => false,
        }
    }

    /// Whether it is a person who asks through the API.
    pub fn is_user(&self) -> bool {
        matches!(self.who, Who::User(_) | Who::Invited(_))
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.who.fmt(f)
    }
}

#[cfg(test)]
mod tests;
