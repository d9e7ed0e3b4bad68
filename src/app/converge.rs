//! Converge: the one pass. Gather, decide, apply, report. Only it stops a sandbox for being idle.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};

use super::{App, CheckInDoor, Result, chain, plus, steps::Outcome};
use crate::{
    domain::{ContainerId, Observed, Phase, Policy, Sandbox, SandboxId, Step, plan},
    engine::EngineError,
};

/// How many quick looks are under way at once.
const LOOKS: usize = 8;

/// Beyond two periods, how late a pass may be before sandboxes are given a grace.
const LATENESS: Duration = Duration::from_secs(10);

/// What one pass found and did.
#[derive(Debug, Clone, Default)]
pub struct ConvergeReport {
    /// When it began.
    pub at: Option<Timestamp>,
    /// How many sandboxes we knew.
    pub known: usize,
    /// How many containers the engine showed.
    pub observed: usize,
    /// How many steps were due.
    pub steps: usize,
    /// Those of them that failed at once, in words.
    pub failures: Vec<String>,
    /// Why the engine could not be looked at; then nothing was decided.
    pub engine_error: Option<EngineError>,
    /// Why the store could not be read; then nothing was decided.
    pub store_error: Option<String>,
    /// Until when nothing is stopped for being idle.
    pub hold_until: Option<Timestamp>,
    /// How long until the next deadline.
    pub wake_in: Option<Duration>,
}

impl App {
    /// One pass; a second caller waits for the first. Steps that wait for the engine go on after it, so
    /// that a slow sandbox delays nobody.
    pub async fn converge(self: &Arc<Self>) -> ConvergeReport {
        let _single_flight = self.pass.lock().await;
        let now = self.clock.now();
        let mut report = ConvergeReport { at: Some(now), ..ConvergeReport::default() };
        if let Err(e) = self.pass(now, &mut report).await {
            tracing::error!(error = chain(&e), "a pass could not read the store");
            report.store_error = Some(e.to_string());
        }
        self.pulse().report = Some(report.clone());
        report
    }

    async fn pass(self: &Arc<Self>, now: Timestamp, report: &mut ConvergeReport) -> Result<()> {
        // Rows first, then the engine: what is made in between is then a stranger, never an absence.
        let known = self.store.all().await?;
        report.known = known.len();
        let observed = self.look().await;
        report.hold_until = self.hold(now, observed.is_ok());
        let observed = match observed {
            Ok(observed) => observed,
            Err(e) => {
                report.engine_error = Some(e);
                return Ok(());
            }
        };
        report.observed = observed.len();
        self.tell_where_to_check_in(&known).await;
        let policy = Policy { limit: self.settings.idle_limit, hold_until: report.hold_until };
        let plan = plan(&known, &observed, &policy, now);
        report.steps = plan.steps.len();
        report.wake_in = plan.wake_at.and_then(|at| Duration::try_from(at.duration_since(now)).ok());
        let mut known: HashMap<SandboxId, Sandbox> = known.into_iter().map(|s| (s.id.clone(), s)).collect();
        let mut quick = Vec::new();
        for step in plan.steps {
            let sandbox = step.sandbox().and_then(|id| known.remove(id));
            match step {
                Step::StopIdle { .. }
                | Step::FinishStop(_)
                | Step::FinishStart(_)
                | Step::FinishDelete(_)
                | Step::Discard(_)
                | Step::RemoveOrphan(..) => self.dispatch(step, sandbox),
                _ => quick.push(self.carry_out(step, sandbox)),
            }
        }
        let outcomes: Vec<Outcome> = stream::iter(quick).buffer_unordered(LOOKS).collect().await;
        report.failures = outcomes
            .into_iter()
            .filter_map(|o| match o {
                Outcome::Failed(why) => Some(why),
                Outcome::Done | Outcome::Dropped => None,
            })
            .collect();
        Ok(())
    }

    /// Looks at the engine: the network, then all containers, those closely to which something happened.
    async fn look(&self) -> std::result::Result<Vec<Observed>, EngineError> {
        let (suspects, all) = {
            let mut pulse = self.pulse();
            (std::mem::take(&mut pulse.suspects), std::mem::take(&mut pulse.suspect_all))
        };
        let looked = async {
            if all {
                let info = self.engine.info().await?;
                let gateway = self.engine.prepare().await?;
                let mut pulse = self.pulse();
                if !matches!(pulse.engine, Some(Ok(_))) {
                    tracing::info!(version = info.version, api_version = info.api_version, "the engine answers");
                }
                pulse.gateway = Some(gateway);
                pulse.engine = Some(Ok(info));
            }
            let observed = self.engine.list().await?;
            let close = |o: &Observed| o.phase == Phase::Running && (all || suspects.contains(&o.container));
            let looks = observed
                .into_iter()
                .map(|o| async move { if close(&o) { self.look_closely(o).await } else { Ok(Some(o)) } });
            let looked: Vec<_> = stream::iter(looks).buffered(LOOKS).collect().await;
            looked.into_iter().filter_map(std::result::Result::transpose).collect()
        }
        .await;
        if let Err(e) = &looked {
            let mut pulse = self.pulse();
            if !matches!(pulse.engine, Some(Err(_))) {
                tracing::warn!(error = %e, "the engine cannot be looked at; nothing is stopped or forgotten");
            }
            pulse.engine = Some(Err(e.to_string()));
            pulse.suspect_all = true;
        }
        looked
    }

    /// Tells all sandboxes where the check-in door is, once after each start of ours: the configuration may
    /// have moved it, and who reports to the old place would be taken for idle.
    async fn tell_where_to_check_in(&self, known: &[Sandbox]) {
        let Some(url) = self.door_url().filter(|url| self.pulse().told_url.as_ref() != Some(url)) else { return };
        for sandbox in known {
            if let Err(e) = self.engine.tell_check_in_url(&sandbox.id, &url).await {
                tracing::warn!(sandbox = %sandbox.id, error = %e, "a sandbox may check in at a place that is no more");
            }
        }
        self.pulse().told_url = Some(url);
    }

    async fn look_closely(&self, shallow: Observed) -> std::result::Result<Option<Observed>, EngineError> {
        let container: ContainerId = shallow.container.clone();
        match self.engine.inspect(&container).await {
            Ok(close) => Ok(Some(close)),
            // Gone since the list was made.
            Err(EngineError::NoContainer) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Until when nothing is stopped for being idle. A grace begins anew whenever sandboxes may have
    /// been unable to report: at our start, while we could not look, while the check-in door was not
    /// open, and after a gap or a jump of the clock (`idleness.md`, rule 7).
    fn hold(&self, now: Timestamp, looked: bool) -> Option<Timestamp> {
        let mut pulse = self.pulse();
        let tolerance = SignedDuration::try_from(self.settings.converge_every * 2 + LATENESS).ok();
        let on_time = pulse.last_pass.is_some_and(|last| {
            let gap = now.duration_since(last);
            !gap.is_negative() && tolerance.is_some_and(|t| gap <= t)
        });
        let impaired = !looked || !matches!(pulse.door, CheckInDoor::Open(_));
        if !on_time || impaired || pulse.impaired {
            pulse.hold_until = Some(plus(now, self.settings.resume_grace));
        }
        pulse.impaired = impaired;
        pulse.last_pass = Some(now);
        pulse.hold_until = pulse.hold_until.filter(|&until| until > now);
        pulse.hold_until
    }
}
