//! Actions: see what was done, and end what is under way.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    Asked,
    rights::{forbidden, on_server, sees_actions},
};
use crate::{
    app::{Error, Result},
    domain::{Action, ActionFilter, ActionState, Actor, Invalid, Role, Verb},
};

impl Asked {
    /// The newest actions that `filter` wants and `by` may see, newest first: at most `limit`, those older than the
    /// action `after` if one is named.
    ///
    /// # Errors
    /// [`Error::Forbidden`]; [`Error::Invalid`] if there is no action `after`.
    pub async fn actions(
        &self,
        by: &Actor,
        filter: ActionFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Action>> {
        on_server(by, Verb::SeeActions)?;
        let filter = ActionFilter { reader: sees_actions(by), ..filter };
        let found = self.records.store.actions(&filter, after, limit).await?;
        found.ok_or_else(|| Invalid::new("after", after.unwrap_or_default(), "it is the id of an action").into())
    }

    /// One action that `by` may see.
    ///
    /// # Errors
    /// [`Error::Forbidden`], [`Error::NoAction`].
    pub async fn action(&self, by: &Actor, id: &str) -> Result<Action> {
        on_server(by, Verb::SeeActions)?;
        let found = self.records.store.action(id).await?;
        let seen = found.filter(|action| sees_actions(by).is_none_or(|reader| reader.sees(action)));
        seen.ok_or_else(|| Error::NoAction(id.chars().take(128).collect()))
    }

    /// Ends an action that is under way: a pull of one's own, or anybody's for an admin. Returns it as it ended.
    ///
    /// # Errors
    /// [`Error::Forbidden`], [`Error::NoAction`]; [`Error::NotCancellable`] if it has ended, or is no pull.
    pub async fn cancel(&self, by: &Actor, id: &str) -> Result<Action> {
        let action = self.action(by, id).await?;
        let is_own = by.rights.role == Role::Admin || action.actor == by.to_string();
        let may = if is_own { on_server(by, Verb::Pull) } else { Err(forbidden(by, Verb::Pull)) };
        if let Err(e) = may {
            return Err(self.actions.of(by, Verb::Pull, action.on).refused(e));
        }
        if self.cancel_pull(by, id).await {
            self.actions.name(by, id);
            return self.action(by, id).await;
        }
        let now = self.action(by, id).await?;
        Err(Error::NotCancellable(match now.state {
            ActionState::Pending | ActionState::InProgress => {
                format!("it is {}, and only a pull can be cancelled", now.state.word())
            }
            ended => format!("it has ended ({})", ended.word()),
        }))
    }

    /// The instant that was `length` ago.
    pub fn ago(&self, length: Duration) -> Timestamp {
        let now = self.clock.now();
        jiff::SignedDuration::try_from(length).ok().and_then(|l| now.checked_sub(l).ok()).unwrap_or(Timestamp::MIN)
    }
}
