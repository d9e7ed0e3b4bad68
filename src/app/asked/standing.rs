//! Standing: whether somebody still may what they began a while ago. Credentials end and rights change while something
//! long goes on.

use std::sync::Arc;

use super::{Asked, rights::sees};
use crate::{
    app::{Error, Result},
    domain::{Actor, Answer, Object, SandboxId, Verb, may},
};

/// Who began something long, and the password by which they came in.
#[derive(Debug, Clone)]
pub(super) struct Standing {
    by: Actor,
    password: Option<[u8; 32]>,
}

impl Asked {
    /// The standing of whoever begins something long.
    ///
    /// # Errors
    /// Those of the store.
    pub(super) async fn standing(&self, by: &Actor) -> Result<Standing> {
        Ok(Standing { by: by.clone(), password: self.identity.password_mark(by).await? })
    }

    /// Whoever it is, with the rights of now; `None`: their credential has ended. If that cannot be known at present,
    /// nothing changes.
    pub(super) async fn renewed(&self, standing: &Standing) -> Option<Actor> {
        let by = match self.identity.again(&standing.by).await {
            Ok(by) => by,
            Err(Error::Unauthorized) => return None,
            Err(_) => standing.by.clone(),
        };
        let is_other = self.identity.password_mark(&standing.by).await.is_ok_and(|now| now != standing.password);
        (!is_other).then_some(by)
    }

    /// Whether they may still do `verb` to a sandbox.
    pub(super) async fn still_may(&self, standing: &Standing, verb: Verb, id: &SandboxId) -> bool {
        let Some(by) = self.renewed(standing).await else { return false };
        match self.records.store.get(id).await {
            Ok(Some(now)) => sees(&by, &now) && may(&by, verb, Object::Sandbox(&now.id, &now.ownership)) == Answer::Yes,
            Ok(None) => false,
            Err(_) => true,
        }
    }

    /// Returns when they may no longer do `verb` to a sandbox.
    pub(super) async fn until_may_not(self: Arc<Self>, standing: Standing, verb: Verb, id: SandboxId) {
        while self.still_may(&standing, verb, &id).await {
            tokio::time::sleep(self.settings.reach.terminal_look).await;
        }
    }
}
