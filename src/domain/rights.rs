//! Rights: who may do what. Every decision about a right is made here; `SECURITY.md` has the table.

use std::collections::BTreeSet;

use super::{
    names::SandboxId,
    people::{Actor, Credential, Namespace, Ownership, Who},
    role::{Role, Scope},
};

/// What somebody wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// See a sandbox, its activity, and that it exists.
    See,
    /// Create a sandbox.
    Create,
    /// Start a sandbox.
    Start,
    /// Stop a sandbox.
    Stop,
    /// Keep a sandbox a while longer.
    Extend,
    /// Change when a sandbox is stopped and what wakes it.
    Change,
    /// Use what only its learner should: the secret of its app.
    Enter,
    /// Say in which namespace a sandbox is, and whose.
    Assign,
    /// Invite somebody to a sandbox, see and revoke its invitations.
    Invite,
    /// Delete a sandbox.
    Delete,
    /// Have the engine look at every container before an answer.
    Audit,
    /// See images.
    SeeImages,
    /// Pull an image, and end a pull.
    Pull,
    /// Remove an image.
    RemoveImage,
    /// See users.
    SeeUsers,
    /// Make, change and remove a user.
    ManageUser,
    /// See namespaces that list the actor.
    SeeNamespaces,
    /// Make, change and remove a namespace.
    ManageNamespace,
    /// Make, see and revoke tokens and sessions of one's own, and change one's own password.
    OwnCredentials,
    /// See and revoke the tokens and sessions of others.
    OthersCredentials,
    /// See what was done.
    SeeActions,
    /// See the figures of the whole server.
    Measure,
    /// Stop a sandbox and start it again.
    Restart,
    /// Make a sandbox anew, without its files.
    Reset,
    /// Write on the terminals inside.
    Message,
    /// Run a program in a sandbox, and type in a terminal there.
    Exec,
    /// Read what the programs in a sandbox write, and see which run.
    Logs,
    /// Take files out of a sandbox.
    GetFiles,
    /// Put files into a sandbox.
    PutFiles,
    /// See what a sandbox is made from and what the engine has made of that.
    SeeConfiguration,
}

impl Verb {
    /// All of them, in their order.
    pub const ALL: [Self; 30] = [
        Self::See,
        Self::Create,
        Self::Start,
        Self::Stop,
        Self::Extend,
        Self::Change,
        Self::Enter,
        Self::Assign,
        Self::Invite,
        Self::Delete,
        Self::Audit,
        Self::SeeImages,
        Self::Pull,
        Self::RemoveImage,
        Self::SeeUsers,
        Self::ManageUser,
        Self::SeeNamespaces,
        Self::ManageNamespace,
        Self::OwnCredentials,
        Self::OthersCredentials,
        Self::SeeActions,
        Self::Measure,
        Self::Restart,
        Self::Reset,
        Self::Message,
        Self::Exec,
        Self::Logs,
        Self::GetFiles,
        Self::PutFiles,
        Self::SeeConfiguration,
    ];

    /// Whether it changes something, so that it is an action.
    pub fn is_change(self) -> bool {
        self.scope() != Scope::Read
    }

    /// The word for it in records.
    pub fn word(self) -> &'static str {
        match self {
            Verb::See => "see",
            Verb::Create => "create",
            Verb::Start => "start",
            Verb::Stop => "stop",
            Verb::Extend => "extend",
            Verb::Change => "change",
            Verb::Enter => "enter",
            Verb::Assign => "assign",
            Verb::Invite => "invite",
            Verb::Delete => "delete",
            Verb::Audit => "audit",
            Verb::SeeImages => "see_images",
            Verb::Pull => "pull",
            Verb::RemoveImage => "remove_image",
            Verb::SeeUsers => "see_users",
            Verb::ManageUser => "manage_user",
            Verb::SeeNamespaces => "see_namespaces",
            Verb::ManageNamespace => "manage_namespace",
            Verb::OwnCredentials => "own_credentials",
            Verb::OthersCredentials => "others_credentials",
            Verb::SeeActions => "see_actions",
            Verb::Measure => "measure",
            Verb::Restart => "restart",
            Verb::Reset => "reset",
            Verb::Message => "message",
            Verb::Exec => "exec",
            Verb::Logs => "logs",
            Verb::GetFiles => "get_files",
            Verb::PutFiles => "put_files",
            Verb::SeeConfiguration => "see_configuration",
        }
    }

    /// The scope that a token needs for it.
    pub fn scope(self) -> Scope {
        match self {
            Verb::See
            | Verb::SeeImages
            | Verb::SeeUsers
            | Verb::SeeNamespaces
            | Verb::SeeActions
            | Verb::Audit
            | Verb::Measure
            | Verb::Logs
            | Verb::SeeConfiguration => Scope::Read,
            Verb::Start
            | Verb::Stop
            | Verb::Restart
            | Verb::Extend
            | Verb::Message
            | Verb::Enter
            | Verb::Exec
            | Verb::GetFiles
            | Verb::PutFiles
            | Verb::Change
            | Verb::Invite => Scope::Operate,
            Verb::Create | Verb::Reset | Verb::Delete | Verb::Pull => Scope::Create,
            Verb::Assign
            | Verb::RemoveImage
            | Verb::ManageUser
            | Verb::ManageNamespace
            | Verb::OwnCredentials
            | Verb::OthersCredentials => Scope::Admin,
        }
    }

    /// The least role that may do it, where it may do anything.
    pub fn least(self) -> Role {
        match self {
            Verb::See
            | Verb::Start
            | Verb::Stop
            | Verb::Restart
            | Verb::Extend
            | Verb::Enter
            | Verb::Exec
            | Verb::Logs
            | Verb::GetFiles
            | Verb::PutFiles
            | Verb::SeeConfiguration
            | Verb::OwnCredentials => Role::Learner,
            Verb::SeeImages | Verb::Audit | Verb::SeeNamespaces | Verb::SeeActions | Verb::Measure | Verb::Message => {
                Role::Assistant
            }
            Verb::Create
            | Verb::Change
            | Verb::Assign
            | Verb::Invite
            | Verb::Reset
            | Verb::Delete
            | Verb::Pull
            | Verb::SeeUsers
            | Verb::ManageUser => Role::Instructor,
            Verb::RemoveImage | Verb::ManageNamespace | Verb::OthersCredentials => Role::Admin,
        }
    }
}

/// To what somebody wants to do it.
#[derive(Debug, Clone, Copy)]
pub enum Object<'a> {
    /// A sandbox.
    Sandbox(&'a SandboxId, &'a Ownership),
    /// A namespace, and what does not exist in it yet.
    Namespace(&'a Namespace),
    /// A user who is, or shall be, of that role in these namespaces.
    User(Role, &'a BTreeSet<Namespace>),
    /// The server: what belongs to no namespace.
    Server,
}

/// Whether somebody may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// They may.
    Yes,
    /// They may not, and are told so.
    No,
    /// They may not even know that the object exists.
    Hidden,
}

/// Whether `actor` may do `verb` to `object`.
pub fn may(actor: &Actor, verb: Verb, object: Object<'_>) -> Answer {
    if !sees(actor, object) {
        return Answer::Hidden;
    }
    let rights = &actor.rights;
    if rights.has(verb.scope()) && rights.role >= verb.least() && fits(actor, verb, object) {
        Answer::Yes
    } else {
        Answer::No
    }
}

/// Whether the actor may know that the object exists.
fn sees(actor: &Actor, object: Object<'_>) -> bool {
    let rights = &actor.rights;
    if rights.role == Role::Admin {
        return true;
    }
    let lists = |namespace| rights.namespaces.contains(namespace);
    match object {
        Object::Sandbox(id, ownership) => match &rights.only {
            Some(only) => only == id,
            None if rights.role == Role::Learner => lists(&ownership.namespace) && is_own(actor, ownership),
            None => lists(&ownership.namespace),
        },
        Object::Namespace(namespace) => rights.only.is_none() && lists(namespace),
        Object::User(_, namespaces) => namespaces.iter().any(lists),
        Object::Server => true,
    }
}

fn is_own(actor: &Actor, ownership: &Ownership) -> bool {
    match (&actor.who, &ownership.owner) {
        (Who::User(name), Some(owner)) => owner.as_str() == name,
        _ => false,
    }
}

/// Whether what is particular to the verb allows it to somebody of a sufficient role.
fn fits(actor: &Actor, verb: Verb, object: Object<'_>) -> bool {
    match (verb, object) {
        // What a stolen token makes stays when it is revoked: let that be learners.
        (Verb::ManageUser, Object::User(role, _))
            if matches!(actor.credential, Credential::Token(_)) && role > Role::Learner =>
        {
            false
        }
        // Whoever sets a learner's password can act as the learner: in other namespaces too.
        (Verb::ManageUser, Object::User(role, namespaces)) if actor.rights.role < Role::Admin => {
            role == Role::Learner && namespaces.is_subset(&actor.rights.namespaces)
        }
        // Assistants look after learners, and do not act as them, unless their namespace says so.
        (
            Verb::Enter | Verb::Exec | Verb::GetFiles | Verb::PutFiles | Verb::SeeConfiguration,
            Object::Sandbox(_, ownership),
        ) if actor.rights.role == Role::Assistant => {
            is_own(actor, ownership) || actor.rights.enters.contains(&ownership.namespace)
        }
        // How a course makes its sandboxes is none of a guest's business.
        (Verb::SeeConfiguration, _) if actor.rights.only.is_some() => false,
        // A token that is stolen must not outlive its revocation in others.
        (Verb::OwnCredentials, _) => {
            matches!(actor.who, Who::User(_))
                && matches!(actor.credential, Credential::Password | Credential::Session(_))
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests;
