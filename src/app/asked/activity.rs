//! Activity: why a sandbox runs or was stopped, on which evidence, and what comes next.

use jiff::Timestamp;

use super::{Asked, View};
use crate::{
    app::Result,
    domain::{Actor, Decision, Reports, Verb, Warning, explain::lengthened, warning},
};

/// All that we know about a sandbox's activity at one moment.
#[derive(Debug, Clone)]
pub struct Activity {
    /// The sandbox as it is shown, with the sentence and the deadline.
    pub view: View,
    /// When those inside will be warned; `None` if they already were, or never will be.
    pub warns_at: Option<Timestamp>,
    /// No stop before this, because sandboxes could not report.
    pub hold_until: Option<Timestamp>,
    /// How its reports come.
    pub reports: Reports,
    /// A sentence that says so if the reports are too rare for its limit.
    pub rare: Option<String>,
    /// The relay cannot open all its ports, so nobody sees whether they are used.
    pub unseen: bool,
    /// The newest decisions, newest first.
    pub decisions: Vec<Decision>,
}

impl Asked {
    /// Why a sandbox is in its present state. This question is no evidence.
    ///
    /// # Errors
    /// [`Error::NoSandbox`](crate::app::Error::NoSandbox).
    pub async fn activity(&self, by: &Actor, reference: &str) -> Result<Activity> {
        let sandbox = self.allowed(by, Verb::See, reference).await?;
        let decisions = self.records.decisions(&sandbox).await?;
        let (policy, now) = (&self.settings.policy, self.clock.now());
        let glance = self.usage.glance(&sandbox, now);
        let grace = glance.sight.grace;
        Ok(Activity {
            warns_at: match warning(policy, grace, &sandbox, now) {
                Warning::At(at) => Some(at),
                Warning::Due { .. } => Some(now),
                Warning::None => None,
            },
            hold_until: grace.map(|grace| grace.end_for(&sandbox)).filter(|end| *end > now),
            reports: Reports::of(&sandbox, self.settings.report_period, now),
            rare: lengthened(policy, &sandbox),
            unseen: glance.is_unseen,
            decisions,
            view: self.viewed(sandbox.into(), glance, now),
        })
    }
}
