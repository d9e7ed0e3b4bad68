//! View: all that a reader needs to show a sandbox at one moment.
//!
//! One look at the clock and one at the counters serve a whole answer, so that a list agrees with itself.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

use super::{Asked, rights::sees};
use crate::{
    app::{Result, usage::Glance},
    domain::{Actor, Deadline, Policy, PortMapping, Sandbox, Selection, Wake, deadline, explain},
    relay::Count,
};

/// A sandbox as it is shown.
#[derive(Debug, Clone)]
pub struct View {
    /// The sandbox, as the use case answered.
    pub sandbox: Arc<Sandbox>,
    /// One sentence: why it runs, will be stopped, or was stopped.
    pub why: String,
    /// The policy that is set for it; rare reports may give it a longer limit.
    pub policy: Policy,
    /// How long before a stop those inside are warned; `None`: never.
    pub lead: Option<Duration>,
    /// Its deadline; `None` if it has none (`CONTRACT.md` 31).
    pub deadline: Option<Deadline>,
    /// Which connections wake it.
    pub wake: Wake,
    /// At which moment it is so.
    pub at: Timestamp,
    /// Its ports.
    pub ports: Vec<PortView>,
}

/// A part of a list.
#[derive(Debug, Clone, Copy, Default)]
pub struct Page {
    /// After which row it begins.
    pub after: i64,
    /// How many it has at most; `None`: all.
    pub limit: Option<usize>,
}

/// A port as it is shown.
#[derive(Debug, Clone)]
pub struct PortView {
    /// The port, inside and outside.
    pub mapping: PortMapping,
    /// What it has carried, as far as the relay told us.
    pub carried: Option<Count>,
}

impl View {
    /// When the sandbox will be stopped unless it is used.
    pub fn stops_at(&self) -> Option<Timestamp> {
        self.deadline.map(|deadline| deadline.at)
    }
}

impl Asked {
    /// Shows a sandbox that a use case has just answered.
    pub fn view(&self, sandbox: impl Into<Arc<Sandbox>>) -> View {
        let (sandbox, now) = (sandbox.into(), self.clock.now());
        let glance = self.usage.glance(&sandbox, now);
        self.viewed(sandbox, glance, now)
    }

    /// A view of every sandbox of `selection` that `by` may see, oldest first, and, if `page` has no room for all of
    /// them, where the next one begins. Nobody looks at those of other pages.
    ///
    /// # Errors
    /// [`Error::Store`](crate::app::Error::Store).
    pub async fn views(&self, by: &Actor, selection: &Selection, page: Page) -> Result<(Vec<View>, Option<i64>)> {
        let rows = self.records.store.all_after(page.after).await?.into_iter();
        let wanted = rows.filter(|(_, s)| s.life.state.is_visible() && selection.has(s) && sees(by, s));
        let most = page.limit.unwrap_or(usize::MAX);
        let mut rows: Vec<_> = wanted.take(most.saturating_add(1)).collect();
        let is_last = rows.len() <= most;
        rows.truncate(most);
        let next = rows.last().filter(|_| !is_last).map(|(number, _)| *number);
        let now = self.clock.now();
        let glances = self.usage.glances(rows.iter().map(|(_, sandbox)| sandbox.as_ref()), now);
        let views = rows.into_iter().zip(glances).map(|((_, sandbox), glance)| self.viewed(sandbox, glance, now));
        Ok((views.collect(), next))
    }

    /// Shows a sandbox with the result of a glance at `now`.
    pub(super) fn viewed(&self, sandbox: Arc<Sandbox>, glance: Glance, now: Timestamp) -> View {
        let policy = &self.settings.policy;
        let port = |(mapping, carried)| PortView { mapping, carried };
        View {
            why: explain(policy, &sandbox, &glance.sight, now),
            policy: policy.set_for(&sandbox),
            lead: policy.of(&sandbox).lead(),
            deadline: deadline(policy, &sandbox),
            wake: self.records.wakes(&sandbox),
            at: now,
            ports: glance.ports.into_iter().map(port).collect(),
            sandbox,
        }
    }
}
