//! Rights: asks [`may`] before each verb, and says what was refused.

use std::sync::Arc;

use super::Asked;
use crate::{
    app::{Error, Result},
    domain::{ActionReader, Actor, Answer, Credential, Object, Role, Sandbox, Verb, may},
};

impl Asked {
    /// The sandbox that `reference` means to `by`, who may do `verb` to it.
    ///
    /// # Errors
    /// [`Error::NoSandbox`] if there is none that `by` may see; [`Error::Forbidden`], which is recorded of a change.
    pub(super) async fn allowed(&self, by: &Actor, verb: Verb, reference: &str) -> Result<Sandbox> {
        let sandbox = self.records.find(reference, |sandbox| sees(by, sandbox)).await?;
        match may(by, verb, Object::Sandbox(&sandbox.id, &sandbox.ownership)) {
            Answer::Yes => Ok(sandbox),
            Answer::No if verb.is_change() => Err(self.actions.of(by, verb, &sandbox).refused(forbidden(by, verb))),
            Answer::No => Err(forbidden(by, verb)),
            Answer::Hidden => Err(Error::NoSandbox(reference.to_owned())),
        }
    }

    /// Whether `by` may use what only a sandbox's learner should.
    pub fn may_enter(by: &Actor, sandbox: &Sandbox) -> bool {
        may(by, Verb::Enter, Object::Sandbox(&sandbox.id, &sandbox.ownership)) == Answer::Yes
    }

    /// Those of `sandboxes` that `by` may see.
    pub(super) fn seen_by(by: &Actor, mut sandboxes: Vec<Arc<Sandbox>>) -> Vec<Arc<Sandbox>> {
        sandboxes.retain(|sandbox| sees(by, sandbox));
        sandboxes
    }
}

/// Whether `by` may see a sandbox.
pub(super) fn sees(by: &Actor, sandbox: &Sandbox) -> bool {
    may(by, Verb::See, Object::Sandbox(&sandbox.id, &sandbox.ownership)) == Answer::Yes
}

/// As which reader `by` sees actions; `None`: all of them.
pub(super) fn sees_actions(by: &Actor) -> Option<ActionReader> {
    let rights = &by.rights;
    (rights.role < Role::Admin).then(|| ActionReader { actor: by.to_string(), namespaces: rights.namespaces.clone() })
}

/// # Errors
/// [`Error::Forbidden`] if `by` may not do `verb`, which belongs to no namespace.
pub(super) fn on_server(by: &Actor, verb: Verb) -> Result<()> {
    if may(by, verb, Object::Server) == Answer::Yes { Ok(()) } else { Err(forbidden(by, verb)) }
}

/// The refusal, for somebody who may know what they may not do.
pub(super) fn forbidden(by: &Actor, verb: Verb) -> Error {
    let role = by.rights.role.word();
    let least = verb.least().word();
    Error::Forbidden(if verb == Verb::OwnCredentials && matches!(by.credential, Credential::Token(_)) {
        "a token makes and changes no credentials; use your name and password, or a session".into()
    } else if by.rights.role < verb.least() {
        format!("{by} may not do this ({}): it takes the role {least}, and {by} has the role {role}", verb.word())
    } else if !by.rights.has(verb.scope()) {
        format!("this token may not be used for this ({}): it lacks the scope {}", verb.word(), verb.scope().word())
    } else {
        format!("{by} may not do this ({}) here, as {role} by {}", verb.word(), by.credential.word())
    })
}
