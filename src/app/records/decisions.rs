//! Decisions: remember what was decided about sandboxes, and why.

use jiff::Timestamp;

use super::Records;
use crate::{
    app::{Result, chain},
    domain::{Decided, Decision, Sandbox, SandboxId},
};

impl Records {
    /// A decision about `sandbox`, taken at the time `at` on its record.
    pub fn decision(&self, sandbox: &Sandbox, decided: Decided, why: String, at: Timestamp) -> Decision {
        let counting = self.settings.policy.of(sandbox).evidence;
        let evidence = sandbox.life.evidence.newest(|s| counting.count(s));
        Decision { at, decided, why, evidence }
    }

    /// Remembers a decision. A failure to do so is logged and stops nothing.
    pub async fn decided(&self, sandbox: &Sandbox, decided: Decided, why: String) {
        self.remember(vec![(sandbox.id.clone(), self.decision(sandbox, decided, why, self.clock.now()))]).await;
    }

    /// As [`Records::decided`], several at once.
    pub async fn remember(&self, decisions: Vec<(SandboxId, Decision)>) {
        if !decisions.is_empty()
            && let Err(e) = self.store.decide(decisions).await
        {
            tracing::error!(error = chain(&e), "what was decided is not remembered");
        }
    }

    /// The newest decisions about a sandbox, newest first.
    ///
    /// # Errors
    /// [`Error::DatabaseAway`](crate::app::Error::DatabaseAway), [`Error::Store`](crate::app::Error::Store).
    pub async fn decisions(&self, sandbox: &Sandbox) -> Result<Vec<Decision>> {
        Ok(self.store.decisions(&sandbox.id).await?)
    }
}
