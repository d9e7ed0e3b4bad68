//! Acts: the words of actions, for what is done, how far it is, and to what sort of thing.

use super::{account::Kind, names::Invalid, nearest, rights::Verb};

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Something to a sandbox or an image.
    Asked(Verb),
    /// A sandbox's lost record was rebuilt.
    Adopt,
    /// The server was started with another configuration.
    Configure,
    /// A user was made.
    MakeUser,
    /// A user was changed.
    ChangeUser,
    /// A user was removed.
    RemoveUser,
    /// A namespace was made.
    MakeNamespace,
    /// A namespace was changed.
    ChangeNamespace,
    /// A namespace was removed.
    RemoveNamespace,
    /// A token was made.
    MakeToken,
    /// A token was changed.
    ChangeToken,
    /// A token, session or invitation was revoked.
    Revoke,
    /// Somebody signed in, or tried to.
    SignIn,
}

impl Act {
    /// All that are no [`Act::Asked`].
    const OTHERS: [Self; 12] = [
        Self::Adopt,
        Self::Configure,
        Self::MakeUser,
        Self::ChangeUser,
        Self::RemoveUser,
        Self::MakeNamespace,
        Self::ChangeNamespace,
        Self::RemoveNamespace,
        Self::MakeToken,
        Self::ChangeToken,
        Self::Revoke,
        Self::SignIn,
    ];

    /// Rights to several of [`Act::OTHERS`], under whose words what is done is recorded.
    const SEVERAL: [Verb; 4] = [Verb::ManageUser, Verb::ManageNamespace, Verb::OwnCredentials, Verb::OthersCredentials];

    /// The word for it in the API and the store.
    pub fn word(self) -> &'static str {
        match self {
            Act::Asked(verb) => verb.word(),
            Act::Adopt => "adopt",
            Act::Configure => "configure",
            Act::MakeUser => "make_user",
            Act::ChangeUser => "change_user",
            Act::RemoveUser => "remove_user",
            Act::MakeNamespace => "make_namespace",
            Act::ChangeNamespace => "change_namespace",
            Act::RemoveNamespace => "remove_namespace",
            Act::MakeToken => "make_token",
            Act::ChangeToken => "change_token",
            Act::Revoke => "revoke",
            Act::SignIn => "sign_in",
        }
    }

    /// Reads [`Act::word`]. What only reads is no action.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let asked = Verb::ALL.into_iter().filter(|verb| verb.is_change() && !Self::SEVERAL.contains(verb));
        let all: Vec<Self> = asked.map(Act::Asked).chain(Self::OTHERS).collect();
        one_of("verb", text, &all, Self::word)
    }
}

impl From<Verb> for Act {
    fn from(verb: Verb) -> Self {
        Act::Asked(verb)
    }
}

/// How far an action is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActionState {
    /// It waits for its turn.
    Pending,
    /// It is under way.
    InProgress,
    /// It was done.
    Success,
    /// It was not done.
    Failed,
    /// Somebody, or what happened meanwhile, ended it.
    Cancelled,
}

impl ActionState {
    const ALL: [Self; 5] = [Self::Pending, Self::InProgress, Self::Success, Self::Failed, Self::Cancelled];

    /// The word for it in the API and the store.
    pub fn word(self) -> &'static str {
        match self {
            ActionState::Pending => "pending",
            ActionState::InProgress => "in_progress",
            ActionState::Success => "success",
            ActionState::Failed => "failed",
            ActionState::Cancelled => "cancelled",
        }
    }

    /// Reads [`ActionState::word`].
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        one_of("state", text, &Self::ALL, Self::word)
    }

    /// Whether nothing comes after it.
    pub fn is_end(self) -> bool {
        matches!(self, ActionState::Success | ActionState::Failed | ActionState::Cancelled)
    }
}

/// What sort of thing was acted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectKind {
    /// A sandbox, which the API calls a container.
    Sandbox,
    /// An image.
    Image,
    /// A user.
    User,
    /// A namespace.
    Namespace,
    /// A token.
    Token,
    /// A session of a browser.
    Session,
    /// An invitation.
    Invitation,
    /// The server.
    Server,
}

impl ObjectKind {
    const ALL: [Self; 8] = [
        Self::Sandbox,
        Self::Image,
        Self::User,
        Self::Namespace,
        Self::Token,
        Self::Session,
        Self::Invitation,
        Self::Server,
    ];

    /// The word for it in the API and the store.
    pub fn word(self) -> &'static str {
        match self {
            ObjectKind::Sandbox => "container",
            ObjectKind::Image => "image",
            ObjectKind::User => "user",
            ObjectKind::Namespace => "namespace",
            ObjectKind::Token => "token",
            ObjectKind::Session => "session",
            ObjectKind::Invitation => "invitation",
            ObjectKind::Server => "server",
        }
    }

    /// Reads [`ObjectKind::word`].
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        one_of("object", text, &Self::ALL, Self::word)
    }
}

impl From<Kind> for ObjectKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Token => ObjectKind::Token,
            Kind::Session => ObjectKind::Session,
            Kind::Invitation => ObjectKind::Invitation,
        }
    }
}

/// Reads one of the words of `all`.
pub(super) fn one_of<T: Copy>(
    field: &'static str,
    text: &str,
    all: &[T],
    word: impl Fn(T) -> &'static str,
) -> Result<T, Invalid> {
    let words: Vec<&str> = all.iter().map(|one| word(*one)).collect();
    let near = nearest(text, words.iter().copied()).map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
    let found = all.iter().copied().find(|one| word(*one) == text);
    found.ok_or_else(|| Invalid::new(field, text, format!("it is one of {}{near}", words.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_something_is_an_act_and_what_reads_is_none() {
        for verb in Verb::ALL.into_iter().filter(|verb| !Act::SEVERAL.contains(verb)) {
            assert_eq!(Act::parse(verb.word()).is_ok(), verb.is_change(), "{verb:?}");
        }
        for act in Act::OTHERS {
            assert_eq!(Act::parse(act.word()), Ok(act));
        }
        let refused = Act::parse("creat").unwrap_err().to_string();
        assert!(refused.contains("did you mean \"create\"?"), "{refused}");
    }

    #[test]
    fn every_word_is_read_as_what_it_means() {
        for state in ActionState::ALL {
            assert_eq!(ActionState::parse(state.word()), Ok(state));
        }
        for kind in ObjectKind::ALL {
            assert_eq!(ObjectKind::parse(kind.word()), Ok(kind));
        }
    }
}
