//! Policy: people change how long a sandbox lives.

use std::{net::IpAddr, time::Duration};

use jiff::Timestamp;

use super::Asked;
use crate::{
    app::{Error, Result},
    domain::{
        Actor, Decided, Extension, Invalid, Role, Sandbox, State, Token, Verb, Who, Zone,
        idle::end_of_age,
        time::{plus, span},
    },
};

impl Asked {
    /// Keeps a running sandbox for `length` from now on, or for its idle limit. This is evidence by a person. It
    /// shortens nothing, and never reaches beyond its age.
    ///
    /// # Errors
    /// [`Error::NoSandbox`], [`Error::NotRunning`]; [`Error::Invalid`] if `length` reaches beyond its age.
    pub async fn extend(&self, by: &Actor, reference: &str, length: Option<Duration>) -> Result<Sandbox> {
        let sandbox = self.allowed(by, Verb::Extend, reference).await?;
        let now = self.clock.now();
        // A learner keeps no more here than from inside.
        let most = if by.rights.role == Role::Learner { self.settings.keep_max } else { Duration::MAX };
        if let Some(length) = length {
            let until = plus(now, length.min(most));
            self.within_age(&sandbox, until, ("for", &span(length)), &Zone::default(), now)?;
        }
        let length = length.or(self.settings.policy.of(&sandbox).idle_limit.span()).unwrap_or_default().min(most);
        let until = end_of_age(&self.settings.policy, &sandbox).unwrap_or(Timestamp::MAX).min(plus(now, length));
        let keeping = async { self.keep(&sandbox, by, until, now).await?.ok_or(Error::NotRunning) };
        self.actions.of(by, Verb::Extend, &sandbox).changing(["keep_until"]).around(keeping).await
    }

    /// As [`Asked::extend`], by somebody inside, for at most `keep_max`. `None` if the caller is no running sandbox.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it reaches beyond the sandbox's age.
    pub async fn keep_from_inside(
        &self,
        token: Option<&str>,
        peer: Option<IpAddr>,
        length: Duration,
    ) -> Result<Option<Sandbox>> {
        let reporter =
            self.records.store.reporter(token.and_then(Token::parse), peer.map(|p| p.to_canonical())).await?;
        let Some(id) = reporter else { return Ok(None) };
        let Some(sandbox) = self.records.store.get(&id).await? else { return Ok(None) };
        let now = self.clock.now();
        let until = plus(now, length.min(self.settings.keep_max));
        self.within_age(&sandbox, until, ("keep", &span(length)), &sandbox.recipe.zone, now)?;
        self.keep(&sandbox, &Actor::inside(peer), until, now).await
    }

    /// Records an extension; `None` if the sandbox no longer runs as it did in `seen`.
    async fn keep(&self, seen: &Sandbox, by: &Actor, until: Timestamp, now: Timestamp) -> Result<Option<Sandbox>> {
        if !matches!(seen.life.state, State::Running { .. }) {
            return Ok(None);
        }
        let extension = Extension { at: now, by: by.who.clone(), until };
        self.work.amending.doubt(&seen.id);
        if !self.records.store.extend(seen, extension).await? {
            return Ok(None);
        }
        // This is evidence: it counts even if it cannot be written down.
        self.work.write_down(&seen.id).await;
        let kept = self.records.store.get(&seen.id).await?;
        if let Some(kept) = &kept {
            let why = self.usage.why(kept, now);
            // Those inside may ask as often as they like; that must not fill our log or hide older decisions.
            let news = seen.life.keep_until.is_none_or(|before| until > plus(before, self.settings.keep_max / 16));
            if by.who != Who::Inside || news {
                tracing::info!(sandbox = %kept.id, name = %kept.name, %by, why, "kept");
                self.records.decided(kept, Decided::Extended, why).await;
                if by.who == Who::Inside {
                    self.actions.of(by, Verb::Extend, kept).changing(["keep_until"]).done();
                }
            }
        }
        Ok(kept)
    }

    /// # Errors
    /// [`Error::Invalid`] with the field and its value if `until` is beyond its age. The message gives the end of the
    /// age in `zone`.
    pub(super) fn within_age(
        &self,
        sandbox: &Sandbox,
        until: Timestamp,
        (field, value): (&'static str, &str),
        zone: &Zone,
        now: Timestamp,
    ) -> Result<()> {
        let end = end_of_age(&self.settings.policy, sandbox).filter(|end| until > *end);
        end.map_or(Ok(()), |end| {
            let left = span(Duration::try_from(end.duration_since(now)).unwrap_or_default());
            let allowed = format!(
                "this container reaches its max_age at {}, in {left}, and is not kept beyond that",
                zone.clock_time(end, now)
            );
            Err(Invalid::new(field, value, allowed).into())
        })
    }
}

/// # Errors
/// [`Error::Invalid`] if `until` has passed.
pub fn is_ahead(until: Timestamp, now: Timestamp) -> Result<()> {
    if until > now { Ok(()) } else { Err(Invalid::new("keep_until", &until.to_string(), "it must lie ahead").into()) }
}
