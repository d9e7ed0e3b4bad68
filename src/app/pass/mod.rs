//! Pass: gather, decide, apply, report. Only the pass stops a sandbox for being idle.

mod clock;
mod execs;
mod follow;
mod look;
mod notes;
mod steps;
mod stop;
mod warn;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::{
    ConvergeReport, Error, Result, Settings, actions::Actions, chain, next::Next, records::Records, usage::Usage,
    vitals::Vitals, work::Work,
};
use crate::{
    clock::{RecordClock, Stopwatch},
    domain::{
        Awaiting, ContainerId, LatelyBy, Plan, Sandbox, SandboxId, plan,
        rules::{Rule, broken},
    },
    engine::{CheckIn, Engine},
};

/// How long a close look at one container may take, and how long the pass waits for its records.
const CLOSE_LOOK: Duration = Duration::from_secs(2);

/// How many steps of a pass the engine gets at once.
const HANDS: usize = 64;

/// How many sandboxes are warned at once; each warning starts a process in one.
const VOICES: usize = 16;

/// What a pass remembers for the next, in memory only: after a crash it is rebuilt, and errs on the safe side.
#[derive(Debug, Default)]
struct Own {
    /// The place and period of check-ins that all sandboxes were told.
    told: Option<CheckIn>,
    /// Containers the engine cannot describe, least recently tried first.
    mute: VecDeque<ContainerId>,
    /// The engine failed to answer since the last complete look.
    engine_was_away: bool,
    /// The deadlines we wait for.
    awaiting: Awaiting,
    /// Who is being warned.
    being_warned: HashSet<SandboxId>,
    /// Who has used each running sandbox lately.
    uses: HashMap<SandboxId, LatelyBy>,
}

/// The one pass, whoever wakes it. Its first fields are the parts that it uses, each by itself.
pub struct Pass {
    work: Arc<Work>,
    records: Arc<Records>,
    actions: Arc<Actions>,
    usage: Arc<Usage>,
    vitals: Arc<Vitals>,
    next: Arc<Next>,
    engine: Arc<dyn Engine>,
    clock: Arc<RecordClock>,
    settings: Arc<Settings>,
    tasks: TaskTracker,
    hands: Semaphore,
    voices: Semaphore,
    /// Held while a pass is under way.
    turn: tokio::sync::Mutex<()>,
    own: Mutex<Own>,
}

impl Pass {
    /// Puts the parts together.
    pub fn new(work: &Arc<Work>, tasks: TaskTracker) -> Arc<Self> {
        Arc::new(Self {
            work: Arc::clone(work),
            records: Arc::clone(&work.records),
            actions: Arc::clone(&work.records.actions),
            usage: Arc::clone(&work.usage),
            vitals: Arc::clone(&work.vitals),
            next: Arc::clone(&work.next),
            engine: Arc::clone(&work.engine),
            clock: Arc::clone(&work.clock),
            settings: Arc::clone(&work.settings),
            tasks,
            hands: Semaphore::new(HANDS),
            voices: Semaphore::new(VOICES),
            turn: tokio::sync::Mutex::default(),
            own: Mutex::default(),
        })
    }

    fn own(&self) -> MutexGuard<'_, Own> {
        self.own.lock().expect("no holder panics")
    }

    /// Gives no more warnings.
    pub fn close(&self) {
        self.voices.close();
    }

    /// Makes one pass; a second caller waits for the first. Steps that wait for the engine go on after the pass, so
    /// that a slow sandbox delays nobody.
    pub async fn converge(self: &Arc<Self>) -> ConvergeReport {
        let _turn = self.turn.lock().await;
        let took = Stopwatch::start();
        let mut report = ConvergeReport { at: Some(self.clock.now()), ..ConvergeReport::default() };
        if let Err(e) = self.pass(&mut report).await {
            tracing::error!(error = chain(&e), "a pass could not read the store");
            report.store_error = Some(match e {
                Error::DatabaseAway(why) => why,
                e => e.to_string(),
            });
            // This pass could not look: the next one that can begins with a grace.
            self.vitals.impair();
        }
        self.records.tally.passed(took.elapsed());
        self.vitals.set_report(report.clone());
        report
    }

    async fn pass(self: &Arc<Self>, report: &mut ConvergeReport) -> Result<()> {
        // The decision needs all use until now (`IDLENESS.md`, rule 14), counted by the clock as it was before.
        let counted = self.usage.collect_for_pass().await;
        // First record all use by the old clock, then follow the new one.
        if counted.is_ok() {
            self.follow_clock().await?;
        }
        let (now, steady) = (self.clock.now(), self.clock.steady());
        report.at = Some(now);
        // Read the rows first, then the engine: a sandbox made in between looks like a stranger, never like a loss.
        let known = self.known().await?;
        report.known = known.len();
        let suspects = self.next.take();
        let observed = self.look(&suspects).await;
        let recorded = self.vitals.is_recording().await;
        let grace = self.vitals.renew_grace(now, steady, observed.is_ok() && counted.is_ok(), recorded);
        report.hold_until = grace.map(|grace| grace.end()).filter(|end| *end > now);
        let observed = match observed {
            Ok(observed) => observed,
            Err(e) => {
                report.engine_error = Some(e);
                // Containers may run on while the engine is away.
                self.records.publish_all().await;
                return Ok(());
            }
        };
        report.observed = observed.len();
        let engine_was_away = std::mem::take(&mut self.own().engine_was_away);
        self.tell_where_to_check_in(&known).await;
        let mut plan = plan(&known, &observed, &self.settings.policy, grace, now);
        self.note(&known, grace, now).await;
        self.tell_of_use(&known, now);
        self.end_left_execs().await;
        self.usage.sample_cpu(&known, now);
        report.steps = plan.steps.len();
        report.wake_in = plan.wake_at.and_then(|at| Duration::try_from(at.duration_since(now)).ok());
        self.actions.forget_old();
        self.vitals.set_all_absent(plan.doubt_absence(&known, &observed, &suspects.containers));
        self.apply(plan, &known, engine_was_away).await;
        self.records.publish_all().await;
        // In the end, so that a slow disk delays no step.
        self.work.catch_up(&known).await;
        Ok(())
    }

    /// Begins the planned steps, and waits for the quick ones.
    async fn apply(self: &Arc<Self>, plan: Plan, known: &[Arc<Sandbox>], engine_was_away: bool) {
        let is_idle = plan.steps.is_empty();
        let wanted = known.iter().filter(|_| !is_idle);
        let known: HashMap<&SandboxId, &Arc<Sandbox>> = wanted.map(|s| (&s.id, s)).collect();
        // Those who are told a time must be able to rely on it.
        if !self.vitals.is_impaired() {
            plan.warnings.into_iter().for_each(|id| self.warn(id));
        }
        let mut quick = Vec::new();
        for step in plan.steps {
            let sandbox = step.sandbox().and_then(|id| known.get(id)).map(|s| Sandbox::clone(s));
            let is_quick = step.is_quick();
            let task = self.dispatch(step, sandbox, engine_was_away);
            quick.extend(task.filter(|_| is_quick || broken(Rule::NobodyDelaysOthers)));
        }
        // A caller of this pass finds in the rows what it saw. A slow step goes on, and nobody waits for it.
        let recorded = futures_util::future::join_all(quick);
        if self.vitals.has_begun() && !broken(Rule::NobodyDelaysOthers) {
            let _ = tokio::time::timeout(CLOSE_LOOK, recorded).await;
        } else {
            // The first pass is complete when all lost sandboxes are adopted and recorded; creations wait for that.
            let failures = self.records.store.failures();
            recorded.await;
            if self.records.store.failures() == failures {
                self.vitals.begin();
            }
        }
    }

    /// Tells all sandboxes where the check-in door is and how often to report, once after each start of ours. The
    /// configuration may have changed: a sandbox that reports to the old place, or too rarely, would seem idle.
    async fn tell_where_to_check_in(&self, known: &[Arc<Sandbox>]) {
        let Some(told) = self.vitals.reporting().filter(|now| self.own().told.as_ref() != Some(now)) else { return };
        let mut all_told = true;
        for sandbox in known.iter().filter(|s| s.life.state.is_visible()) {
            if let Err(e) = self.engine.furnish(sandbox, &told).await {
                tracing::warn!(sandbox = %sandbox.id, error = %e, "it may check in at a place that is no more");
                all_told = false;
            }
        }
        if all_told {
            self.own().told = Some(told);
        }
    }
}
