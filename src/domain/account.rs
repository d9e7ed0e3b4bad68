//! Accounts: what is recorded about users, namespaces and the secrets that were given out.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{
    limits::Memory,
    names::SandboxId,
    people::{Namespace, UserName},
    role::{Role, Scope},
};

/// A password as somebody's account has it.
#[derive(Clone)]
pub enum Password {
    /// As it is: the configured admin's alone.
    Plain(String),
    /// As a PHC string.
    Hash(String),
}

impl Password {
    /// What is recorded: the password or its hash.
    pub fn known(&self) -> &str {
        let (Self::Plain(known) | Self::Hash(known)) = self;
        known
    }

    /// The password, if it is recorded as it is.
    pub fn plain(&self) -> Option<&str> {
        if let Self::Plain(password) = self { Some(password) } else { None }
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(..)")
    }
}

/// A user of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: UserName,
    /// What the user is to the server.
    pub role: Role,
    /// The namespaces that list the user.
    pub namespaces: BTreeSet<Namespace>,
    /// Those of them that let their assistants in ([`Course::assistant_exec`]).
    pub enters: BTreeSet<Namespace>,
    /// The hash of the password, as a PHC string; without one only tokens let the user in.
    pub password: Option<String>,
    /// The public keys for sandboxes of which the user is the owner, one per line.
    pub ssh_key: Option<String>,
    /// When the user was made.
    pub created_at: Timestamp,
}

/// The most that may be there; `None`: no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quota {
    /// Sandboxes, running or not.
    pub containers: Option<u32>,
    /// Sandboxes that run or are being started.
    pub running: Option<u32>,
    /// The memory limits of those, in sum.
    pub memory: Option<Memory>,
}

/// How much of a quota is used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Sandboxes, running or not.
    pub containers: u32,
    /// Sandboxes that run or are being started.
    pub running: u32,
    /// The memory limits of those, in sum, in bytes.
    pub memory: u64,
}

impl Usage {
    /// Adds a sandbox.
    pub fn add(&mut self, memory: Memory, runs: bool) {
        self.containers += 1;
        if runs {
            self.running += 1;
            self.memory += memory.bytes();
        }
    }

    /// What is used up if `more` is added, as the end of a sentence. What nothing is added to may be above the quota:
    /// the quota may have been lowered.
    pub fn beyond(&self, quota: &Quota, more: &Usage) -> Option<String> {
        let no_room = |used, more, most: Option<u32>| most.filter(|most| more > 0 && used + more > *most);
        if let Some(most) = no_room(self.containers, more.containers, quota.containers) {
            return Some(format!("it has {} of {most} containers", self.containers));
        }
        if let Some(most) = no_room(self.running, more.running, quota.running) {
            return Some(format!("{} of {most} containers run", self.running));
        }
        let most = quota.memory.filter(|most| more.memory > 0 && self.memory + more.memory > most.bytes())?;
        Some(format!(
            "its running containers have {}m of {}m memory, and this one takes {}m",
            self.memory >> 20,
            most.bytes() >> 20,
            more.memory >> 20
        ))
    }
}

/// What is recorded about a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Course {
    /// Its name.
    pub name: Namespace,
    /// Its name for people.
    pub title: String,
    /// The most that may be in it.
    pub quota: Quota,
    /// The most that each owner may have in it.
    pub owner_quota: Quota,
    /// Whether its assistants may run programs in its learners' sandboxes, and see the secrets of their apps.
    pub assistant_exec: bool,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What a secret that was given out is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A program's, in place of a password.
    Token,
    /// A browser's, after a sign-in.
    Session,
    /// Somebody's without an account, for one sandbox.
    Invitation,
}

impl Kind {
    /// The word for it in the store.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Token => "token",
            Kind::Session => "session",
            Kind::Invitation => "invitation",
        }
    }

    /// Reads [`Kind::word`].
    pub fn parse(word: &str) -> Option<Self> {
        [Kind::Token, Kind::Session, Kind::Invitation].into_iter().find(|kind| kind.word() == word)
    }
}

/// What is recorded about a secret that was given out: all but the secret. Its fields are the columns of its row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Its id.
    pub id: String,
    /// What it is for.
    pub kind: Kind,
    /// Whose it is. Of an invitation: who gave it.
    pub user: String,
    /// The one sandbox that it is for.
    pub sandbox: Option<SandboxId>,
    /// The invitation by which a session began. It ends with that.
    pub parent: Option<String>,
    /// A digest of the secret and of the password at the sign-in: a session ends when the password is changed.
    pub password: Option<Vec<u8>>,
    /// What its owner calls it. Of a session: the program that signed in.
    pub name: String,
    /// What it may be used for.
    pub scopes: BTreeSet<Scope>,
    /// In which namespaces; empty: in all of its owner's.
    pub namespaces: BTreeSet<Namespace>,
    /// When it was given.
    pub created_at: Timestamp,
    /// When it ends; `None`: never by itself.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to the minute.
    pub used_at: Option<Timestamp>,
    /// From which address.
    pub used_from: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_says_what_is_used_up() {
        let mib = |n: u64| Memory::parse(&format!("{n}m")).unwrap();
        let mut used = Usage::default();
        used.add(mib(512), true);
        used.add(mib(512), false);
        assert_eq!(used, Usage { containers: 2, running: 1, memory: 512 << 20 });
        let one = Usage { containers: 1, running: 1, memory: 512 << 20 };
        let start = Usage { containers: 0, ..one };
        let quota = |containers, running, memory: Option<u64>| Quota { containers, running, memory: memory.map(mib) };
        assert_eq!(used.beyond(&Quota::default(), &one), None);
        assert_eq!(used.beyond(&quota(Some(3), Some(2), Some(1024)), &one), None);
        let said = |quota, more| used.beyond(&quota, &more).unwrap_or_default();
        assert_eq!(said(quota(Some(2), None, None), one), "it has 2 of 2 containers");
        assert_eq!(said(quota(Some(1), None, None), start), "", "a start makes none");
        assert_eq!(said(quota(None, Some(1), None), start), "1 of 1 containers run");
        assert!(said(quota(None, None, Some(1023)), start).contains("512m of 1023m"));
        assert_eq!(said(quota(None, Some(1), Some(16)), Usage { containers: 1, ..Usage::default() }), "", "it sleeps");
    }
}
