//! Cpu: whether the programs of a sandbox work, for sandboxes for which that counts.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use jiff::Timestamp;

use super::{App, Result, chain};
use crate::{
    domain::{Evidence, Sandbox, Source, State},
    engine::EngineError,
};

/// The shortest time over which use is measured: below it, what a start of a program takes looks like work.
const LEAST: Duration = Duration::from_secs(1);

/// How many are looked at at once.
const LOOKS: usize = 4;

/// What a sandbox had used of the cpu when it was looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct CpuSample {
    generation: u64,
    at: Timestamp,
    steady: Duration,
    used: Duration,
    /// There was one before it, so that it says how much was used in between.
    compared: bool,
}

impl App {
    fn threshold(&self, sandbox: &Sandbox) -> Option<u32> {
        self.policy_of(sandbox).evidence.cpu.filter(|_| matches!(sandbox.state, State::Running { .. }))
    }

    /// Looks at those sandboxes for which cpu counts, each once in a report period, as a task of its own: an engine that
    /// is slow to tell delays no pass.
    pub(super) fn sample_cpu(self: &Arc<Self>, known: &[Arc<Sandbox>], now: Timestamp) {
        let due: Vec<Arc<Sandbox>> = {
            let mut pulse = self.pulse();
            let is_due = |sandbox: &&Arc<Sandbox>| {
                let sample = pulse.cpu.get(&sandbox.id).filter(|s| s.generation == sandbox.generation);
                let age = sample.and_then(|s| Duration::try_from(now.duration_since(s.at)).ok());
                self.threshold(sandbox).is_some() && age.is_none_or(|age| age >= self.settings.report_period)
            };
            let due: Vec<_> = known.iter().filter(is_due).cloned().collect();
            // Asked for from now on, so that the next pass does not ask again.
            for sandbox in &due {
                if let Some(sample) = pulse.cpu.get_mut(&sandbox.id) {
                    sample.at = now;
                }
            }
            due
        };
        if due.is_empty() {
            return;
        }
        let app = Arc::clone(self);
        self.tasks.spawn(async move {
            let looks = due.into_iter().map(|sandbox| {
                let app = Arc::clone(&app);
                async move {
                    if let Err(e) = app.look_at_cpu(&sandbox).await {
                        tracing::debug!(sandbox = %sandbox.id, error = chain(&e), "its cpu use is not known");
                    }
                }
            });
            stream::iter(looks).buffer_unordered(LOOKS).collect::<()>().await;
        });
    }

    /// Looks at a sandbox's use of the cpu, and records it as evidence if it was above the threshold since the last look.
    async fn look_at_cpu(&self, sandbox: &Sandbox) -> Result<()> {
        let (Some(threshold), Some(container)) = (self.threshold(sandbox), &sandbox.container) else { return Ok(()) };
        let told = self.engine.cpu_time(container).await;
        let used = told.map_err(|e: EngineError| super::Error::engine("its cpu use could not be looked at", e))?;
        let (at, steady) = (self.clock.now(), self.clock.steady());
        let fresh = CpuSample { generation: sandbox.generation, at, steady, used, compared: false };
        let works = {
            let mut pulse = self.pulse();
            let before = pulse.cpu.get(&sandbox.id).copied().filter(|b| b.generation == sandbox.generation);
            let passed = before.map(|b| steady.saturating_sub(b.steady));
            if passed.is_some_and(|passed| passed < LEAST) {
                return Ok(());
            }
            pulse.cpu.insert(sandbox.id.clone(), CpuSample { compared: before.is_some(), ..fresh });
            let Some((before, passed)) = before.zip(passed) else { return Ok(()) };
            let percent = used.saturating_sub(before.used).as_secs_f64() / passed.as_secs_f64() * 100.0;
            percent >= f64::from(threshold)
        };
        if works {
            let evidence = Evidence { source: Source::Cpu, at };
            self.store.record_use(vec![(sandbox.id.clone(), sandbox.generation, evidence)]).await?;
        }
        Ok(())
    }

    /// Looks at a sandbox for which cpu counts before it is stopped for being idle. False if nothing can be said yet: that
    /// is no reason to stop it.
    pub(super) async fn is_cpu_known(&self, sandbox: &Sandbox) -> Result<bool> {
        if self.threshold(sandbox).is_none() {
            return Ok(true);
        }
        self.look_at_cpu(sandbox).await?;
        let pulse = self.pulse();
        let sample = pulse.cpu.get(&sandbox.id).filter(|s| s.generation == sandbox.generation);
        Ok(sample.is_some_and(|s| s.compared))
    }
}
