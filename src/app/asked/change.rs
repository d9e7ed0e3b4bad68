//! Change: people change a sandbox. All of a change is looked at before anything is done.

use std::sync::Arc;

use super::{Asked, namespaces::in_namespace, policy::is_ahead};
use crate::{
    app::{Change, Error, Result, actions::Acting, chain},
    domain::{Actor, Decided, Failure, Sandbox, Verb, Zone, time::plus},
    store::StoreError,
};

/// Whether a sandbox shall run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    /// It shall.
    On,
    /// It shall not.
    Off,
}

impl Power {
    /// The verb by which it is asked for.
    pub fn verb(self) -> Verb {
        match self {
            Power::On => Verb::Start,
            Power::Off => Verb::Stop,
        }
    }
}

impl Asked {
    /// Changes a sandbox, and then starts or stops it. If `by` may not do one of these, or a value is not allowed,
    /// nothing is done.
    ///
    /// # Errors
    /// Those of [`Asked::change`], [`Asked::start`] and [`Asked::stop`].
    pub async fn patch(
        self: &Arc<Self>,
        by: &Actor,
        reference: &str,
        change: Change,
        power: Option<Power>,
    ) -> Result<Sandbox> {
        let mut sandbox = self.allowed(by, Verb::See, reference).await?;
        if let Some(power) = power {
            sandbox = self.allowed(by, power.verb(), reference).await?;
        }
        if !change.is_empty() {
            sandbox = self.change(by, reference, change).await?;
        }
        // It may have another name now.
        let reference = sandbox.container.as_ref().map_or(reference, |container| container.as_str());
        match power {
            Some(Power::On) => self.start(by, reference).await,
            Some(Power::Off) => self.stop(by, reference).await,
            None => Ok(sandbox),
        }
    }

    /// Changes a sandbox. The change applies at once, but never into the past: a sandbox whose time would be over gets
    /// a grace, in which those inside are warned (`FAILURES.md` 35).
    ///
    /// # Errors
    /// [`Error::NoSandbox`], [`Error::Forbidden`], [`Error::Invalid`], [`Error::NameTaken`], [`Error::NoNamespace`],
    /// [`Error::Quota`], [`Error::NotWritten`], [`Error::EngineAway`], [`Error::Engine`] with what the engine refuses.
    pub async fn change(&self, by: &Actor, reference: &str, change: Change) -> Result<Sandbox> {
        loop {
            let sandbox = self.may_change(by, reference, &change).await?;
            self.fits(by, &sandbox, &change).await?;
            let assigning = change.assigns().then(|| {
                let mut acting = self.actions.of(by, Verb::Assign, &sandbox).changing(change.assigned());
                acting.begin();
                acting
            });
            let names = change.names();
            let changing = (!names.is_empty()).then(|| {
                let mut acting = self.actions.of(by, Verb::Change, &sandbox).changing(names);
                acting.begin();
                acting
            });
            let acting = [assigning, changing].into_iter().flatten();
            match Box::pin(self.change_found(by, &sandbox, change.clone())).await {
                Ok(Some(changed)) => {
                    acting.for_each(Acting::done);
                    return Ok(changed);
                }
                // Somebody else assigned it meanwhile, perhaps out of sight.
                Ok(None) => {
                    let failure = Failure::new("changed_meanwhile", "it was assigned to others, or deleted, meanwhile");
                    acting.for_each(|acting| acting.failed(&failure));
                }
                Err(e) => {
                    acting.for_each(|acting| acting.failed(&Failure::from(&e)));
                    return Err(e);
                }
            }
        }
    }

    /// The sandbox, all of whose change is within the rights of `by`.
    async fn may_change(&self, by: &Actor, reference: &str, change: &Change) -> Result<Sandbox> {
        let mut sandbox = self.allowed(by, Verb::See, reference).await?;
        if change.assigns() {
            sandbox = self.allowed(by, Verb::Assign, reference).await?;
        }
        if !change.names().is_empty() {
            sandbox = self.allowed(by, Verb::Change, reference).await?;
        }
        Ok(sandbox)
    }

    /// # Errors
    /// [`Error::Invalid`], [`Error::NoNamespace`], [`Error::Forbidden`]: why the change is not allowed, before anything
    /// is recorded.
    async fn fits(&self, by: &Actor, sandbox: &Sandbox, change: &Change) -> Result<()> {
        let (now, after) = (self.clock.now(), change.apply(sandbox));
        if let Some(Some(until)) = change.keep_until {
            is_ahead(until, now)?;
            self.within_age(&after, until, ("keep_until", &until.to_string()), &Zone::default(), now)?;
        }
        if change.cpus.is_some() {
            after.recipe.own.fits(after.recipe.cpus)?;
        } else {
            change.own.fits(sandbox.recipe.cpus)?;
        }
        if let Some(memory) = change.memory {
            self.host_has(memory).await?;
        }
        if change.assigns() {
            in_namespace(by, Verb::Assign, &after.ownership.namespace)?;
            if let Some(owner) = &after.ownership.owner {
                self.belongs(owner, &after.ownership.namespace).await?;
            }
        }
        Ok(())
    }

    /// `None`: it no longer belongs to whom it did, or is gone.
    async fn change_found(&self, by: &Actor, sandbox: &Sandbox, change: Change) -> Result<Option<Sandbox>> {
        // What connections carried until now counts under the old policy.
        if let Err(e) = self.usage.collect().await {
            tracing::debug!(sandbox = %sandbox.id, error = chain(&e), "its connections could not be looked at");
        }
        let record = Box::pin(self.record_change(by, sandbox, &change));
        let changed = if change.is_for_engine() {
            self.work.engine_answers().await?;
            let _claim = self.work.claims.claim(&sandbox.id).await;
            self.work.amend(&sandbox.id, |now| change.apply(now), record).await
        } else {
            self.work.amend(&sandbox.id, |now| change.apply(now), record).await
        };
        let changed = match changed {
            Ok(changed) => changed,
            Err(e) => {
                // It was written down before it was refused.
                self.work.write_down(&sandbox.id).await;
                return Err(e);
            }
        };
        let Some(changed) = changed else { return Ok(None) };
        self.records.show(&changed.id).await;
        let why = format!("{} by {by}; {}", change.words(), self.usage.why(&changed, self.clock.now()));
        tracing::info!(sandbox = %changed.id, name = %changed.name, %by, why, "changed");
        self.records.decided(&changed, Decided::Changed, why).await;
        // A deadline or a warning may be due earlier now.
        self.next.wake();
        Ok(Some(changed))
    }

    /// Records the intent, has the engine do its part, and records the change.
    async fn record_change(&self, by: &Actor, seen: &Sandbox, change: &Change) -> Result<Option<Sandbox>> {
        let store = &self.records.store;
        if change.is_for_engine() {
            let Some(before) = store.get(&seen.id).await?.filter(|now| now.life.state.is_visible()) else {
                return Ok(None);
            };
            match store.intend(seen, change.clone()).await {
                Ok(true) => {}
                Ok(false) => return Ok(None),
                Err(e) => return Err(self.refusal(by, change, e).await),
            }
            self.work.carry_out(&before, &change.apply_to_engine(&before)).await?;
        }
        let grace_end = plus(self.clock.now(), self.settings.resume_grace);
        match store.change(seen, change.clone(), self.settings.policy, grace_end).await {
            Ok(changed) => Ok(changed),
            Err(e) => Err(self.refusal(by, change, e).await),
        }
    }

    async fn refusal(&self, by: &Actor, change: &Change, error: StoreError) -> Error {
        match (error, &change.name) {
            (StoreError::NameTaken, Some(name)) => self.name_taken(by, name.clone(), None).await,
            (error, _) => error.into(),
        }
    }
}
