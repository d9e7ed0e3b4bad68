//! The plan: what to do, given what we know, what the engine shows, the policy and now.

use std::{
    borrow::Borrow,
    collections::{HashMap, HashSet},
};

use jiff::Timestamp;

use super::{
    grace::Grace,
    idle::{Deadline, Verdict, Warning, verdict, warning},
    names::{ContainerId, SandboxId},
    observed::{Observed, Phase},
    policy::Policy,
    reach::Reach,
    sandbox::{Sandbox, State, StopReason},
    seen::EndedBy,
};

/// One thing to do. It names the facts behind its decision, so that they can be checked again before it is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Its deadline has passed: stop it, unless the deadline has moved.
    StopIdle {
        /// The sandbox.
        id: SandboxId,
        /// The deadline that the decision saw.
        seen: Deadline,
    },
    /// A stop was recorded and the container still runs: stop it.
    FinishStop(SandboxId),
    /// A start was recorded and the container does not run: start it.
    FinishStart(SandboxId),
    /// A reset was recorded: make its container anew.
    FinishReset(SandboxId),
    /// A deletion was recorded: remove what is left.
    FinishDelete(SandboxId),
    /// A creation was cut off, and no caller got its sandbox: remove what there is.
    Discard(SandboxId),
    /// The engine shows it running, and the record says otherwise; or it was started again.
    RecordRunning(SandboxId, ContainerId),
    /// An idle stop was cut off, and its decision may be out of date: take it back, once it is clear that the container
    /// does not end by it.
    TakeBack(SandboxId, ContainerId),
    /// The engine shows it stopped, and the record says running or stopping.
    RecordStopped(SandboxId),
    /// It runs; its address, pid or boot differs from the record.
    RecordReach(SandboxId, Reach),
    /// Others have paused, resumed or renamed it, or changed its limits.
    RecordShown(SandboxId, Box<Observed>),
    /// People have changed its name, limits or keys: make the engine do its part, if it has not.
    Settle(SandboxId),
    /// We have heard since who ended its last run.
    RecordEndedBy(SandboxId, EndedBy),
    /// The engine does not show it any more: look once more, then forget it.
    Forget(SandboxId),
    /// A container of ours without a record: rebuild the record from its labels.
    Adopt(ContainerId),
    /// A container of ours without a record that never ran: remove it.
    RemoveOrphan(ContainerId, Option<SandboxId>),
}

impl Step {
    /// Whether it only records what the engine shows; the engine has nothing to do.
    pub fn is_quick(&self) -> bool {
        match self {
            Step::RecordRunning(..)
            | Step::TakeBack(..)
            | Step::RecordStopped(_)
            | Step::RecordReach(..)
            | Step::RecordShown(..)
            | Step::RecordEndedBy(..)
            | Step::Forget(_)
            | Step::Adopt(_) => true,
            Step::StopIdle { .. }
            | Step::FinishStop(_)
            | Step::FinishStart(_)
            | Step::FinishReset(_)
            | Step::FinishDelete(_)
            | Step::Discard(_)
            | Step::Settle(_)
            | Step::RemoveOrphan(..) => false,
        }
    }

    /// The sandbox of this step, if it has a record.
    pub fn sandbox(&self) -> Option<&SandboxId> {
        match self {
            Step::StopIdle { id, .. }
            | Step::FinishStop(id)
            | Step::FinishStart(id)
            | Step::FinishReset(id)
            | Step::FinishDelete(id)
            | Step::Discard(id)
            | Step::RecordRunning(id, _)
            | Step::TakeBack(id, _)
            | Step::RecordStopped(id)
            | Step::RecordReach(id, ..)
            | Step::RecordShown(id, _)
            | Step::Settle(id)
            | Step::RecordEndedBy(id, _)
            | Step::Forget(id) => Some(id),
            Step::Adopt(_) | Step::RemoveOrphan(..) => None,
        }
    }
}

/// What to do now, and when to look again at the latest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The steps, oldest sandbox first; at most one for each sandbox.
    pub steps: Vec<Step>,
    /// Which sandboxes need a warning of a stop.
    pub warnings: Vec<SandboxId>,
    /// The earliest deadline or warning ahead; `None` if only a change can bring one.
    pub wake_at: Option<Timestamp>,
}

impl Plan {
    fn look_again(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }
}

/// Compares what we know with what the engine shows. `observed` must be a complete look: a sandbox that is missing in
/// it counts as gone. `known` must be read before the engine is asked, or a sandbox that is made in between would count
/// as gone. During a grace nothing is stopped.
pub fn plan(
    known: &[impl Borrow<Sandbox>],
    observed: &[Observed],
    policy: &Policy,
    grace: Option<Grace>,
    now: Timestamp,
) -> Plan {
    let by_container: HashMap<&ContainerId, &Observed> = observed.iter().map(|o| (&o.container, o)).collect();
    let by_sandbox: HashMap<&SandboxId, &Observed> =
        observed.iter().filter_map(|o| Some((o.sandbox.as_ref()?, o))).collect();
    let mut plan = Plan::default();
    for sandbox in known.iter().map(Borrow::borrow) {
        let shown = match &sandbox.container {
            Some(container) => by_container.get(container),
            None => by_sandbox.get(&sandbox.id),
        };
        let verdict = verdict(policy, grace, sandbox, now);
        let held = grace.is_some_and(|grace| now < grace.end_for(sandbox));
        plan.steps.extend(step_for(sandbox, shown.copied(), verdict, held));
        if let Verdict::Keep { until: Some(until), .. } = verdict {
            plan.look_again(until);
        }
        match warning(policy, grace, sandbox, now) {
            Warning::None => {}
            Warning::At(at) => plan.look_again(at),
            Warning::Due { .. } => plan.warnings.push(sandbox.id.clone()),
        }
    }
    plan.steps.extend(strangers(known, observed));
    plan
}

impl Plan {
    /// If suddenly all containers are gone, drops the steps that forget their sandboxes, and returns how many there
    /// are. An engine that shows none of several containers, and reported no removal, is probably another engine, or
    /// its disk is not mounted yet: we forget nothing on its word. If somebody did remove all containers unseen, they
    /// can delete the sandboxes.
    pub fn doubt_absence(
        &mut self,
        known: &[impl Borrow<Sandbox>],
        observed: &[Observed],
        told: &HashSet<ContainerId>,
    ) -> Option<usize> {
        let visible: Vec<&Sandbox> = known.iter().map(Borrow::borrow).filter(|s| s.life.state.is_visible()).collect();
        let was_told = visible.iter().any(|s| s.container.as_ref().is_some_and(|c| told.contains(c)));
        let is_sudden = observed.is_empty() && visible.len() > 1 && !was_told;
        if is_sudden {
            self.steps.retain(|step| !matches!(step, Step::Forget(_)));
        }
        is_sudden.then_some(visible.len())
    }
}

/// What to do about one sandbox that we know. First match wins.
fn step_for(sandbox: &Sandbox, shown: Option<&Observed>, verdict: Verdict, held: bool) -> Option<Step> {
    let id = || sandbox.id.clone();
    match (&sandbox.life.state, shown) {
        (State::Deleting, _) => Some(Step::FinishDelete(id())),
        (State::Creating, _) => Some(Step::Discard(id())),
        // Its container may be gone already.
        (State::Resetting { .. }, _) => Some(Step::FinishReset(id())),
        (_, None) => Some(Step::Forget(id())),
        (_, Some(shown)) if matches!(shown.phase, Phase::Removing | Phase::Unclear) => None,
        (State::Running { mark, reach, .. }, Some(shown)) if shown.phase == Phase::Running => {
            if shown.mark.as_ref().is_some_and(|m| m != mark) {
                return Some(Step::RecordRunning(id(), shown.container.clone()));
            }
            let found = Reach { pid: shown.reach.pid.or(reach.pid), boot: reach.boot.clone(), ..shown.reach };
            // An old record has no boot: only a close look shows whether this very start still runs.
            let lacks_boot = reach.boot.is_none() && shown.mark.is_some();
            if found != *reach || lacks_boot {
                return Some(Step::RecordReach(id(), found));
            }
            match verdict {
                Verdict::Stop { because } => Some(Step::StopIdle { id: id(), seen: because }),
                Verdict::Keep { .. } => news(sandbox, shown),
            }
        }
        (State::Stopped { .. } | State::Starting { .. }, Some(shown)) if shown.phase == Phase::Running => {
            Some(Step::RecordRunning(id(), shown.container.clone()))
        }
        // A half-done idle stop is not finished during a grace: its decision may be out of date.
        (State::Stopping { reason, .. }, Some(shown))
            if reason.is_by_deadline() && shown.phase == Phase::Running && held =>
        {
            Some(Step::TakeBack(id(), shown.container.clone()))
        }
        (State::Stopping { .. }, Some(shown)) if shown.phase == Phase::Running => Some(Step::FinishStop(id())),
        (State::Running { .. } | State::Stopping { .. }, Some(_)) => Some(Step::RecordStopped(id())),
        (State::Starting { .. }, Some(_)) => Some(Step::FinishStart(id())),
        (State::Stopped { reason, .. }, Some(shown)) => {
            let known = sandbox.life.seen.ending.as_ref().filter(|_| *reason == StopReason::Exited);
            let by = shown.ended_by.filter(|by| known.is_some_and(|known| by.outranks(known.by)));
            by.map(|by| Step::RecordEndedBy(id(), by)).or_else(|| news(sandbox, shown))
        }
    }
}

/// What others have changed on a sandbox whose state is the same.
fn news(sandbox: &Sandbox, shown: &Observed) -> Option<Step> {
    // Until then nobody knows who changed what.
    if sandbox.life.seen.unsettled {
        return Some(Step::Settle(sandbox.id.clone()));
    }
    let called = sandbox.life.seen.called.as_deref().unwrap_or(sandbox.name.as_str());
    let is_other = shown.name.as_ref().is_some_and(|name| name != called)
        || shown.memory.is_some_and(|memory| memory != sandbox.recipe.memory)
        || shown.cpus.is_some_and(|cpus| cpus != sandbox.recipe.cpus)
        || shown.phase == Phase::Running && shown.paused != sandbox.life.seen.paused;
    is_other.then(|| Step::RecordShown(sandbox.id.clone(), Box::new(shown.clone())))
}

/// What to do about containers of ours without a record.
fn strangers(known: &[impl Borrow<Sandbox>], observed: &[Observed]) -> Vec<Step> {
    let known = || known.iter().map(Borrow::borrow);
    let containers: HashSet<&ContainerId> = known().filter_map(|s: &Sandbox| s.container.as_ref()).collect();
    let is_made = |s: &&Sandbox| s.container.is_none() || matches!(s.life.state, State::Resetting { .. });
    let unfinished: HashSet<&SandboxId> = known().filter(is_made).map(|s| &s.id).collect();
    observed
        .iter()
        .filter(|o| !containers.contains(&o.container))
        .filter(|o| !o.sandbox.as_ref().is_some_and(|id| unfinished.contains(id)))
        .filter_map(|o| match o.phase {
            Phase::Created => Some(Step::RemoveOrphan(o.container.clone(), o.sandbox.clone())),
            Phase::Running | Phase::Exited => Some(Step::Adopt(o.container.clone())),
            Phase::Removing | Phase::Unclear => None,
        })
        .collect()
}

#[cfg(test)]
mod tests;
