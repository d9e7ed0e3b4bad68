//! Decide: what was decided about sandboxes is remembered for whoever asks why.
//!
//! That a sandbox is kept is decided in every pass; it is worth a line only when its deadline has come and it was used
//! in the meantime.

use std::sync::Arc;

use jiff::Timestamp;

use super::{App, Result, chain};
use crate::domain::{Decided, Decision, Grace, Sandbox, SandboxId, Sight, State, StopReason, deadline, explain};

/// A deadline that is awaited.
#[derive(Debug, Clone, Copy)]
pub(super) struct Awaited {
    generation: u64,
    due: Timestamp,
    /// It has come, and it was noted that nothing is stopped for now.
    refused: bool,
}

impl App {
    /// What there is to say of `sandbox` as it is now.
    pub fn why(&self, sandbox: &Sandbox) -> String {
        let sight = Sight { grace: self.grace(), ports: self.port_uses(sandbox), blind: self.is_blind(sandbox) };
        explain(&self.settings.policy, sandbox, &sight, self.clock.now())
    }

    /// The grace in which nothing is stopped; before the first pass as that will begin at the earliest.
    pub(super) fn grace(&self) -> Option<Grace> {
        let pulse = self.pulse();
        if pulse.last_pass.is_none() { Some(self.grace_since(self.clock.now())) } else { pulse.grace }
    }

    /// A grace after trouble until `since`.
    pub(super) fn grace_since(&self, since: Timestamp) -> Grace {
        Grace { since, length: self.settings.resume_grace, period: self.settings.report_period }
    }

    /// Why nobody can say whether a sandbox is used, if so: then it is not stopped for being idle.
    pub(super) fn is_blind(&self, sandbox: &Sandbox) -> Option<&'static str> {
        if self.policy_of(sandbox).evidence.connection && self.is_unseen(sandbox) {
            Some("another program listens on one of its ports, and nobody sees whether that is used")
        } else if !self.is_cpu_known(sandbox) {
            Some("its cpu use counts and is not known")
        } else {
            None
        }
    }

    /// A decision about `sandbox` on what is known of it.
    pub(super) fn decision(&self, sandbox: &Sandbox, decided: Decided, why: String) -> Decision {
        let counting = self.policy_of(sandbox).evidence;
        let evidence = sandbox.life.evidence.newest(|s| counting.count(s));
        Decision { at: self.clock.now(), decided, why, evidence }
    }

    /// Remembers a decision. That it cannot be remembered keeps nobody from anything.
    pub(super) async fn decided(&self, sandbox: &Sandbox, decided: Decided, why: String) {
        self.remember(vec![(sandbox.id.clone(), self.decision(sandbox, decided, why))]).await;
    }

    /// As [`App::decided`], on what is known by now, if the sandbox still runs.
    pub(super) async fn decided_anew(&self, sandbox: &Sandbox, decided: Decided) {
        if let Ok(Some(now)) = self.store.get(&sandbox.id).await
            && matches!(now.life.state, State::Running { .. })
        {
            self.decided(&now, decided, self.why(&now)).await;
        }
    }

    async fn remember(&self, decisions: Vec<(SandboxId, Decision)>) {
        if !decisions.is_empty()
            && let Err(e) = self.store.decide(decisions).await
        {
            tracing::error!(error = chain(&e), "what was decided is not remembered");
        }
    }

    /// Remembers who was kept though the deadline that was awaited has come, and who is only held.
    pub(super) async fn note(&self, known: &[Arc<Sandbox>], grace: Option<Grace>, now: Timestamp) {
        let notable = self.notable(known, grace, now);
        let decision = |(sandbox, decided): (&Sandbox, Decided)| {
            (sandbox.id.clone(), self.decision(sandbox, decided, self.why(sandbox)))
        };
        self.remember(notable.into_iter().map(decision).collect()).await;
    }

    fn notable<'s>(
        &self,
        known: &'s [Arc<Sandbox>],
        grace: Option<Grace>,
        now: Timestamp,
    ) -> Vec<(&'s Sandbox, Decided)> {
        let mut notable = Vec::new();
        // Whether nobody can say if it is used matters for those alone who would be stopped for being idle.
        let looked = known.iter().map(Arc::as_ref).map(|sandbox| {
            let deadline = deadline(&self.settings.policy, sandbox);
            let is_idle = deadline.is_some_and(|d| now >= d.at && d.reason() == StopReason::Idle);
            (sandbox, deadline, is_idle && self.is_blind(sandbox).is_some())
        });
        let looked: Vec<_> = looked.collect();
        let mut pulse = self.pulse();
        for (sandbox, deadline, is_blind) in looked {
            let Some(deadline) = deadline else {
                pulse.awaited.remove(&sandbox.id);
                continue;
            };
            let fresh = Awaited { generation: sandbox.life.generation, due: deadline.at, refused: false };
            let Some(awaited) = pulse.awaited.get_mut(&sandbox.id) else {
                pulse.awaited.insert(sandbox.id.clone(), fresh);
                continue;
            };
            let has_come = awaited.generation == sandbox.life.generation && now >= awaited.due;
            if has_come && now >= deadline.at {
                let held = grace.is_some_and(|grace| now < grace.end_for(sandbox)) || is_blind;
                if held && !awaited.refused {
                    awaited.refused = true;
                    notable.push((sandbox, Decided::Refused));
                }
            } else if has_come {
                *awaited = fresh;
                notable.push((sandbox, Decided::Kept));
            } else if awaited.generation != sandbox.life.generation || deadline.at < awaited.due {
                *awaited = fresh;
            }
        }
        notable
    }

    /// The newest decisions about a sandbox, newest first.
    pub(super) async fn decisions(&self, sandbox: &Sandbox) -> Result<Vec<Decision>> {
        Ok(self.store.decisions(&sandbox.id).await?)
    }
}
