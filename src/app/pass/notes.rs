//! Notes: record the decisions of a pass that are worth a line.

use std::{collections::HashMap, sync::Arc};

use jiff::Timestamp;

use super::Pass;
use crate::domain::{Decided, Grace, Happened, LatelyBy, Sandbox, SandboxId, State, StopReason, deadline};

impl Pass {
    /// Remembers which sandboxes were kept though the awaited deadline has come, and which are only held.
    pub(super) async fn note(&self, known: &[Arc<Sandbox>], grace: Option<Grace>, now: Timestamp) {
        let with_deadline = |s| (s, deadline(&self.settings.policy, s));
        let deadlines: Vec<_> = known.iter().map(Arc::as_ref).map(with_deadline).collect();
        // Taken out, so that no lock is held while other parts are asked.
        let mut awaiting = std::mem::take(&mut self.own().awaiting);
        let notable = awaiting.notable(&deadlines, now, |sandbox, deadline| {
            grace.is_some_and(|grace| now < grace.end_for(sandbox))
                // Unseen use matters only where the reason of the stop is idleness.
                || deadline.reason() == StopReason::Idle && self.usage.is_blind(sandbox).is_some()
        });
        self.own().awaiting = awaiting;
        let decision = |(sandbox, decided): (&Sandbox, Decided)| {
            (sandbox.id.clone(), self.records.decision(sandbox, decided, self.usage.why(sandbox, now), now))
        };
        self.records.remember(notable.into_iter().map(decision).collect()).await;
    }

    /// Tells those who follow whose evidence is of another class than at the last pass: whether people, only programs, or
    /// nobody used it lately.
    pub(super) fn tell_of_use(&self, known: &[Arc<Sandbox>], now: Timestamp) {
        let running = known.iter().filter(|s| matches!(s.life.state, State::Running { .. }));
        let uses: HashMap<SandboxId, LatelyBy> = running.map(|s| (s.id.clone(), LatelyBy::of(s, now))).collect();
        let before = std::mem::replace(&mut self.own().uses, uses.clone());
        for (id, by) in uses.into_iter().filter(|(id, by)| before.get(id).is_some_and(|before| before != by)) {
            self.records.tell(Happened::Evidence, Some(&id), &[("class", by.word().into())]);
        }
    }

    /// Remembers a decision, with what we know of the sandbox by now, if it still runs.
    pub(super) async fn decided_anew(&self, sandbox: &Sandbox, decided: Decided) {
        if let Ok(Some(known)) = self.records.store.get(&sandbox.id).await
            && matches!(known.life.state, State::Running { .. })
        {
            let why = self.usage.why(&known, self.clock.now());
            self.records.decided(&known, decided, why).await;
        }
    }
}
