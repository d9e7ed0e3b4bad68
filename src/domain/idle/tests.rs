//! Tests of deadlines and verdicts, one rule at a time.

use super::*;
use crate::domain::{
    EvidenceLog, Limit, Sources,
    fixtures::{POLICY, at, running},
};

fn after(seconds: u64) -> Limit {
    Limit::After(Duration::from_secs(seconds))
}

const CAP: u64 = 20_000;

fn policy() -> Policy {
    Policy { connection_cap: after(CAP), ..POLICY }
}

fn ends(policy: &Policy, sandbox: &Sandbox) -> Option<(Timestamp, By)> {
    deadline(policy, sandbox).map(|d| (d.at, d.by))
}

fn stops(policy: &Policy, sandbox: &Sandbox, now: i64) -> bool {
    matches!(verdict(policy, None, sandbox, at(now)), Verdict::Stop { .. })
}

/// A grace of 300 s that ends at `end`.
fn until(end: i64) -> Grace {
    Grace { since: at(end - 5 * 60), length: Duration::from_mins(5), period: Duration::from_mins(1) }
}

fn record(sandbox: &mut Sandbox, source: Source, seconds: i64) {
    sandbox.life.evidence.record(Evidence { source, at: at(seconds) });
}

#[test]
fn contract_31_deadline_is_the_later_of_start_and_evidence_plus_the_limit() {
    let mut sandbox = running(1_000);
    assert_eq!(ends(&POLICY, &sandbox), Some((at(10_000), By::Evidence)));
    record(&mut sandbox, Source::CheckIn, 4_000);
    assert_eq!(ends(&POLICY, &sandbox), Some((at(13_000), By::Evidence)));
    assert!(!stops(&POLICY, &sandbox, 12_999));
    assert!(stops(&POLICY, &sandbox, 13_000));
}

#[test]
fn contract_31_rare_reports_make_the_limit_three_of_their_periods() {
    let mut sandbox = running(1_000);
    sandbox.recipe.own.idle_limit = Some(after(60));
    let ends_with = |sandbox: &Sandbox, period: u64| {
        let mut sandbox = sandbox.clone();
        sandbox.life.rhythm.period = Some(Duration::from_secs(period));
        deadline(&POLICY, &sandbox).map(|d| d.at)
    };
    assert_eq!(ends_with(&sandbox, 20), Some(at(1_060)), "a third of the limit is often enough");
    assert_eq!(ends_with(&sandbox, 60), Some(at(1_180)));
    record(&mut sandbox, Source::Connection, 1_100);
    assert_eq!(ends_with(&sandbox, 60), Some(at(1_280)), "whatever was the last evidence");
    sandbox.recipe.own.evidence = Sources::read("connection");
    assert_eq!(ends_with(&sandbox, 60), Some(at(1_160)), "where reports do not count they lengthen nothing");
    sandbox.recipe.own.idle_limit = Some(Limit::Never);
    assert_eq!(ends_with(&sandbox, 60), None);
}

#[test]
fn evidence_from_before_the_last_start_does_not_count() {
    let mut sandbox = running(5_000);
    sandbox.life.evidence = EvidenceLog::of(Source::CheckIn, at(100));
    assert_eq!(ends(&POLICY, &sandbox), Some((at(14_000), By::Evidence)));
}

#[test]
fn a_connection_counts_but_only_up_to_the_cap() {
    let (policy, mut sandbox) = (policy(), running(1_000));
    record(&mut sandbox, Source::Connection, 5_000);
    assert_eq!(ends(&policy, &sandbox), Some((at(14_000), By::Evidence)));
    record(&mut sandbox, Source::Connection, 20_000);
    assert_eq!(ends(&policy, &sandbox), Some((at(21_000), By::Cap)), "the cap after the start");
    assert!(stops(&policy, &sandbox, 21_000), "an open tab does not keep it for ever");
    record(&mut sandbox, Source::CheckIn, 18_000);
    assert_eq!(ends(&policy, &sandbox), Some((at(29_000), By::Evidence)), "a person moves the cap");
    let without = Policy { connection_cap: Limit::Never, ..policy };
    record(&mut sandbox, Source::Connection, 1_000_000);
    assert_eq!(ends(&without, &sandbox), Some((at(1_009_000), By::Evidence)));
}

#[test]
fn a_limit_longer_than_the_cap_is_not_shortened() {
    let mut sandbox = running(0);
    sandbox.recipe.own.idle_limit = Some(after(50_000));
    record(&mut sandbox, Source::Connection, 100);
    assert_eq!(ends(&policy(), &sandbox), Some((at(50_000), By::Evidence)));
}

#[test]
fn only_what_counts_counts() {
    let mut sandbox = running(0);
    record(&mut sandbox, Source::CheckIn, 500);
    record(&mut sandbox, Source::Cpu, 800);
    assert_eq!(ends(&policy(), &sandbox), Some((at(9_500), By::Evidence)), "cpu does not, unless asked for");
    sandbox.recipe.own.evidence = Sources::read("cpu");
    assert_eq!(ends(&policy(), &sandbox), Some((at(9_800), By::Evidence)));
    sandbox.recipe.own.evidence = Sources::read("none");
    assert_eq!(ends(&policy(), &sandbox), Some((at(9_000), By::Evidence)));
    record(&mut sandbox, Source::Extension, 900);
    assert_eq!(ends(&policy(), &sandbox), Some((at(9_900), By::Evidence)), "a person's word always does");
}

#[test]
fn never_is_never() {
    let mut sandbox = running(0);
    sandbox.recipe.own.idle_limit = Some(Limit::Never);
    let expected = Verdict::Keep { until: None, because: Because::Never };
    assert_eq!(verdict(&POLICY, None, &sandbox, at(1_000_000_000)), expected);
    sandbox.recipe.own.idle_limit = Some(after(300));
    assert!(stops(&Policy { idle_limit: Limit::Never, ..POLICY }, &sandbox, 300));
}

#[test]
fn kept_is_kept_but_not_beyond_its_age() {
    let mut sandbox = running(0);
    sandbox.life.keep_until = Some(at(30_000));
    assert_eq!(ends(&POLICY, &sandbox), Some((at(30_000), By::Keep)));
    sandbox.recipe.own.max_age = Some(after(20_000));
    assert_eq!(ends(&POLICY, &sandbox), Some((at(20_000), By::Age)));
    assert_eq!(deadline(&POLICY, &sandbox).unwrap().reason(), StopReason::MaxAge);
    sandbox.life.keep_until = Some(at(10));
    assert_eq!(ends(&POLICY, &sandbox), Some((at(9_000), By::Evidence)), "a wish shortens no life");
    sandbox.recipe.own.idle_limit = Some(Limit::Never);
    assert_eq!(ends(&POLICY, &sandbox), Some((at(20_000), By::Age)));
}

#[test]
fn a_change_never_reaches_into_the_past() {
    let mut sandbox = running(0);
    let before = deadline(&POLICY, &sandbox);
    sandbox.recipe.own.idle_limit = Some(after(300));
    let spared = |before, sandbox: &Sandbox, now: i64| spared_until(before, deadline(&POLICY, sandbox), at(now));
    assert_eq!(spared(before, &sandbox, 5_300), Some(at(5_300)), "one grace");
    assert_eq!(spared(before, &sandbox, 9_200), Some(at(9_000)), "no longer than it had before");
    assert_eq!(spared(None, &sandbox, 5_300), Some(at(5_300)), "it had no end before");
    sandbox.life.spared_until = Some(at(5_300));
    assert_eq!(ends(&POLICY, &sandbox), Some((at(5_300), By::Change { age: false })));
    sandbox.recipe.own.idle_limit = Some(after(8_000));
    assert_eq!(spared(before, &sandbox, 5_300), None, "it is still ahead");
    sandbox.recipe.own.max_age = Some(after(60));
    let aged = deadline(&POLICY, &sandbox).unwrap();
    assert_eq!((aged.by, aged.reason()), (By::Change { age: true }, StopReason::MaxAge));
}

#[test]
fn a_warning_comes_once_for_each_deadline() {
    let lead = Policy { warn_before: after(600), ..POLICY };
    let mut sandbox = running(0);
    let due = |sandbox: &Sandbox, hold: Option<i64>, now| warning(&lead, hold.map(until), sandbox, at(now));
    assert_eq!(due(&sandbox, None, 8_399), Warning::At(at(8_400)));
    assert!(matches!(due(&sandbox, None, 8_400), Warning::Due { stop, .. } if stop == at(9_000)));
    assert_eq!(due(&sandbox, Some(9_500), 9_250), Warning::At(at(9_260)), "whoever uses it may be heard until then");
    assert!(matches!(due(&sandbox, Some(9_500), 9_260), Warning::Due { stop, .. } if stop == at(9_500)));
    assert_eq!(due(&sandbox, None, 9_000), Warning::None, "it is too late");
    sandbox.life.warned_for = Some(at(9_000));
    assert_eq!(due(&sandbox, None, 8_500), Warning::None);
    record(&mut sandbox, Source::CheckIn, 8_450);
    assert_eq!(due(&sandbox, None, 8_500), Warning::At(at(16_850)), "another deadline");
    sandbox.recipe.own.idle_limit = Some(after(300));
    assert_eq!(due(&sandbox, None, 8_500), Warning::At(at(8_600)), "at most half of the limit ahead");
    sandbox.recipe.own.warn_before = Some(Limit::Never);
    assert_eq!(due(&sandbox, None, 8_700), Warning::None);
}

#[test]
fn nothing_is_stopped_while_held() {
    let held = |now| verdict(&POLICY, Some(until(20_000)), &running(0), at(now));
    assert!(matches!(held(19_999), Verdict::Keep { because: Because::Held(_), .. }));
    assert!(matches!(held(20_000), Verdict::Stop { .. }));
}

#[test]
fn contract_32_only_a_running_sandbox_is_idle() {
    for state in [
        State::Stopping { since: at(0), reason: StopReason::Requested },
        State::Stopped { at: at(0), reason: StopReason::Idle },
        State::Starting { stopped_at: at(0), reason: StopReason::Idle },
        State::Creating,
        State::Deleting,
    ] {
        let sandbox = running(0).in_state(state);
        assert!(!stops(&POLICY, &sandbox, 1_000_000));
        assert_eq!(deadline(&POLICY, &sandbox), None);
    }
}
