//! Cpu: measure whether a sandbox's programs work, where the policy counts that.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use jiff::Timestamp;

use super::Usage;
use crate::{
    app::{Error, Result, chain},
    domain::{Evidence, Sandbox, SandboxId, Source, State},
};

/// The shortest time over which use is measured: in a shorter one, the start of a program looks like work.
const LEAST: Duration = Duration::from_secs(1);

/// How many sandboxes are measured at once.
const LOOKS: usize = 4;

/// What we know of each sandbox's use of the cpu.
pub(super) type Samples = HashMap<SandboxId, CpuSample>;

/// What we know of a sandbox's use of the cpu.
#[derive(Debug, Clone, Copy)]
pub(super) struct CpuSample {
    generation: u64,
    /// When the engine was last asked.
    asked_at: Timestamp,
    /// How much it had used, and when, by the steady clock.
    last: Option<(Duration, Duration)>,
    /// There were two measurements, so the use between them is known.
    compared: bool,
}

impl Usage {
    fn threshold(&self, sandbox: &Sandbox) -> Option<u32> {
        self.settings.policy.of(sandbox).evidence.cpu.filter(|_| matches!(sandbox.life.state, State::Running { .. }))
    }

    /// Measures the sandboxes for which cpu counts, each once in a report period, as a task of its own, so that a slow
    /// engine delays no pass. Only one such task runs at a time.
    pub fn sample_cpu(self: &Arc<Self>, known: &[Arc<Sandbox>], now: Timestamp) {
        let counting: Vec<_> = known.iter().filter(|s| self.threshold(s).is_some()).collect();
        let Some(looking) = Arc::clone(&self.cpu_looks).try_lock_owned().ok().filter(|_| !counting.is_empty()) else {
            return;
        };
        let due: Vec<Arc<Sandbox>> = {
            let mut samples = self.cpu();
            let mut is_due = |sandbox: &Sandbox| {
                let never =
                    CpuSample { generation: sandbox.life.generation, asked_at: now, last: None, compared: false };
                let sample = samples.entry(sandbox.id.clone()).or_insert(CpuSample { generation: u64::MAX, ..never });
                if sample.generation != sandbox.life.generation {
                    *sample = never;
                    return true;
                }
                let age = Duration::try_from(now.duration_since(sample.asked_at));
                // After the clock was set back, ask again too.
                let is_due = age.is_err() || age.is_ok_and(|age| age >= self.settings.report_period);
                if is_due {
                    sample.asked_at = now;
                }
                is_due
            };
            counting.into_iter().filter(|s| is_due(s)).cloned().collect()
        };
        if due.is_empty() {
            return;
        }
        let usage = Arc::clone(self);
        self.tasks.spawn(async move {
            let _looking = looking;
            let looks = due.into_iter().map(|sandbox| {
                let usage = Arc::clone(&usage);
                async move {
                    if let Err(e) = usage.look_at_cpu(&sandbox).await {
                        tracing::debug!(sandbox = %sandbox.id, error = chain(&e), "its cpu use is not known");
                    }
                }
            });
            stream::iter(looks).buffer_unordered(LOOKS).collect::<()>().await;
        });
    }

    /// Measures a sandbox's use of the cpu since the last look, if that counts. Use above the threshold since then is
    /// recorded as evidence.
    pub async fn look_at_cpu(&self, sandbox: &Sandbox) -> Result<()> {
        let (Some(threshold), Some(container)) = (self.threshold(sandbox), &sandbox.container) else { return Ok(()) };
        let told = self.engine.cpu_time(container).await;
        let used = told.map_err(|e| Error::engine("its cpu use could not be looked at", e))?;
        let (at, steady) = (self.clock.now(), self.clock.steady());
        let before = self.cpu().get(&sandbox.id).copied().filter(|b| b.generation == sandbox.life.generation);
        let last = before.and_then(|b| b.last);
        if let Some((used_before, then)) = last {
            let passed = steady.saturating_sub(then);
            if passed < LEAST {
                return Ok(());
            }
            let percent = used.saturating_sub(used_before).as_secs_f64() / passed.as_secs_f64() * 100.0;
            if percent >= f64::from(threshold) {
                let evidence = Evidence { source: Source::Cpu, at };
                self.records.store.record_use(vec![(sandbox.id.clone(), sandbox.life.generation, evidence)]).await?;
            }
        }
        let fresh = CpuSample {
            generation: sandbox.life.generation,
            asked_at: at,
            last: Some((used, steady)),
            compared: last.is_some(),
        };
        self.cpu().insert(sandbox.id.clone(), fresh);
        Ok(())
    }

    /// Whether we know a sandbox's recent use of the cpu; true where that does not count.
    pub(super) fn is_cpu_known(&self, sandbox: &Sandbox, samples: &Samples) -> bool {
        let is_known = |s: &CpuSample| s.generation == sandbox.life.generation && s.compared;
        self.threshold(sandbox).is_none() || samples.get(&sandbox.id).is_some_and(is_known)
    }
}
