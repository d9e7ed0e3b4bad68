//! Roles and scopes: what somebody is to the server, and what a token is for.

use super::{names::Invalid, nearest};

/// What somebody is to the server. A later one may do all that an earlier one may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Uses the sandboxes that are the learner's own.
    Learner,
    /// Looks after the sandboxes of its namespaces.
    Assistant,
    /// Does everything in its namespaces.
    Instructor,
    /// Does everything.
    Admin,
}

impl Role {
    const ALL: [Self; 4] = [Self::Learner, Self::Assistant, Self::Instructor, Self::Admin];

    /// The word for it in the API and the store.
    pub fn word(self) -> &'static str {
        match self {
            Role::Learner => "learner",
            Role::Assistant => "assistant",
            Role::Instructor => "instructor",
            Role::Admin => "admin",
        }
    }

    /// Reads [`Role::word`].
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let allowed = || one_of(text, Self::ALL.map(Self::word));
        Self::ALL.into_iter().find(|role| role.word() == text).ok_or_else(|| Invalid::new("role", text, allowed()))
    }
}

/// What a token may be used for. Each scope includes reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Look.
    Read,
    /// Act on what is there: start, stop, extend, change, invite.
    Operate,
    /// Create and delete sandboxes, and pull images.
    Create,
    /// Users, namespaces, and the removal of images.
    Admin,
}

impl Scope {
    /// All scopes: what a password allows.
    pub const ALL: [Self; 4] = [Self::Read, Self::Operate, Self::Create, Self::Admin];

    /// The word for it in the API and the store.
    pub fn word(self) -> &'static str {
        match self {
            Scope::Read => "read",
            Scope::Operate => "operate",
            Scope::Create => "create",
            Scope::Admin => "admin",
        }
    }

    /// Reads [`Scope::word`].
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let allowed = || one_of(text, Self::ALL.map(Self::word));
        Self::ALL.into_iter().find(|scope| scope.word() == text).ok_or_else(|| Invalid::new("scopes", text, allowed()))
    }
}

fn one_of(text: &str, words: [&str; 4]) -> String {
    let near = nearest(text, words).map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
    format!("it is {}{near}", words.map(|word| format!("{word:?}")).join(" or "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_again_and_a_near_one_is_proposed() {
        for role in Role::ALL {
            assert_eq!(Role::parse(role.word()), Ok(role));
        }
        for scope in Scope::ALL {
            assert_eq!(Scope::parse(scope.word()), Ok(scope));
        }
        let message = Role::parse("instrutor").unwrap_err().to_string();
        assert!(message.ends_with("did you mean \"instructor\"?"), "{message}");
    }
}
