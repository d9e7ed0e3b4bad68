//! In force: which policy applies to a sandbox.

use std::time::Duration;

use super::{
    policy::{Limit, Policy},
    rules::{Rule, broken},
    sandbox::Sandbox,
};

impl Policy {
    /// The policy that applies to `sandbox`: the one that is set for it, but with an idle limit that leaves room for
    /// three of its reports (`CONTRACT.md` 31).
    #[must_use]
    pub fn of(&self, sandbox: &Sandbox) -> Policy {
        let set = self.set_for(sandbox);
        let rare = set.rare_limit(sandbox).filter(|_| !broken(Rule::RareReports));
        Policy { idle_limit: rare.map_or(set.idle_limit, Limit::After), ..set }
    }

    /// The longer idle limit of a sandbox whose reports are rarer than a third of the set limit, where reports count.
    fn rare_limit(&self, sandbox: &Sandbox) -> Option<Duration> {
        let (set, least) = (self.idle_limit.span()?, sandbox.life.rhythm.least_limit());
        Some(least).filter(|least| *least > set && self.evidence.check_in)
    }

    /// The idle limit that is set for `sandbox`, and the longer one that its rare reports give it; `None` if they are
    /// not rare.
    pub fn lengthened(&self, sandbox: &Sandbox) -> Option<(Duration, Duration)> {
        let set = self.set_for(sandbox);
        set.idle_limit.span().zip(set.rare_limit(sandbox))
    }

    /// The policy that is set for `sandbox`: its own values, and this policy's where it has none.
    #[must_use]
    pub fn set_for(&self, sandbox: &Sandbox) -> Policy {
        let own = &sandbox.recipe.own;
        Policy {
            idle_limit: own.idle_limit.unwrap_or(self.idle_limit),
            connection_cap: own.connection_cap.unwrap_or(self.connection_cap),
            max_age: own.max_age.unwrap_or(self.max_age),
            warn_before: own.warn_before.unwrap_or(self.warn_before),
            evidence: own.evidence.unwrap_or(self.evidence),
        }
    }
}
