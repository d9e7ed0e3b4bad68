//! The plan: what to do, given what we know, what the engine shows, the policy and now.

use std::{
    borrow::Borrow,
    collections::{HashMap, HashSet},
    net::IpAddr,
};

use jiff::Timestamp;

use super::{
    grace::Grace,
    idle::{Deadline, Verdict, Warning, verdict, warning},
    names::{ContainerId, SandboxId},
    observed::{Observed, Phase},
    policy::Policy,
    sandbox::{Sandbox, State, StopReason},
    seen::EndedBy,
};

/// One thing to do. Each names what it was decided on, so that whoever applies it can see whether that
/// still holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Its deadline has passed: stop it, unless that has moved.
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
    /// A deletion was recorded: remove what is left.
    FinishDelete(SandboxId),
    /// A creation was cut off, and nobody was told of it: remove what there is.
    Discard(SandboxId),
    /// The engine shows it running where we knew otherwise, or started anew.
    RecordRunning(SandboxId, ContainerId),
    /// An idle stop was cut off, and what it was decided on may be long past: take it back, once it is clear that the
    /// container does not end by it.
    TakeBack(SandboxId, ContainerId),
    /// The engine shows it stopped where we knew it running or stopping.
    RecordStopped(SandboxId),
    /// It runs under another address, or as another process, than we knew, or in which start of the machine we did not know.
    RecordAddress(SandboxId, Option<IpAddr>, Option<u32>),
    /// Others have paused it, let it go on, renamed it or changed its limits.
    RecordShown(SandboxId, Box<Observed>),
    /// Who ended its last run has been heard of since.
    RecordEndedBy(SandboxId, EndedBy),
    /// The engine does not show it any more: look once more, then forget it.
    Forget(SandboxId),
    /// A container of ours that we know nothing of: rebuild the record from its labels.
    Adopt(ContainerId),
    /// A container of ours that we know nothing of and that never ran: remove it.
    RemoveOrphan(ContainerId, Option<SandboxId>),
}

impl Step {
    /// Whether it only records what the engine shows, without making the engine do anything.
    pub fn is_quick(&self) -> bool {
        match self {
            Step::RecordRunning(..)
            | Step::TakeBack(..)
            | Step::RecordStopped(_)
            | Step::RecordAddress(..)
            | Step::RecordShown(..)
            | Step::RecordEndedBy(..)
            | Step::Forget(_)
            | Step::Adopt(_) => true,
            Step::StopIdle { .. }
            | Step::FinishStop(_)
            | Step::FinishStart(_)
            | Step::FinishDelete(_)
            | Step::Discard(_)
            | Step::RemoveOrphan(..) => false,
        }
    }

    /// The sandbox that this step is about, where it is one that we know.
    pub fn sandbox(&self) -> Option<&SandboxId> {
        match self {
            Step::StopIdle { id, .. }
            | Step::FinishStop(id)
            | Step::FinishStart(id)
            | Step::FinishDelete(id)
            | Step::Discard(id)
            | Step::RecordRunning(id, _)
            | Step::TakeBack(id, _)
            | Step::RecordStopped(id)
            | Step::RecordAddress(id, ..)
            | Step::RecordShown(id, _)
            | Step::RecordEndedBy(id, _)
            | Step::Forget(id) => Some(id),
            Step::Adopt(_) | Step::RemoveOrphan(..) => None,
        }
    }
}

/// What to do now, and when to look again at the latest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The steps, in the order of the sandboxes' ages; each is about another sandbox.
    pub steps: Vec<Step>,
    /// Who is to be warned of a stop.
    pub warnings: Vec<SandboxId>,
    /// The earliest deadline or warning ahead; `None` if only a change can bring one.
    pub wake_at: Option<Timestamp>,
}

impl Plan {
    fn look_again(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }
}

/// Compares what we know with what the engine shows. `observed` must be a complete look: what is missing
/// in it is taken to be gone. `known` must have been read before the engine was asked, so that a sandbox
/// made in between is not taken for a stranger's absence. During a grace nothing is stopped.
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

/// What to do about one sandbox that we know. First match wins.
fn step_for(sandbox: &Sandbox, shown: Option<&Observed>, verdict: Verdict, held: bool) -> Option<Step> {
    let id = || sandbox.id.clone();
    match (&sandbox.life.state, shown) {
        (State::Deleting, _) => Some(Step::FinishDelete(id())),
        (State::Creating, _) => Some(Step::Discard(id())),
        (_, None) => Some(Step::Forget(id())),
        (_, Some(shown)) if matches!(shown.phase, Phase::Removing | Phase::Unclear) => None,
        (State::Running { address, mark, pid, boot, .. }, Some(shown)) if shown.phase == Phase::Running => {
            if shown.mark.as_ref().is_some_and(|m| m != mark) {
                return Some(Step::RecordRunning(id(), shown.container.clone()));
            }
            let process = shown.pid.or(*pid);
            // A record of before boots were kept: that this very start still runs, only a close look tells.
            let lacks_boot = boot.is_none() && shown.mark.is_some();
            if shown.address != *address || process != *pid || lacks_boot {
                return Some(Step::RecordAddress(id(), shown.address, process));
            }
            match verdict {
                Verdict::Stop { because } => Some(Step::StopIdle { id: id(), seen: because }),
                Verdict::Keep { .. } => news(sandbox, shown),
            }
        }
        (State::Stopped { .. } | State::Starting { .. }, Some(shown)) if shown.phase == Phase::Running => {
            Some(Step::RecordRunning(id(), shown.container.clone()))
        }
        // An idle stop that was left half done is not carried out while sandboxes could not report: what it was
        // decided on may be long past.
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

/// What others have made of a sandbox that is as it was otherwise.
fn news(sandbox: &Sandbox, shown: &Observed) -> Option<Step> {
    let called = sandbox.life.seen.called.as_deref().unwrap_or(sandbox.name.as_str());
    let is_other = shown.name.as_ref().is_some_and(|name| name != called)
        || shown.memory.is_some_and(|memory| memory != sandbox.recipe.memory)
        || shown.cpus.is_some_and(|cpus| cpus != sandbox.recipe.cpus)
        || shown.phase == Phase::Running && shown.paused != sandbox.life.seen.paused;
    is_other.then(|| Step::RecordShown(sandbox.id.clone(), Box::new(shown.clone())))
}

/// What to do about containers of ours that we do not know.
fn strangers(known: &[impl Borrow<Sandbox>], observed: &[Observed]) -> Vec<Step> {
    let known = || known.iter().map(Borrow::borrow);
    let containers: HashSet<&ContainerId> = known().filter_map(|s: &Sandbox| s.container.as_ref()).collect();
    let unfinished: HashSet<&SandboxId> = known().filter(|s| s.container.is_none()).map(|s| &s.id).collect();
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
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::{
        By, Ending, Evidence, Exit, Limit, Memory, Seen, Source,
        fixtures::{self, at, running},
    };

    const POLICY: Policy = Policy { idle_limit: Limit::After(Duration::from_secs(100)), ..fixtures::POLICY };

    const NOBODY: &[Sandbox] = &[];

    fn shows(sandbox: &Sandbox, phase: Phase) -> Observed {
        Observed::shallow(sandbox.container.clone().unwrap(), Some(sandbox.id.clone()), phase)
    }

    fn until(end: i64) -> Grace {
        Grace { since: at(end - 10), length: Duration::from_secs(10), period: Duration::from_secs(1) }
    }

    fn steps(sandbox: &Sandbox, observed: &[Observed], now: i64) -> Vec<Step> {
        plan(std::slice::from_ref(sandbox), observed, &POLICY, None, at(now)).steps
    }

    #[test]
    fn only_an_idle_running_sandbox_is_stopped() {
        let sandbox = running(0);
        let shown = [shows(&sandbox, Phase::Running)];
        assert_eq!(steps(&sandbox, &shown, 99), []);
        let evidence = Evidence { source: Source::Start, at: at(0) };
        let seen = Deadline { at: at(100), by: By::Evidence, evidence };
        assert_eq!(steps(&sandbox, &shown, 100), [Step::StopIdle { id: sandbox.id.clone(), seen }]);
    }

    #[test]
    fn every_intent_is_finished() {
        let base = running(0);
        let id = || base.id.clone();
        let stopping = State::Stopping { since: at(0), reason: StopReason::Requested };
        let starting = State::Starting { stopped_at: at(0), reason: StopReason::Idle };
        let cases = [
            (stopping.clone(), Some(Phase::Running), Step::FinishStop(id())),
            (stopping.clone(), Some(Phase::Exited), Step::RecordStopped(id())),
            (stopping, None, Step::Forget(id())),
            (starting.clone(), Some(Phase::Exited), Step::FinishStart(id())),
            (starting, Some(Phase::Running), Step::RecordRunning(id(), base.container.clone().unwrap())),
            (State::Creating, Some(Phase::Running), Step::Discard(id())),
            (State::Creating, None, Step::Discard(id())),
            (State::Deleting, None, Step::FinishDelete(id())),
            (State::Deleting, Some(Phase::Running), Step::FinishDelete(id())),
        ];
        for (state, phase, expected) in cases {
            let sandbox = base.clone().in_state(state.clone());
            let observed: Vec<_> = phase.map(|p| shows(&sandbox, p)).into_iter().collect();
            assert_eq!(steps(&sandbox, &observed, 50), [expected], "{state:?} shown as {phase:?}");
        }
    }

    #[test]
    fn what_happens_behind_our_back_is_recorded() {
        let sandbox = running(0);
        assert_eq!(steps(&sandbox, &[shows(&sandbox, Phase::Exited)], 1), [Step::RecordStopped(sandbox.id.clone())]);
        assert_eq!(steps(&sandbox, &[], 1), [Step::Forget(sandbox.id.clone())]);
        let again = Observed { mark: Some("m2".into()), ..shows(&sandbox, Phase::Running) };
        let container = sandbox.container.clone().unwrap();
        assert_eq!(steps(&sandbox, &[again], 1), [Step::RecordRunning(sandbox.id.clone(), container.clone())]);
        let state = State::Running { since: at(0), address: None, mark: "m1".into(), pid: None, boot: None };
        let old = running(0).in_state(state);
        let close = Observed { mark: Some("m1".into()), ..shows(&old, Phase::Running) };
        assert_eq!(steps(&old, &[close], 1), [Step::RecordAddress(old.id.clone(), None, None)], "its boot");
        assert_eq!(steps(&old, &[shows(&old, Phase::Running)], 1), [], "too shallow a look");
        let stopped = sandbox.in_state(State::Stopped { at: at(0), reason: StopReason::Idle });
        let shown = shows(&stopped, Phase::Running);
        assert_eq!(steps(&stopped, &[shown], 1), [Step::RecordRunning(stopped.id.clone(), container)]);
        assert_eq!(steps(&stopped, &[shows(&stopped, Phase::Exited)], 1), []);
    }

    #[test]
    fn what_others_make_of_it_is_recorded() {
        let sandbox = running(0);
        let plain = shows(&sandbox, Phase::Running);
        let name = |name: &str| Observed { name: Some(name.into()), ..plain.clone() };
        assert_eq!(steps(&sandbox, &[name(sandbox.name.as_str())], 1), []);
        let limited = Observed { memory: Memory::in_force(64 << 20), ..plain.clone() };
        for other in [name("bob"), Observed { paused: true, ..plain.clone() }, limited] {
            let expected = Step::RecordShown(sandbox.id.clone(), Box::new(other.clone()));
            assert_eq!(steps(&sandbox, &[other], 1), [expected]);
        }
        // The law goes first: a sandbox that is paused is stopped when its time has come.
        let paused = Observed { paused: true, ..plain };
        assert!(matches!(steps(&sandbox, &[paused], 100)[..], [Step::StopIdle { .. }]));
    }

    #[test]
    fn who_ended_it_is_recorded_when_it_is_heard_of_later() {
        let ended = |reason, by| {
            let ending = Ending { exit: Some(Exit { code: 0, oom_killed: false }), by, last_lines: vec![] };
            let seen = Seen { ending: Some(ending), ..Seen::default() };
            let mut sandbox = running(0).in_state(State::Stopped { at: at(0), reason });
            sandbox.life.seen = seen;
            sandbox
        };
        let all = [EndedBy::Unheard, EndedBy::Itself, EndedBy::Signal];
        for (known, heard) in all.into_iter().flat_map(|known| all.map(|heard| (known, heard))) {
            let sandbox = ended(StopReason::Exited, known);
            let shown = Observed { ended_by: Some(heard), ..shows(&sandbox, Phase::Exited) };
            let is_more = all.iter().position(|by| *by == heard) > all.iter().position(|by| *by == known);
            let expected = is_more.then(|| Step::RecordEndedBy(sandbox.id.clone(), heard));
            assert_eq!(steps(&sandbox, &[shown], 1), expected.into_iter().collect::<Vec<_>>(), "{known:?}, {heard:?}");
        }
        let ours = ended(StopReason::Idle, EndedBy::Unheard);
        let shown = Observed { ended_by: Some(EndedBy::Signal), ..shows(&ours, Phase::Exited) };
        assert_eq!(steps(&ours, &[shown], 1), [], "that was our own");
    }

    #[test]
    fn an_idle_stop_left_half_done_is_taken_back_while_nobody_could_report() {
        let of = |reason, hold: Option<i64>| {
            let sandbox = running(0).in_state(State::Stopping { since: at(0), reason });
            let shown = [shows(&sandbox, Phase::Running)];
            plan(std::slice::from_ref(&sandbox), &shown, &POLICY, hold.map(until), at(50)).steps.remove(0)
        };
        let (id, container) = (running(0).id, running(0).container.unwrap());
        assert_eq!(of(StopReason::Idle, Some(60)), Step::TakeBack(id.clone(), container));
        assert_eq!(of(StopReason::Idle, Some(50)), Step::FinishStop(id.clone()));
        assert_eq!(of(StopReason::Requested, Some(60)), Step::FinishStop(id));
    }

    #[test]
    fn what_cannot_be_looked_at_is_left_alone() {
        for state in [running(0).life.state, State::Stopped { at: at(0), reason: StopReason::Idle }] {
            let sandbox = running(0).in_state(state);
            assert_eq!(steps(&sandbox, &[shows(&sandbox, Phase::Unclear)], 1_000), []);
        }
        assert_eq!(plan(NOBODY, &[shows(&running(0), Phase::Unclear)], &POLICY, None, at(0)).steps, []);
    }

    #[test]
    fn strangers_are_adopted_unless_they_never_ran() {
        let sandbox = running(0);
        let of = |phase| plan(NOBODY, &[shows(&sandbox, phase)], &POLICY, None, at(0)).steps;
        let container = sandbox.container.clone().unwrap();
        assert_eq!(of(Phase::Running), [Step::Adopt(container.clone())]);
        assert_eq!(of(Phase::Exited), [Step::Adopt(container.clone())]);
        assert_eq!(of(Phase::Created), [Step::RemoveOrphan(container, Some(sandbox.id.clone()))]);
    }

    #[test]
    fn a_creation_under_way_is_no_stranger() {
        let shown = [shows(&running(0), Phase::Running)];
        let creating = Sandbox { container: None, ..running(0).in_state(State::Creating) };
        assert_eq!(steps(&creating, &shown, 0), [Step::Discard(creating.id.clone())]);
    }

    #[test]
    fn the_next_deadline_is_told() {
        let (a, mut b) = (running(0), running(7));
        b.container = ContainerId::parse(&"b".repeat(64));
        let shown = [shows(&a, Phase::Running), shows(&b, Phase::Running)];
        assert_eq!(plan(&[a, b], &shown, &POLICY, None, at(10)).wake_at, Some(at(100)));
    }
}
