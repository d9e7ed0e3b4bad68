//! Policy: people change how long a sandbox lives.

use std::{net::IpAddr, time::Duration};

use jiff::Timestamp;

use super::Asked;
use crate::{
    app::{Change, Error, Result, chain},
    domain::{
        Actor, Decided, Extension, Invalid, Role, Sandbox, State, Token, Verb, Who, Zone,
        idle::end_of_age,
        time::{plus, span},
    },
};

impl Asked {
    /// Changes a sandbox's policy. The change applies at once, but never into the past: a sandbox whose time would be
    /// over gets a grace, in which those inside are warned (`FAILURES.md` 35).
    ///
    /// # Errors
    /// [`Error::NoSandbox`], [`Error::NotWritten`]; [`Error::Invalid`] if it would be kept beyond its age.
    pub async fn change(&self, by: &Actor, reference: &str, change: Change) -> Result<Sandbox> {
        let sandbox = self.allowed(by, Verb::Change, reference).await?;
        let now = self.clock.now();
        if let Some(Some(until)) = change.keep_until {
            is_ahead(until, now)?;
            self.within_age(&change.apply(&sandbox), until, ("keep_until", &until.to_string()), &Zone::default(), now)?;
        }
        change.own.fits(sandbox.recipe.cpus)?;
        let acting = self.actions.of(by, Verb::Change, &sandbox).changing(change.names());
        acting.around(self.change_found(by, &sandbox, change)).await
    }

    async fn change_found(&self, by: &Actor, sandbox: &Sandbox, change: Change) -> Result<Sandbox> {
        let now = self.clock.now();
        // What connections carried until now counts under the old policy.
        if let Err(e) = self.usage.collect().await {
            tracing::debug!(sandbox = %sandbox.id, error = chain(&e), "its connections could not be looked at");
        }
        let grace_end = plus(now, self.settings.resume_grace);
        let words = change.words();
        let amended = |now: &Sandbox| change.apply(now);
        let record = self.records.change(&sandbox.id, change.clone(), grace_end);
        let changed = self.work.amend(&sandbox.id, amended, record).await?;
        let changed = changed.ok_or_else(|| Error::NoSandbox(sandbox.name.to_string()))?;
        let why = format!("{words} by {by}; {}", self.usage.why(&changed, now));
        tracing::info!(sandbox = %changed.id, name = %changed.name, %by, why, "its limits were changed");
        self.records.decided(&changed, Decided::Changed, why).await;
        // A deadline or a warning may be due earlier now.
        self.next.wake();
        Ok(changed)
    }

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
    fn within_age(
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
