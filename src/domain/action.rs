//! Actions: who did what to what, when, and how it ended.

use std::{collections::BTreeSet, net::IpAddr};

use jiff::Timestamp;

use super::{
    account::Grant,
    act::{Act, ActionState, ObjectKind},
    names::{ContainerId, ImageRef},
    people::{Namespace, UserName, Who},
    sandbox::Sandbox,
};

/// What was acted on, as it was called then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActedOn {
    /// What sort of thing it is.
    pub kind: ObjectKind,
    /// What never changes: a sandbox's id, an image's name with its tag, a user's name.
    pub id: String,
    /// Its name, if that is another text.
    pub name: Option<String>,
    /// The engine's id of a sandbox.
    pub container: Option<ContainerId>,
    /// The namespace that it is in; whoever works there sees the action.
    pub namespace: Option<Namespace>,
}

impl ActedOn {
    /// A thing in no namespace whose id is its name.
    pub fn named(kind: ObjectKind, id: impl Into<String>) -> Self {
        Self { kind, id: id.into(), name: None, container: None, namespace: None }
    }

    /// The server itself.
    pub fn server() -> Self {
        Self::named(ObjectKind::Server, "spindle")
    }

    /// The same, in a namespace.
    #[must_use]
    pub fn within(self, namespace: &Namespace) -> Self {
        Self { namespace: Some(namespace.clone()), ..self }
    }
}

impl From<&Sandbox> for ActedOn {
    fn from(sandbox: &Sandbox) -> Self {
        Self {
            name: Some(sandbox.name.to_string()),
            container: sandbox.container.clone(),
            ..Self::named(ObjectKind::Sandbox, sandbox.id.as_str()).within(&sandbox.ownership.namespace)
        }
    }
}

impl From<&UserName> for ActedOn {
    fn from(user: &UserName) -> Self {
        Self::named(ObjectKind::User, user.as_str())
    }
}

impl From<&Namespace> for ActedOn {
    fn from(namespace: &Namespace) -> Self {
        Self::named(ObjectKind::Namespace, namespace.as_str()).within(namespace)
    }
}

impl From<&Grant> for ActedOn {
    fn from(grant: &Grant) -> Self {
        Self {
            name: Some(grant.name.clone()).filter(|name| !name.is_empty()),
            ..Self::named(grant.kind.into(), &*grant.id)
        }
    }
}

impl From<&ImageRef> for ActedOn {
    fn from(image: &ImageRef) -> Self {
        Self::named(ObjectKind::Image, image.tagged())
    }
}

/// Why an action failed or was cancelled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// For programs.
    pub code: String,
    /// For people.
    pub text: String,
}

impl Failure {
    /// The longest text that is kept, in characters.
    const LONGEST: usize = 1_000;

    /// A failure; a text that is too long is cut.
    pub fn new(code: &str, text: &str) -> Self {
        Self { code: code.to_owned(), text: text.chars().take(Self::LONGEST).collect() }
    }
}

/// An action. Its fields are the columns of the record; it holds names, and never a value that may be secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// Its id.
    pub id: String,
    /// What was done: [`Act::word`].
    pub verb: String,
    /// Who did it: [`actor_word`].
    pub actor: String,
    /// By what they were known.
    pub credential: String,
    /// From which address.
    pub from: Option<IpAddr>,
    /// The id of the request by which they asked.
    pub request: Option<String>,
    /// To what.
    pub on: ActedOn,
    /// The names of what was set or changed.
    pub changed: Vec<String>,
    /// When it began.
    pub started_at: Timestamp,
    /// How far it is.
    pub state: ActionState,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Why it failed or was cancelled.
    pub failure: Option<Failure>,
}

/// Who acted, in one text. A connection has its address beside it, and its port is nobody's name.
pub fn actor_word(who: &Who) -> String {
    match who {
        Who::Wake(_) => "a connection".into(),
        who => who.to_string(),
    }
}

/// Which actions somebody wants to see. What is `None` does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ActionFilter {
    /// An object's id or name, or 12 and more of the first digits of a container's id.
    pub object: Option<String>,
    /// The object's kind.
    pub kind: Option<ObjectKind>,
    /// Who acted.
    pub actor: Option<String>,
    /// What was done.
    pub act: Option<Act>,
    /// How far it is.
    pub state: Option<ActionState>,
    /// No action that began earlier.
    pub since: Option<Timestamp>,
    /// Only what this reader may see.
    pub reader: Option<ActionReader>,
}

/// Somebody who does not see everything: only what is in their namespaces, and of what is in none their own actions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionReader {
    /// Their name as an actor.
    pub actor: String,
    /// Their namespaces.
    pub namespaces: BTreeSet<Namespace>,
}

impl ActionReader {
    /// Whether they may see `action`.
    pub fn sees(&self, action: &Action) -> bool {
        match &action.on.namespace {
            Some(namespace) => self.namespaces.contains(namespace),
            None => action.actor == self.actor,
        }
    }
}
