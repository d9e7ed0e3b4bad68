//! Notes: what a pass decided that is worth a line.

use std::sync::Arc;

use jiff::Timestamp;

use super::Pass;
use crate::domain::{Decided, Grace, Sandbox, State, StopReason, deadline};

impl Pass {
    /// Remembers who was kept though the deadline that was awaited has come, and who is only held.
    pub(super) async fn note(&self, known: &[Arc<Sandbox>], grace: Option<Grace>, now: Timestamp) {
        let with_deadline = |s| (s, deadline(&self.settings.policy, s));
        let deadlines: Vec<_> = known.iter().map(Arc::as_ref).map(with_deadline).collect();
        // Taken out meanwhile, so that nothing is held while others are asked.
        let mut awaiting = std::mem::take(&mut self.own().awaiting);
        let notable = awaiting.notable(&deadlines, now, |sandbox, deadline| {
            grace.is_some_and(|grace| now < grace.end_for(sandbox))
                // Whether nobody sees its use matters for those alone who would be stopped for being idle.
                || deadline.reason() == StopReason::Idle && self.usage.is_blind(sandbox).is_some()
        });
        self.own().awaiting = awaiting;
        let decision = |(sandbox, decided): (&Sandbox, Decided)| {
            (sandbox.id.clone(), self.records.decision(sandbox, decided, self.usage.why(sandbox, now), now))
        };
        self.records.remember(notable.into_iter().map(decision).collect()).await;
    }

    /// Remembers a decision on what is known of a sandbox by now, if it still runs.
    pub(super) async fn decided_anew(&self, sandbox: &Sandbox, decided: Decided) {
        if let Ok(Some(known)) = self.records.store.get(&sandbox.id).await
            && matches!(known.life.state, State::Running { .. })
        {
            let why = self.usage.why(&known, self.clock.now());
            self.records.decided(&known, decided, why).await;
        }
    }
}
