//! Again: who somebody is that came in a while ago, as far as that still holds: for what takes long.

use jiff::Timestamp;

use super::{Identity, invited, secret::digest};
use crate::{
    app::{Error, Result},
    domain::{Actor, Answer, Credential, Grant, Kind, Object, Rights, Verb, Who, may},
};

impl Identity {
    /// By what a changed password is noticed; `None`: whoever asks has not signed in by one.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn password_mark(&self, actor: &Actor) -> Result<Option<[u8; 32]>> {
        match (&actor.who, &actor.credential) {
            (Who::User(name), Credential::Password | Credential::Session(_)) => {
                let account = self.account(name).await?;
                Ok(account.map(|account| digest(&[&self.key, account.known().as_bytes()])))
            }
            _ => Ok(None),
        }
    }

    /// The same actor with the rights of now: for what takes long.
    ///
    /// # Errors
    /// [`Error::Unauthorized`] if the credential has ended, or the user is gone.
    pub async fn again(&self, actor: &Actor) -> Result<Actor> {
        let Who::User(name) = &actor.who else { return self.guest_again(actor).await };
        let (rights, now) = (self.account(name).await?.ok_or(Error::Unauthorized)?.rights, self.clock.now());
        let rights = match &actor.credential {
            Credential::Token(id) => {
                let grant = self.store.grant(Kind::Token, id, now).await?.ok_or(Error::Unauthorized)?;
                rights.narrowed(&grant.scopes, &grant.namespaces)
            }
            Credential::Session(id) if !self.store.is_valid(id, now).await? => return Err(Error::Unauthorized),
            _ => rights,
        };
        Ok(Actor { rights, ..actor.clone() })
    }

    /// The same, of somebody with an invitation.
    async fn guest_again(&self, actor: &Actor) -> Result<Actor> {
        let (Credential::Invitation(id) | Credential::Session(id)) = &actor.credential else {
            return Ok(actor.clone());
        };
        let kind = if matches!(actor.credential, Credential::Session(_)) { Kind::Session } else { Kind::Invitation };
        let now = self.clock.now();
        let grant = self.store.grant(kind, id, now).await?.ok_or(Error::Unauthorized)?;
        let (_, rights) = self.guest(&grant, now).await?.ok_or(Error::Unauthorized)?;
        Ok(Actor { rights, ..actor.clone() })
    }

    /// Who has an invitation, or a session that began with one, and what it allows; `None`: it is something else.
    pub(super) async fn guest(&self, grant: &Grant, now: Timestamp) -> Result<Option<(Who, Rights)>> {
        let Some(id) = &grant.sandbox else { return Ok(None) };
        if let Some(parent) = &grant.parent
            && !self.store.is_valid(parent, now).await?
        {
            return Err(Error::Unauthorized);
        }
        let sandbox = self.store.get(id).await?.filter(|sandbox| sandbox.life.state.is_visible());
        let sandbox = sandbox.ok_or(Error::Unauthorized)?;
        // An invitation holds while its giver may give it.
        let rights = self.account(&grant.user).await?.ok_or(Error::Unauthorized)?.rights;
        let giver = Actor { rights, ..Actor::admin(&grant.user) };
        if may(&giver, Verb::Invite, Object::Sandbox(&sandbox.id, &sandbox.ownership)) != Answer::Yes {
            return Err(Error::Unauthorized);
        }
        // The parent of a session is its invitation; that of an invitation a token.
        let parent = grant.parent.as_ref().filter(|_| grant.kind == Kind::Session);
        Ok(Some((Who::Invited(parent.unwrap_or(&grant.id).clone()), invited(&sandbox))))
    }
}
