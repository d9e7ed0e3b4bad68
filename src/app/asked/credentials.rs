//! Credentials: tokens, sessions and invitations are given, shown and revoked.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use super::{
    Asked,
    rights::{forbidden, on_server},
};
use crate::{
    app::{
        Error, Result,
        actions::Acting,
        identity::{self, Secret},
    },
    domain::{Act, ActedOn, Actor, Credential, Grant, Kind, Namespace, ObjectKind, Scope, User, Verb, Who, time::plus},
    store::Whose,
};

/// How long a session lasts at most.
const SESSION: Duration = Duration::from_hours(7 * 24);

/// How long an invitation lasts, unless its giver says otherwise.
const INVITATION: Duration = Duration::from_hours(14 * 24);

/// What a caller wants a token to be.
pub struct NewToken {
    /// What its owner calls it.
    pub name: String,
    /// What it may be used for.
    pub scopes: BTreeSet<Scope>,
    /// In which namespaces; empty: in all of its owner's.
    pub namespaces: BTreeSet<Namespace>,
    /// How long it lasts; `None`: until it is revoked.
    pub expires_in: Option<Duration>,
}

/// A secret that was just given, and what is recorded of it.
pub type Given = (Grant, String);

/// With what somebody signs in.
pub enum SignIn {
    /// A name and its password.
    Password(String, String),
    /// An invitation.
    Invitation(String),
}

impl Asked {
    /// Gives a secret, if its user is still as `seen`.
    async fn give(
        &self,
        mut grant: Grant,
        seen: Option<User>,
        expires_in: Option<Duration>,
        secret: Secret,
    ) -> Result<Given> {
        grant.expires_at = expires_in.map(|length| plus(grant.created_at, length));
        self.records.store.give(grant.clone(), secret.hash(), seen).await?;
        Ok((grant, secret.reveal()))
    }

    /// The user of that name; `None` if that is the configured admin. Whoever asks must have the rights that `by` had, by
    /// a credential that still holds.
    async fn still(&self, by: &Actor, name: &str) -> Result<Option<User>> {
        let user = if self.identity.is_configured(name) { None } else { self.records.store.user(name).await? };
        // After the look at the user, so that whatever ends the credential later changes the user too.
        if self.identity.again(by).await?.rights != by.rights {
            return Err(Error::Unauthorized);
        }
        if user.is_none() && !self.identity.is_configured(name) { Err(Error::Unauthorized) } else { Ok(user) }
    }

    /// A record of `kind` for `user`, with nothing in it yet.
    fn grant(&self, kind: Kind, user: &str) -> Result<Grant> {
        Ok(Grant {
            id: identity::new_id().map_err(|e| Error::NoRandom(e.to_string()))?,
            kind,
            user: user.to_owned(),
            sandbox: None,
            parent: None,
            password: None,
            name: String::new(),
            scopes: Scope::ALL.into(),
            namespaces: BTreeSet::new(),
            created_at: self.clock.now(),
            expires_at: None,
            used_at: None,
            used_from: None,
        })
    }

    /// Makes a token for whoever asks. The secret is told now, and never again.
    ///
    /// # Errors
    /// [`Error::Forbidden`] to a token; [`Error::NoNamespace`].
    pub async fn make_token(&self, by: &Actor, wish: NewToken) -> Result<Given> {
        let mut acting = self.actions.of(by, Act::MakeToken, ActedOn::named(ObjectKind::Token, &*wish.name));
        let made = self.try_make_token(by, wish, &mut acting).await;
        acting.end(made)
    }

    async fn try_make_token(&self, by: &Actor, wish: NewToken, acting: &mut Acting) -> Result<Given> {
        on_server(by, Verb::OwnCredentials)?;
        let Who::User(user) = &by.who else { return Err(forbidden(by, Verb::OwnCredentials)) };
        for namespace in &wish.namespaces {
            if !by.may_know(namespace) || self.records.store.course(namespace).await?.is_none() {
                return Err(Error::NoNamespace(namespace.to_string()));
            }
        }
        let mut grant = self.grant(Kind::Token, user)?;
        (grant.name, grant.scopes, grant.namespaces) = (wish.name, wish.scopes, wish.namespaces);
        let seen = self.still(by, user).await?;
        acting.begin_on(&grant);
        let given = self.give(grant, seen, wish.expires_in, secret()?).await?;
        tracing::info!(token = given.0.id, name = given.0.name, %by, "token made");
        Ok(given)
    }

    /// The tokens or sessions of whoever asks, or of `user`.
    ///
    /// # Errors
    /// [`Error::Forbidden`].
    pub async fn credentials(&self, by: &Actor, kind: Kind, user: Option<&str>) -> Result<Vec<Grant>> {
        let own = match &by.who {
            Who::User(name) => name.as_str(),
            _ => return Err(forbidden(by, Verb::OwnCredentials)),
        };
        let whose = match user {
            None => own,
            Some(user) if user == own => own,
            Some(user) => {
                on_server(by, Verb::OthersCredentials)?;
                user
            }
        };
        if !by.rights.has(Scope::Read) {
            return Err(forbidden(by, Verb::OwnCredentials));
        }
        let whose = if whose == "*" { Whose::All } else { Whose::User(whose.to_owned()) };
        Ok(self.records.store.grants(kind, whose, self.clock.now()).await?)
    }

    /// One of those of `kind` that `by` may revoke.
    async fn credential(&self, by: &Actor, kind: Kind, id: &str) -> Result<Grant> {
        let none = || Error::NoCredential(kind, id.chars().take(80).collect());
        let grant = self.records.store.grant(kind, id, self.clock.now()).await?.ok_or_else(none)?;
        let is_own = matches!(&by.who, Who::User(name) if *name == grant.user);
        // Whoever may not touch others' must not learn which there are.
        match on_server(by, if is_own { Verb::OwnCredentials } else { Verb::OthersCredentials }) {
            Err(Error::Forbidden(_)) if !is_own => Err(none()),
            other => other.map(|()| grant),
        }
    }

    /// Changes the name of a token, and when it ends.
    ///
    /// # Errors
    /// [`Error::NoCredential`], [`Error::Forbidden`].
    pub async fn change_token(
        &self,
        by: &Actor,
        id: &str,
        name: Option<String>,
        expires_in: Option<Duration>,
    ) -> Result<Grant> {
        let grant = self.credential(by, Kind::Token, id).await?;
        let said = [("name", name.is_some()), ("expires_in", expires_in.is_some())];
        let names = said.into_iter().filter_map(|(name, is_said)| is_said.then_some(name));
        let end = expires_in.map(|length| plus(self.clock.now(), length));
        let changed = async {
            let none = || Error::NoCredential(Kind::Token, grant.id.clone());
            if !self.records.store.change_grant(id, name, end).await? {
                return Err(none());
            }
            tracing::info!(token = id, %by, "token changed");
            self.records.store.grant(Kind::Token, id, self.clock.now()).await?.ok_or_else(none)
        };
        self.actions.of(by, Act::ChangeToken, &grant).changing(names).around(changed).await
    }

    /// Revokes a token or a session.
    ///
    /// # Errors
    /// [`Error::NoCredential`], [`Error::Forbidden`].
    pub async fn revoke(&self, by: &Actor, kind: Kind, id: &str) -> Result<()> {
        let grant = self.credential(by, kind, id).await?;
        self.actions.of(by, Act::Revoke, &grant).around(self.end(by, &grant.id, kind)).await
    }

    async fn end(&self, by: &Actor, id: &str, kind: Kind) -> Result<()> {
        if !self.records.store.revoke(id).await? {
            return Err(Error::NoCredential(kind, id.to_owned()));
        }
        tracing::info!(credential = id, kind = kind.word(), %by, "revoked");
        Ok(())
    }

    /// Signs in, and begins a session: the secret is for the browser's cookie alone.
    ///
    /// # Errors
    /// [`Error::Unauthorized`], [`Error::TooManyAttempts`].
    pub async fn begin_session(
        &self,
        with: SignIn,
        from: Option<IpAddr>,
        program: &str,
        request: &str,
    ) -> Result<(Actor, Given)> {
        let secret = secret()?;
        let mut expires_in = SESSION;
        let (actor, seen, mut grant) = match with {
            SignIn::Password(name, password) => {
                // A session has all rights of its user, and a token may have fewer: it is no password here.
                let (actor, known) = self.identity.verified_by(&name, &password, from).await?;
                let seen = self.still(&actor, &name).await?;
                let mut grant = self.grant(Kind::Session, &name)?;
                grant.password = Some(secret.with_password(known.known()));
                (actor, seen, grant)
            }
            SignIn::Invitation(text) => {
                let actor = self.identity.by_secret(&text, &[Kind::Invitation], from).await?;
                let Credential::Invitation(parent) = &actor.credential else { return Err(Error::Unauthorized) };
                let sandbox = actor.rights.only.clone().ok_or(Error::Unauthorized)?;
                let invitation = self.records.store.grant(Kind::Invitation, parent, self.clock.now()).await?;
                let invitation = invitation.ok_or(Error::Unauthorized)?;
                expires_in = expires_in.min(left(&invitation, self.clock.now()).unwrap_or(SESSION));
                let mut grant = self.grant(Kind::Session, &invitation.user)?;
                (grant.sandbox, grant.parent, grant.scopes) = (Some(sandbox), Some(parent.clone()), BTreeSet::new());
                (actor, None, grant)
            }
        };
        grant.name = program.chars().filter(|c| !c.is_control()).take(120).collect();
        grant.used_from = from.map(|from| from.to_string());
        let actor = Actor { request: Some(request.to_owned()), ..actor };
        let signing_in = self.actions.of(&actor, Act::SignIn, &grant);
        let given = signing_in.around(self.give(grant, seen, Some(expires_in), secret)).await?;
        tracing::info!(session = given.0.id, by = %actor, "signed in");
        Ok((Actor { credential: Credential::Session(given.0.id.clone()), ..actor }, given))
    }

    /// Ends the session by which `by` asks, if it is one.
    ///
    /// # Errors
    /// [`Error::DatabaseAway`], [`Error::Store`].
    pub async fn end_session(&self, by: &Actor) -> Result<()> {
        match &by.credential {
            Credential::Session(id) => {
                let session = ActedOn::named(ObjectKind::Session, id);
                match self.actions.of(by, Act::Revoke, session).around(self.end(by, id, Kind::Session)).await {
                    Err(Error::NoCredential(..)) => Ok(()),
                    other => other,
                }
            }
            _ => Ok(()),
        }
    }

    /// Invites somebody without an account to one sandbox.
    ///
    /// # Errors
    /// [`Error::NoSandbox`], [`Error::Forbidden`].
    pub async fn invite(&self, by: &Actor, reference: &str, expires_in: Option<Duration>) -> Result<Given> {
        let sandbox = self.allowed(by, Verb::Invite, reference).await?;
        let mut grant = self.grant(Kind::Invitation, &by.to_string())?;
        (grant.sandbox, grant.scopes) = (Some(sandbox.id.clone()), BTreeSet::new());
        let mut expires_in = expires_in.unwrap_or(INVITATION);
        if let Credential::Token(token) = &by.credential {
            // It ends with the token by which it was given.
            let token =
                self.records.store.grant(Kind::Token, token, grant.created_at).await?.ok_or(Error::Unauthorized)?;
            expires_in = expires_in.min(left(&token, grant.created_at).unwrap_or(expires_in));
            grant.parent = Some(token.id);
        }
        let inviting = self.actions.of(by, Verb::Invite, &sandbox);
        let given = inviting.around(self.give(grant, None, Some(expires_in), secret()?)).await?;
        tracing::info!(sandbox = %sandbox.id, name = %sandbox.name, invitation = given.0.id, %by, "invited");
        Ok(given)
    }

    /// The path in the API of the one sandbox that `by` is invited to.
    pub async fn own_path(&self, by: &Actor) -> Option<String> {
        let sandbox = self.records.store.get(by.rights.only.as_ref()?).await.ok()??;
        Some(format!("/v1/containers/{}", sandbox.container?))
    }

    /// The invitations to one sandbox.
    ///
    /// # Errors
    /// [`Error::NoSandbox`], [`Error::Forbidden`].
    pub async fn invitations(&self, by: &Actor, reference: &str) -> Result<Vec<Grant>> {
        let sandbox = self.allowed(by, Verb::Invite, reference).await?;
        Ok(self.records.store.grants(Kind::Invitation, Whose::Sandbox(sandbox.id), self.clock.now()).await?)
    }

    /// Revokes an invitation, and the sessions that began by it.
    ///
    /// # Errors
    /// [`Error::NoSandbox`], [`Error::Forbidden`], [`Error::NoCredential`].
    pub async fn uninvite(&self, by: &Actor, reference: &str, id: &str) -> Result<()> {
        let sandbox = self.allowed(by, Verb::Invite, reference).await?;
        let known = self.records.store.grant(Kind::Invitation, id, self.clock.now()).await?;
        if known.and_then(|grant| grant.sandbox) != Some(sandbox.id) {
            return Err(Error::NoCredential(Kind::Invitation, id.chars().take(80).collect()));
        }
        let on = ActedOn::named(ObjectKind::Invitation, id);
        self.actions.of(by, Act::Revoke, on).around(self.end(by, id, Kind::Invitation)).await
    }
}

fn secret() -> Result<Secret> {
    Secret::new().map_err(|e| Error::NoRandom(e.to_string()))
}

/// How long it lasts from `now` on; `None`: until it is revoked.
fn left(grant: &Grant, now: jiff::Timestamp) -> Option<Duration> {
    grant.expires_at.map(|end| Duration::try_from(end.duration_since(now)).unwrap_or_default())
}
