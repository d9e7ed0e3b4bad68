//! Users: who may use the API, besides the configured admin.

use std::collections::BTreeSet;

use super::{
    Asked,
    rights::{forbidden, on_server},
};
use crate::{
    app::{Error, Result, actions::Acting, error::no_member, identity::password},
    domain::{
        Act, ActedOn, Actor, Answer, Invalid, Namespace, Object, ObjectKind, Role, User, UserName, Verb, Who, may,
    },
};

/// The password that somebody wants for a user.
#[derive(Clone)]
pub enum NewPassword {
    /// This one.
    This(String),
    /// One that Spindle makes, told once.
    Generated,
    /// None: only tokens let the user in.
    None,
}

/// What a caller wants a user to be.
#[derive(Clone)]
pub struct NewUser {
    /// The name.
    pub name: UserName,
    /// What the user is to the server.
    pub role: Role,
    /// The namespaces that list the user.
    pub namespaces: BTreeSet<Namespace>,
    /// The password.
    pub password: NewPassword,
    /// Public keys for the user's own sandboxes, one per line.
    pub ssh_key: Option<String>,
}

/// What a caller wants to be different about a user; `None`: nothing.
#[derive(Default)]
pub struct UserChange {
    /// What the user is to the server.
    pub role: Option<Role>,
    /// The namespaces that list the user.
    pub namespaces: Option<BTreeSet<Namespace>>,
    /// The password.
    pub password: Option<NewPassword>,
    /// Public keys; `Some(None)`: none any more.
    pub ssh_key: Option<Option<String>>,
}

impl NewUser {
    /// The names of what the caller says.
    fn names(&self) -> Vec<&'static str> {
        let password = !matches!(self.password, NewPassword::None);
        let said = [
            ("name", true),
            ("role", true),
            ("namespaces", !self.namespaces.is_empty()),
            ("password", password),
            ("ssh_key", self.ssh_key.is_some()),
        ];
        said.into_iter().filter_map(|(name, is_said)| is_said.then_some(name)).collect()
    }
}

impl UserChange {
    /// The names of what is changed.
    fn names(&self) -> Vec<&'static str> {
        let said = [
            ("role", self.role.is_some()),
            ("namespaces", self.namespaces.is_some()),
            ("password", self.password.is_some()),
            ("ssh_key", self.ssh_key.is_some()),
        ];
        said.into_iter().filter_map(|(name, is_said)| is_said.then_some(name)).collect()
    }
}

/// A user, and the password that was made, which is not known to anybody else.
pub type WithPassword = (User, Option<String>);

impl Asked {
    /// The users that `by` may see.
    ///
    /// # Errors
    /// [`Error::Forbidden`].
    pub async fn users(&self, by: &Actor) -> Result<Vec<User>> {
        on_server(by, Verb::SeeUsers)?;
        let mut users = self.records.store.users().await?;
        users.retain(|user| may(by, Verb::SeeUsers, as_object(user)) == Answer::Yes);
        Ok(users)
    }

    /// One user.
    ///
    /// # Errors
    /// [`Error::NoUser`] if there is none of that name that `by` may see; [`Error::Forbidden`].
    pub async fn user(&self, by: &Actor, name: &str) -> Result<User> {
        self.user_for(by, Verb::SeeUsers, name).await
    }

    async fn user_for(&self, by: &Actor, verb: Verb, name: &str) -> Result<User> {
        on_server(by, verb)?;
        let none = || Error::NoUser(name.chars().take(80).collect());
        if self.identity.is_configured(name) && by.rights.role == Role::Admin {
            let what = "is the configured admin, whom the settings SPINDLE_ADMIN_USER and SPINDLE_ADMIN_PASSWORD make";
            return Err(Error::Forbidden(format!("{name} {what}")));
        }
        let user = self.records.store.user(name).await?.ok_or_else(none)?;
        match may(by, verb, as_object(&user)) {
            Answer::Yes => Ok(user),
            Answer::No if by.rights.role == Role::Instructor && user.role > Role::Learner => {
                Err(Error::Forbidden(format!("{name} is no learner; an admin does this")))
            }
            Answer::No if by.rights.role == Role::Instructor => {
                Err(Error::Forbidden(format!("{name} is in another course as well; an admin does this")))
            }
            Answer::No => Err(forbidden(by, verb)),
            Answer::Hidden => Err(none()),
        }
    }

    /// # Errors
    /// [`Error::Forbidden`] if `by` may make no users at all.
    pub fn may_manage_users(&self, by: &Actor) -> Result<()> {
        on_server(by, Verb::ManageUser)
    }

    /// Makes a user.
    ///
    /// # Errors
    /// [`Error::Forbidden`], [`Error::NoNamespace`], [`Error::Taken`].
    pub async fn make_user(&self, by: &Actor, wish: NewUser) -> Result<WithPassword> {
        let mut acting = self.actions.of(by, Act::MakeUser, &wish.name).changing(wish.names());
        let made = self.try_make_user(by, wish, &mut acting).await;
        acting.end(made)
    }

    async fn try_make_user(&self, by: &Actor, wish: NewUser, acting: &mut Acting) -> Result<WithPassword> {
        may_be(by, wish.role, &wish.namespaces)?;
        let (hash, told) = self.hashed(wish.password).await?;
        let user = User {
            name: wish.name,
            role: wish.role,
            namespaces: wish.namespaces,
            enters: BTreeSet::new(),
            password: hash,
            ssh_key: wish.ssh_key,
            created_at: self.clock.now(),
        };
        acting.begin_within(user.namespaces.first());
        if self.identity.is_configured(user.name.as_str()) || !self.records.store.insert_user(user.clone()).await? {
            return Err(self.user_taken(by, &user.name).await);
        }
        tracing::info!(user = %user.name, role = user.role.word(), %by, "user made");
        Ok((user, told))
    }

    /// The error about a name that somebody has, and where, as far as `by` may know.
    async fn user_taken(&self, by: &Actor, name: &UserName) -> Error {
        Error::Taken(match self.user(by, name.as_str()).await {
            Ok(user) => {
                let names = user.namespaces.iter().filter(|name| by.may_know(name));
                let names: Vec<_> = names.map(Namespace::as_str).collect();
                format!("{name} is there already, a user of the role {} in {:?}", user.role.word(), names.join(", "))
            }
            Err(_) => format!("{name} is the name of a user in another course; an admin adds that user to yours"),
        })
    }

    /// Changes a user.
    ///
    /// # Errors
    /// [`Error::NoUser`], [`Error::Forbidden`], [`Error::NoNamespace`].
    pub async fn change_user(&self, by: &Actor, name: &str, change: UserChange) -> Result<WithPassword> {
        let on = ActedOn::named(ObjectKind::User, name);
        let mut acting = self.actions.of(by, Act::ChangeUser, on).changing(change.names());
        let changed = self.try_change_user(by, name, change, &mut acting).await;
        acting.end(changed)
    }

    async fn try_change_user(
        &self,
        by: &Actor,
        name: &str,
        change: UserChange,
        acting: &mut Acting,
    ) -> Result<WithPassword> {
        let (hash, told) = match change.password {
            Some(wish) => {
                self.user_for(by, Verb::ManageUser, name).await?;
                let (hash, told) = self.hashed(wish).await?;
                (Some(hash), told)
            }
            None => (None, None),
        };
        loop {
            let seen = self.user_for(by, Verb::ManageUser, name).await?;
            let mut user = seen.clone();
            user.role = change.role.unwrap_or(user.role);
            user.namespaces = change.namespaces.clone().unwrap_or(user.namespaces);
            // Whoever may more than before gets a new password and key, or none: somebody who may less than that now has
            // perhaps set the old ones.
            if user.role > seen.role || !user.namespaces.is_subset(&seen.namespaces) {
                (user.password, user.ssh_key) = (None, None);
            }
            user.password = hash.clone().unwrap_or(user.password);
            user.ssh_key = change.ssh_key.clone().unwrap_or(user.ssh_key);
            may_be(by, user.role, &user.namespaces)?;
            acting.begin_within(user.namespaces.first());
            if self.records.store.change_user(seen, user.clone()).await? {
                tracing::info!(user = %user.name, role = user.role.word(), %by, "user changed");
                return Ok((user, told));
            }
        }
    }

    /// Changes the password of whoever asks and knows the `current` one: a session alone may be stolen.
    ///
    /// # Errors
    /// [`Error::Forbidden`] to whoever has none that could be changed here; [`Error::Unauthorized`] if `current` is
    /// wrong, or was changed meanwhile; [`Error::TooManyAttempts`].
    pub async fn change_own_password(&self, by: &Actor, current: &str, new: String) -> Result<()> {
        let on = ActedOn::named(ObjectKind::User, by.to_string());
        let mut acting = self.actions.of(by, Act::ChangeUser, on).changing(["password"]);
        let changed = self.try_change_own_password(by, current, new, &mut acting).await;
        acting.end(changed)
    }

    async fn try_change_own_password(&self, by: &Actor, current: &str, new: String, acting: &mut Acting) -> Result<()> {
        on_server(by, Verb::OwnCredentials)?;
        let Who::User(name) = &by.who else { return Err(forbidden(by, Verb::OwnCredentials)) };
        if self.identity.is_configured(name) {
            let how =
                "this password is part of the configuration: SPINDLE_ADMIN_PASSWORD or SPINDLE_ADMIN_PASSWORD_HASH";
            return Err(Error::Forbidden(how.into()));
        }
        let (_, known) = self.identity.verified_by(name, current, by.from).await?;
        let (hash, _) = self.hashed(NewPassword::This(new)).await?;
        acting.begin();
        loop {
            let seen = self.records.store.user(name).await?.ok_or(Error::Unauthorized)?;
            // Whoever sets another password meanwhile wins.
            if seen.password.as_deref() != Some(known.known()) {
                return Err(Error::Unauthorized);
            }
            let user = User { password: hash.clone(), ..seen.clone() };
            if self.records.store.change_user(seen, user).await? {
                tracing::info!(user = name, "password changed");
                return Ok(());
            }
        }
    }

    /// Removes a user with all tokens, sessions and invitations that are the user's.
    ///
    /// # Errors
    /// [`Error::NoUser`], [`Error::Forbidden`]; [`Error::InUse`] while the user owns sandboxes: another of that name
    /// would get them.
    pub async fn remove_user(&self, by: &Actor, name: &str) -> Result<()> {
        let mut acting = self.actions.of(by, Act::RemoveUser, ActedOn::named(ObjectKind::User, name));
        let removed = self.try_remove_user(by, name, &mut acting).await;
        acting.end(removed)
    }

    async fn try_remove_user(&self, by: &Actor, name: &str, acting: &mut Acting) -> Result<()> {
        let user = self.user_for(by, Verb::ManageUser, name).await?;
        acting.begin_within(user.namespaces.first());
        match self.records.store.remove_user(&user).await? {
            None => Err(Error::NoUser(user.name.to_string())),
            Some(0) => {
                tracing::info!(user = %user.name, %by, "user removed");
                Ok(())
            }
            Some(owns) => Err(Error::InUse(format!(
                "{} owns {owns} container{}; delete them, or give them to somebody else, first",
                user.name,
                if owns == 1 { "" } else { "s" }
            ))),
        }
    }

    /// The hash of a password, and the password if it was made here.
    async fn hashed(&self, wish: NewPassword) -> Result<(Option<String>, Option<String>)> {
        let no_random = |e: getrandom::Error| Error::NoRandom(e.to_string());
        let (password, told) = match wish {
            NewPassword::None => return Ok((None, None)),
            NewPassword::This(password) => (password, None),
            NewPassword::Generated => {
                let made = password::generated().map_err(no_random)?;
                (made.clone(), Some(made))
            }
        };
        password::check(&password)?;
        Ok((Some(self.identity.hash(password).await.map_err(no_random)?), told))
    }

    /// # Errors
    /// [`Error::Invalid`] if `owner` is nobody whom `namespace` lists.
    pub(super) async fn belongs(&self, owner: &UserName, namespace: &Namespace) -> Result<User> {
        let user = self.records.store.user(owner.as_str()).await?;
        user.filter(|user| user.namespaces.contains(namespace)).ok_or_else(|| no_member(owner, namespace))
    }
}

fn as_object(user: &User) -> Object<'_> {
    Object::User(user.role, &user.namespaces)
}

/// # Errors
/// [`Error::Forbidden`] if `by` may make nobody what is wished for; [`Error::NoNamespace`] if `by` may not know one.
fn may_be(by: &Actor, role: Role, namespaces: &BTreeSet<Namespace>) -> Result<()> {
    on_server(by, Verb::ManageUser)?;
    if by.rights.role < Role::Admin && role > Role::Learner {
        return Err(Error::Forbidden(format!(
            "{by} may make learners; an admin makes a user of the role {}",
            role.word()
        )));
    }
    for namespace in namespaces {
        if may(by, Verb::ManageUser, Object::Namespace(namespace)) == Answer::Hidden {
            return Err(Error::NoNamespace(namespace.to_string()));
        }
    }
    match may(by, Verb::ManageUser, Object::User(role, namespaces)) {
        Answer::Yes => Ok(()),
        Answer::Hidden => {
            let allowed = "name at least one of your own; an admin makes a user without any, and DELETE removes a user";
            Err(Invalid::new("namespaces", "", allowed).into())
        }
        Answer::No => Err(forbidden(by, Verb::ManageUser)),
    }
}
