//! Look: sandboxes as they are. What we do ourselves is never evidence.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

use super::Asked;
use crate::{
    app::Result,
    domain::{
        Evidence, Policy, PortSpec, Sandbox, SandboxId, Source, Wake, deadline,
        rules::{Rule, broken},
    },
    relay::Count,
};

impl Asked {
    /// Every sandbox that was started and not deleted, oldest first (`CONTRACT.md` 12).
    ///
    /// # Errors
    /// [`Error::Store`](crate::app::Error::Store).
    pub async fn list(&self) -> Result<Vec<Arc<Sandbox>>> {
        let known = self.records.store.all().await?;
        let visible: Vec<_> = known.into_iter().filter(|s| s.life.state.is_visible()).collect();
        if broken(Rule::OursIsNoEvidence) {
            let looked_at = Evidence { source: Source::CheckIn, at: self.clock.now() };
            let uses = visible.iter().map(|s| (s.id.clone(), s.life.generation, looked_at));
            self.records.store.record_use(uses.collect()).await?;
        }
        Ok(visible)
    }

    /// One sandbox (`CONTRACT.md` 13).
    ///
    /// # Errors
    /// [`Error::NoSandbox`](crate::app::Error::NoSandbox) if nothing, or more than one, is meant by `reference`.
    pub async fn get(&self, reference: &str) -> Result<Sandbox> {
        self.records.find(reference).await
    }

    /// How often images are expected to report; the least idle limit is three of these.
    pub fn report_period(&self) -> Duration {
        self.settings.report_period
    }

    /// When `sandbox` will be stopped unless it is used (`CONTRACT.md` 31).
    pub fn stops_at(&self, sandbox: &Sandbox) -> Option<Timestamp> {
        deadline(&self.settings.policy, sandbox).map(|d| d.at)
    }

    /// The policy that applies to `sandbox`.
    pub fn policy_of(&self, sandbox: &Sandbox) -> Policy {
        self.settings.policy.of(sandbox)
    }

    /// The policy that is set for `sandbox`, whatever its limit is because its reports are rare.
    pub fn policy_set_for(&self, sandbox: &Sandbox) -> Policy {
        self.settings.policy.set_for(sandbox)
    }

    /// What there is to say of `sandbox` as it is now.
    pub fn why(&self, sandbox: &Sandbox) -> String {
        self.usage.why(sandbox, self.clock.now())
    }

    /// Which connections wake `sandbox`.
    pub fn wakes(&self, sandbox: &Sandbox) -> Wake {
        self.records.wakes(sandbox)
    }

    /// What one of a sandbox's ports has carried, as far as the relay has told.
    pub fn traffic(&self, sandbox: &SandboxId, inside: PortSpec) -> Option<Count> {
        self.usage.count(sandbox, inside)
    }
}
