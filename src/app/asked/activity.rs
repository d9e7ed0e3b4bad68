//! Activity: why a sandbox runs or was stopped, on which evidence, and what will become of it.

use jiff::Timestamp;

use super::Asked;
use crate::{
    app::Result,
    domain::{
        Deadline, Decision, PortMapping, PortUse, Reports, Sandbox, Warning, deadline, explain::lengthened, warning,
    },
};

/// All that can be said of a sandbox's activity at one moment.
#[derive(Debug, Clone)]
pub struct Activity {
    /// The sandbox as it is.
    pub sandbox: Sandbox,
    /// The sentence.
    pub why: String,
    /// Its deadline; `None` if it has none.
    pub deadline: Option<Deadline>,
    /// When those inside will be warned, if they will be and have not been.
    pub warns_at: Option<Timestamp>,
    /// Until when it is not stopped, because sandboxes could not report.
    pub hold_until: Option<Timestamp>,
    /// How its reports come.
    pub reports: Reports,
    /// That they are rarer than its limit needs, as a sentence, where they are.
    pub rare: Option<String>,
    /// Its ports, and what the relay has counted on those that it carries.
    pub ports: Vec<(PortMapping, Option<PortUse>)>,
    /// The relay cannot open all its ports, so that nobody sees whether they are used.
    pub unseen: bool,
    /// The newest decisions, newest first.
    pub decisions: Vec<Decision>,
}

impl Asked {
    /// Why a sandbox is in the state that it is in. That somebody asks is no evidence.
    ///
    /// # Errors
    /// [`super::Error::NoSandbox`].
    pub async fn activity(&self, reference: &str) -> Result<Activity> {
        let sandbox = self.records.find(reference).await?;
        let decisions = self.records.decisions(&sandbox).await?;
        let now = self.clock.now();
        let (policy, grace) = (&self.settings.policy, self.vitals.grace(now));
        Ok(Activity {
            why: self.usage.why(&sandbox, now),
            deadline: deadline(policy, &sandbox),
            warns_at: match warning(policy, grace, &sandbox, now) {
                Warning::At(at) => Some(at),
                Warning::Due { .. } => Some(now),
                Warning::None => None,
            },
            hold_until: grace.map(|grace| grace.end_for(&sandbox)).filter(|end| *end > now),
            reports: Reports::of(&sandbox, self.settings.report_period, now),
            rare: lengthened(policy, &sandbox),
            ports: sandbox.ports.iter().map(|p| (*p, self.usage.port_use(&sandbox, p))).collect(),
            unseen: self.usage.is_unseen(&sandbox),
            decisions,
            sandbox,
        })
    }
}
