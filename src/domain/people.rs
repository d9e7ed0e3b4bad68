//! People: who asks for something to be done.

use std::{fmt, net::SocketAddr};

/// Who asks for an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// A user of the API, by name.
    User(String),
    /// Somebody who is logged in inside the sandbox.
    Inside,
    /// Somebody who connects to a sandbox that sleeps.
    Wake(SocketAddr),
    /// The pass, without a request.
    Pass,
}

impl Actor {
    /// The name of [`Actor::Inside`]. No user has it.
    pub const INSIDE: &str = "inside";

    /// The actor that records call `name`.
    pub fn named(name: &str) -> Self {
        if name == Self::INSIDE { Actor::Inside } else { Actor::User(name.to_owned()) }
    }

    /// Whether it is a person who asks through the API.
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
