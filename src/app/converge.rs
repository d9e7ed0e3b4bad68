//! Converge: the one pass. Gather, decide, apply, report. Only it stops a sandbox for being idle.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};

use super::{App, CheckInDoor, Error, Result, chain, plus};
use crate::{
    domain::{
        ContainerId, Grace, Observed, Phase, Plan, Sandbox, SandboxId, Step, plan,
        rules::{Rule, broken},
    },
    engine::EngineError,
};

/// How many quick looks are under way at once.
const LOOKS: usize = 32;

/// How long a close look at one container may take, and how long the pass waits for what it recorded.
const CLOSE_LOOK: Duration = Duration::from_secs(2);

/// The largest jump of the clock that is none: a correction by the time service.
pub(super) const JUMP: SignedDuration = SignedDuration::from_secs(10);

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
    /// Why the engine could not be looked at; then nothing was decided.
    pub engine_error: Option<EngineError>,
    /// Why the store could not be read; then nothing was decided.
    pub store_error: Option<String>,
    /// Until when nothing is stopped for being idle.
    pub hold_until: Option<Timestamp>,
    /// How long until the next deadline.
    pub wake_in: Option<Duration>,
}

impl ConvergeReport {
    /// Whether the pass has looked. `doing`: what fails if it has not.
    ///
    /// # Errors
    /// [`Error::EngineAway`], [`Error::Engine`], [`Error::DatabaseAway`].
    pub(super) fn has_looked(self, doing: &'static str) -> Result<()> {
        match (self.engine_error, self.store_error) {
            (Some(e), _) => Err(Error::engine(doing, e)),
            (None, Some(why)) => Err(Error::DatabaseAway(why)),
            (None, None) => Ok(()),
        }
    }
}

impl App {
    /// One pass; a second caller waits for the first. Steps that wait for the engine go on after it, so
    /// that a slow sandbox delays nobody.
    pub async fn converge(self: &Arc<Self>) -> ConvergeReport {
        let _single_flight = self.pass.lock().await;
        let mut report = ConvergeReport { at: Some(self.clock.now()), ..ConvergeReport::default() };
        if let Err(e) = self.pass(&mut report).await {
            tracing::error!(error = chain(&e), "a pass could not read the store");
            report.store_error = Some(match e {
                Error::DatabaseAway(why) => why,
                e => e.to_string(),
            });
            // Nobody looked: the next pass that does begins with a grace.
            self.pulse().impaired = true;
        }
        self.pulse().report = Some(report.clone());
        report
    }

    async fn pass(self: &Arc<Self>, report: &mut ConvergeReport) -> Result<()> {
        // What moved until now belongs to what is decided on (`IDLENESS.md`, rule 14), by the clock of then.
        let counted = if broken(Rule::NewestEvidence) { Ok(()) } else { self.collect().await };
        self.note_relay(&counted);
        // Not before all that moved by the clock of then is recorded.
        if counted.is_ok() {
            self.follow_clock().await?;
        }
        let (now, steady) = (self.clock.now(), self.clock.steady());
        report.at = Some(now);
        // Rows first, then the engine: what is made in between is then a stranger, never an absence.
        let known = self.known().await?;
        report.known = known.len();
        let (suspects, all) = {
            let mut pulse = self.pulse();
            (std::mem::take(&mut pulse.suspects), std::mem::take(&mut pulse.suspect_all))
        };
        let observed = self.look(&suspects, all).await;
        let recorded = self.is_recording().await;
        let grace = self.renew_grace(now, steady, observed.is_ok() && counted.is_ok(), recorded);
        report.hold_until = grace.map(|grace| grace.end()).filter(|end| *end > now);
        self.pulse().relay_is_away = counted.is_err();
        let observed = match observed {
            Ok(observed) => observed,
            Err(e) => {
                report.engine_error = Some(e);
                // Containers may run while their engine is away.
                self.tell_relay().await;
                return Ok(());
            }
        };
        report.observed = observed.len();
        {
            let mut pulse = self.pulse();
            pulse.engine_is_back = std::mem::take(&mut pulse.engine_was_away);
        }
        self.tell_where_to_check_in(&known).await;
        let plan = plan(&known, &observed, &self.settings.policy, grace, now);
        self.note(&known, grace, now).await;
        self.sample_cpu(&known, now);
        report.steps = plan.steps.len();
        report.wake_in = plan.wake_at.and_then(|at| Duration::try_from(at.duration_since(now)).ok());
        let steps = self.without_sudden_absence(plan.steps, &known, &observed, &suspects);
        self.apply(Plan { steps, ..plan }, known).await;
        self.tell_relay().await;
        Ok(())
    }

    /// All rows, none of which says anything of a time that is still to come. Where the clock was set back it would keep
    /// its sandbox until the clock is there again; it counts as of now instead.
    async fn known(&self) -> Result<Vec<Arc<Sandbox>>> {
        let known = self.store.all().await?;
        let now = self.clock.now();
        let grace_end = plus(now, self.settings.resume_grace);
        let is_after = |at: Timestamp, end| at.duration_since(end) > JUMP;
        let is_ahead =
            |s: &Sandbox| is_after(s.latest(), now) || s.life.spared_until.is_some_and(|at| is_after(at, grace_end));
        if !known.iter().any(|s| is_ahead(s)) {
            return Ok(known);
        }
        let sandboxes = self.store.clamp(now, JUMP, grace_end).await?;
        tracing::warn!(sandboxes, "records were ahead of the clock and are as of now; was it set back?");
        Ok(self.store.all().await?)
    }

    /// Begins to do what was planned, and waits for what is quick.
    async fn apply(self: &Arc<Self>, plan: Plan, known: Vec<Arc<Sandbox>>) {
        let is_idle = plan.steps.is_empty();
        let wanted = known.iter().filter(|_| !is_idle);
        let known: HashMap<&SandboxId, &Arc<Sandbox>> = wanted.map(|s| (&s.id, s)).collect();
        // Who is told a time must be able to rely on it.
        if !self.pulse().impaired {
            plan.warnings.into_iter().for_each(|id| self.warn(id));
        }
        let mut quick = Vec::new();
        for step in plan.steps {
            let sandbox = step.sandbox().and_then(|id| known.get(id)).map(|s| Sandbox::clone(s));
            let is_quick = step.is_quick();
            let task = self.dispatch(step, sandbox);
            quick.extend(task.filter(|_| is_quick || broken(Rule::NobodyDelaysOthers)));
        }
        // Whoever asked for this pass finds in the rows what it saw; who is slow goes on without being waited for.
        let recorded = futures_util::future::join_all(quick);
        if self.pulse().passed && !broken(Rule::NobodyDelaysOthers) {
            let _ = tokio::time::timeout(CLOSE_LOOK, recorded).await;
        } else {
            // The first pass is complete when all that was lost is adopted, and that is recorded; creations wait for it.
            let failures = self.store.failures();
            recorded.await;
            self.pulse().passed |= self.store.failures() == failures;
        }
    }

    async fn tell_relay(&self) {
        if let Err(e) = self.publish_all().await
            && !self.misses_relay(&e)
        {
            tracing::warn!(error = chain(&e), "the relay is told in the next pass");
        }
    }

    /// Takes out the forgetting of everything at once. An engine that shows nothing where there were several, and
    /// told of no removal, is rather another engine, or one whose disk is not there yet: nothing is forgotten on
    /// its word. Whoever did remove all containers while nobody watched can delete the sandboxes.
    fn without_sudden_absence(
        &self,
        mut steps: Vec<Step>,
        known: &[Arc<Sandbox>],
        observed: &[Observed],
        suspects: &HashSet<ContainerId>,
    ) -> Vec<Step> {
        let visible: Vec<_> = known.iter().filter(|s| s.life.state.is_visible()).collect();
        let told = visible.iter().any(|s| s.container.as_ref().is_some_and(|c| suspects.contains(c)));
        let sudden = observed.is_empty() && visible.len() > 1 && !told;
        if sudden {
            steps.retain(|step| !matches!(step, Step::Forget(_)));
        }
        let mut pulse = self.pulse();
        if sudden && !pulse.all_absent {
            tracing::error!(
                sandboxes = visible.len(),
                "the engine shows none of the sandboxes; is it another engine, or is its disk missing? none is forgotten"
            );
        }
        pulse.all_absent = sudden;
        steps
    }

    /// Looks at the engine: the network, then all containers, those closely to which something happened.
    async fn look(
        &self,
        suspects: &HashSet<ContainerId>,
        all: bool,
    ) -> std::result::Result<Vec<Observed>, EngineError> {
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
            let (again, waiting) = self.mute(all);
            let (again, waiting) = (&again, &waiting);
            let close = |o: &Observed| {
                let is_suspect = all || suspects.contains(&o.container) || again.contains(&o.container);
                o.phase == Phase::Running && is_suspect
            };
            let looks = observed.into_iter().map(|mut o| async move {
                o.ended_by = (o.phase == Phase::Exited).then(|| self.ended_by(&o.container));
                match o {
                    // It may have been changed; its end is looked at by whoever records it.
                    o if o.phase == Phase::Exited && suspects.contains(&o.container) => {
                        let close = self.engine.inspect(&o.container).await;
                        let close = close.ok().filter(|close| close.phase == Phase::Exited);
                        Ok(Some(close.map_or(o.clone(), |close| Observed { ended_by: o.ended_by, ..close })))
                    }
                    o if waiting.contains(&o.container) => Ok(Some(Observed { phase: Phase::Unclear, ..o })),
                    o if close(&o) => self.look_closely(o, again).await,
                    o => Ok(Some(o)),
                }
            });
            let looked: Vec<_> = stream::iter(looks).buffer_unordered(LOOKS).collect().await;
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
            pulse.engine_was_away = true;
        }
        looked
    }

    /// Tells all sandboxes where the check-in door is and how often to report, once after each start of ours: the
    /// configuration may have changed either, and who reports to the old place or too rarely would be taken for idle.
    async fn tell_where_to_check_in(&self, known: &[Arc<Sandbox>]) {
        let Some(told) = self.reporting().filter(|now| self.pulse().told.as_ref() != Some(now)) else { return };
        let mut all_told = true;
        for sandbox in known.iter().filter(|s| s.life.state.is_visible()) {
            if let Err(e) = self.engine.furnish(sandbox, &told).await {
                tracing::warn!(sandbox = %sandbox.id, error = %e, "it may check in at a place that is no more");
                all_told = false;
            }
        }
        if all_told {
            self.pulse().told = Some(told);
        }
    }

    /// Of the containers of which the engine does not tell: those that are looked at again in this pass, so few that they
    /// delay nobody, and those that wait for their turn.
    fn mute(&self, all: bool) -> (HashSet<ContainerId>, HashSet<ContainerId>) {
        let mut pulse = self.pulse();
        let turn = if all { pulse.mute.len() } else { LOOKS.min(pulse.mute.len()) };
        (pulse.mute.drain(..turn).collect(), pulse.mute.iter().cloned().collect())
    }

    /// Looks at one container. One that the engine does not tell of is left alone and looked at again later, when those
    /// have had their turn that were mute before.
    async fn look_closely(
        &self,
        shallow: Observed,
        again: &HashSet<ContainerId>,
    ) -> std::result::Result<Option<Observed>, EngineError> {
        match tokio::time::timeout(CLOSE_LOOK, self.engine.inspect(&shallow.container)).await {
            Ok(Ok(close)) => Ok(Some(close)),
            // Gone since the list was made.
            Ok(Err(EngineError::NoContainer)) => Ok(None),
            Ok(Err(e @ EngineError::Unavailable(_))) => Err(e),
            Ok(Err(_)) | Err(_) => {
                if !again.contains(&shallow.container) {
                    tracing::warn!(container = %shallow.container, "the engine does not tell of this container");
                }
                self.pulse().mute.push_back(shallow.container.clone());
                Ok(Some(Observed { phase: Phase::Unclear, ..shallow }))
            }
        }
    }

    /// Whether a sandbox is not to be stopped now, as far as the last pass and what was heard since tell.
    pub(super) fn is_held(&self, sandbox: &Sandbox) -> bool {
        let pulse = self.pulse();
        let is_open = matches!(pulse.door, CheckInDoor::Open(_));
        let has_lost = self.has_lost(&pulse);
        let is_graced = pulse.grace.is_some_and(|grace| self.clock.now() < grace.end_for(sandbox));
        !broken(Rule::GraceAfterTrouble) && (!is_open || has_lost || pulse.impaired || is_graced)
    }

    /// The grace in which nothing is stopped. It begins anew whenever sandboxes may have
    /// been unable to report: at our start, while we could not look, while what they report could not be recorded, while
    /// the check-in door was not open, and after a gap or a jump of the clock (`IDLENESS.md`, rule 7).
    fn renew_grace(&self, now: Timestamp, steady: Duration, looked: bool, recorded: bool) -> Option<Grace> {
        let mut pulse = self.pulse();
        let tolerance = SignedDuration::try_from(self.settings.converge_every * 2 + LATENESS).ok();
        let on_time = pulse.last_pass.is_some_and(|(last, last_steady)| {
            let gap = now.duration_since(last);
            // What the clock says has passed, less what has: the clock's own jump.
            let passed = SignedDuration::try_from(steady.saturating_sub(last_steady)).unwrap_or(SignedDuration::MAX);
            let jump = gap.saturating_sub(passed);
            tolerance.is_some_and(|t| gap <= t) && jump.abs() <= JUMP
        });
        let impaired =
            !(looked || broken(Rule::CouldNotLook)) || !recorded || !matches!(pulse.door, CheckInDoor::Open(_));
        if !on_time || impaired || pulse.impaired {
            pulse.grace = Some(self.grace_since(now));
        }
        pulse.impaired = impaired;
        pulse.last_pass = Some((now, steady));
        pulse.grace = pulse.grace.filter(|grace| !grace.is_over(now) && !broken(Rule::GraceAfterTrouble));
        pulse.grace
    }
}
