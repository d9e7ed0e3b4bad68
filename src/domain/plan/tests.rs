//! Tests of plans, one step at a time.

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
    let state = State::Running { since: at(0), mark: "m1".into(), reach: Reach::default() };
    let old = running(0).in_state(state);
    let close = Observed { mark: Some("m1".into()), ..shows(&old, Phase::Running) };
    assert_eq!(steps(&old, &[close], 1), [Step::RecordReach(old.id.clone(), Reach::default())], "its boot");
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
