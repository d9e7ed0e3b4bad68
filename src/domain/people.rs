//! People: who acts.

use std::{fmt, net::SocketAddr};

/// Who wants something done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// A user of the API, by name.
    User(String),
    /// Whoever is logged in inside the sandbox.
    Inside,
    /// Whoever connects to a sandbox that sleeps.
    Wake(SocketAddr),
    /// The pass, which nobody asks.
    Pass,
}

impl Actor {
    /// What [`Actor::Inside`] is called. No user is called so.
    pub const INSIDE: &str = "inside";

    /// Who is called `name`, of those whom records name.
    pub fn named(name: &str) -> Self {
        if name == Self::INSIDE { Actor::Inside } else { Actor::User(name.to_owned()) }
    }

    /// Whether a person asks through the API, who knows what they ask for.
    pub fn is_user(&self) -> bool {
        matches!(self, Actor::User(_))
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Actor::User(name) => f.write_str(name),
            Actor::Inside => f.write_str(Self::INSIDE),
            Actor::Wake(peer) => write!(f, "a connection from {peer}"),
            Actor::Pass => f.write_str("the pass"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whom_records_name_is_read_again() {
        for actor in [Actor::User("admin".into()), Actor::Inside] {
            assert_eq!(Actor::named(&actor.to_string()), actor);
        }
    }
}
