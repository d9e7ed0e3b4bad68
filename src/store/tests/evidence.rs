//! Tests of evidence in the store: what counts, for which start, and what it undoes.

use super::*;

#[tokio::test]
async fn evidence_beats_a_stop_that_was_only_planned() {
    let store = Store::in_memory().unwrap();
    let seen = started(&store, 1).await;
    let to = State::Stopping { since: at(100), reason: StopReason::Idle };
    store.check_in(Some(seen.token.clone()), None, 1, at(50)).await.unwrap().unwrap();
    assert!(!stops(&store, &seen, &to).await);
    let seen = store.get(&seen.id).await.unwrap().unwrap();
    store.record_use(used(&seen, seen.life.generation, 60)).await.unwrap();
    assert!(!stops(&store, &seen, &to).await, "a connection is evidence too");
    let seen = store.get(&seen.id).await.unwrap().unwrap();
    assert!(stops(&store, &seen, &to).await);
    assert!(!stops(&store, &seen, &to).await, "only once");
}

#[tokio::test]
async fn a_connection_beyond_the_cap_does_not_hold_up_a_stop() {
    let store = Store::in_memory().unwrap();
    let started = started(&store, 1).await;
    store.record_use(used(&started, started.life.generation, 900)).await.unwrap();
    let seen = store.get(&started.id).await.unwrap().unwrap();
    store.record_use(used(&started, started.life.generation, 1_001)).await.unwrap();
    let to = State::Stopping { since: at(1_001), reason: StopReason::Idle };
    assert!(stops(&store, &seen, &to).await, "the deadline is the one that was seen");
}

#[tokio::test]
async fn use_of_a_start_that_has_ended_is_no_evidence() {
    let store = Store::in_memory().unwrap();
    let seen = started(&store, 1).await;
    store.record_use(used(&seen, seen.life.generation + 1, 500)).await.unwrap();
    store.mark(&seen, State::Stopped { at: at(501), reason: StopReason::Idle }).await.unwrap();
    store.record_use(used(&seen, seen.life.generation, 502)).await.unwrap();
    assert_eq!(store.get(&seen.id).await.unwrap().unwrap().life.evidence.last_of(Source::Connection), None);
}

/// Whoever counts may hear of a start that somebody else made only when it is recorded, which may take long.
#[tokio::test]
async fn use_after_a_start_counts_though_its_counter_had_not_heard_of_the_start() {
    let store = Store::in_memory().unwrap();
    let seen = started(&store, 1).await;
    let again = State::Running { since: at(100), mark: "m2".into(), reach: Reach::default() };
    assert!(store.mark_started(&seen, again).await.unwrap());
    let last_use = async |seconds| {
        store.record_use(used(&seen, seen.life.generation, seconds)).await.unwrap();
        store.get(&seen.id).await.unwrap().unwrap().life.evidence.last_of(Source::Connection)
    };
    assert_eq!(last_use(99).await, None, "it was of the run before");
    assert_eq!(last_use(104).await, Some(at(104)));
}

#[tokio::test]
async fn nothing_decided_for_an_old_generation_touches_a_new_one() {
    let store = Store::in_memory().unwrap();
    let old = started(&store, 1).await;
    store.mark(&old, State::Stopped { at: at(1), reason: StopReason::Requested }).await.unwrap();
    let stopped = store.get(&old.id).await.unwrap().unwrap();
    let again = State::Running { since: at(2), mark: "m2".into(), reach: Reach::default() };
    assert!(store.mark_started(&stopped, again).await.unwrap());
    assert!(!store.mark(&old, State::Stopping { since: at(3), reason: StopReason::Idle }).await.unwrap());
    assert!(!store.forget(&old).await.unwrap());
}

/// `CONTRACT.md` 31.
#[tokio::test]
async fn contract_31_the_store_sees_how_often_a_sandbox_reports() {
    let store = Store::in_memory().unwrap();
    let sandbox = started(&store, 1).await;
    let report = async |second, value| {
        store.check_in(Some(sandbox.token.clone()), None, value, at(second)).await.unwrap().unwrap();
        store.get(&sandbox.id).await.unwrap().unwrap().life.rhythm
    };
    for (second, value, period) in
        [(2, 1, None), (82, 0, None), (162, 1, Some(80)), (163, 0, Some(80)), (400, 0, Some(80))]
    {
        assert_eq!(report(second, value).await.period.map(|p| p.as_secs()), period, "at {second}");
    }
    // The stop uses the row: there a report has made the period longer than in `seen`.
    let seen = store.get(&sandbox.id).await.unwrap().unwrap();
    assert_eq!(deadline(&POLICY, &seen).unwrap().at, at(162 + 240));
    report(640, 0).await;
    let stopping = State::Stopping { since: at(641), reason: StopReason::Idle };
    assert!(!stops(&store, &seen, &stopping).await);
    // The time between two runs is no gap.
    let seen = store.get(&sandbox.id).await.unwrap().unwrap();
    assert_eq!(seen.life.rhythm.period.map(|p| p.as_secs()), Some(237));
    assert!(store.mark(&seen, stopping).await.unwrap());
    let stopping = store.get(&sandbox.id).await.unwrap().unwrap();
    let again = State::Running { since: at(9_000), mark: "n".into(), reach: Reach::default() };
    assert!(store.mark_started(&stopping, again).await.unwrap());
    assert_eq!(report(9_002, 0).await, Rhythm { period: Some(Duration::from_secs(237)), gap: None });
}

#[tokio::test]
async fn a_check_in_can_do_one_thing() {
    let store = Store::in_memory().unwrap();
    let one = started(&store, 1).await;
    let address = Some("10.0.0.2".parse().unwrap());
    let done = store.check_in(None, address, 3, at(9)).await.unwrap().unwrap();
    assert!(done.id == one.id && done.first);
    assert_eq!(store.get(&one.id).await.unwrap().unwrap().life.active, 3);
    let two = started(&store, 2).await;
    assert_eq!(store.check_in(None, address, 1, at(9)).await.unwrap(), None, "two seem to have the address");
    assert!(store.forget(&two).await.unwrap());
    assert_eq!(store.check_in(None, Some("10.0.0.3".parse().unwrap()), 1, at(9)).await.unwrap(), None);
    let seen = store.get(&one.id).await.unwrap().unwrap();
    store.mark(&seen, State::Stopped { at: at(10), reason: StopReason::Idle }).await.unwrap();
    let before = store.get(&one.id).await.unwrap();
    assert_eq!(store.check_in(None, address, 1, at(11)).await.unwrap(), None);
    assert_eq!(store.check_in(Some(one.token), address, 1, at(11)).await.unwrap(), None);
    assert_eq!(store.get(&one.id).await.unwrap(), before);
}

/// Times ahead become now, so nothing is ahead any more; all other times stay.
#[tokio::test]
async fn no_record_is_later_than_now() {
    let store = Store::in_memory().unwrap();
    let (now, ahead, jump) = (at(50), at(5_000), SignedDuration::from_secs(10));
    let (before, kept) = (started(&store, 1).await, started(&store, 2).await);
    for source in Source::ALL {
        store.record_use(vec![(before.id.clone(), 1, Evidence { source, at: ahead })]).await.unwrap();
    }
    let mut state = before.life.state.clone();
    if let State::Running { since, .. } = &mut state {
        *since = ahead;
    }
    store.mark(&before, state).await.unwrap();
    store.check_in(Some(before.token.clone()), None, 1, ahead).await.unwrap();
    let said = Extension { at: ahead, by: crate::domain::Who::User("admin".into()), until: at(5_600) };
    store.extend(&before, said.clone()).await.unwrap();
    let wish = Change { keep_until: Some(Some(at(9_000))), ..Change::default() };
    store.extend(&kept, said.clone()).await.unwrap();
    store.change(&kept, wish, POLICY, ahead).await.unwrap();
    assert_eq!(store.clamp(now, jump, at(60)).await.unwrap(), 2);
    let after = store.get(&before.id).await.unwrap().unwrap();
    assert_eq!(after.latest(), now, "{after:?}");
    assert!(Source::ALL.iter().all(|s| after.life.evidence.last_of(*s) == Some(now)));
    let said = Extension { at: now, until: at(650), ..said };
    assert_eq!(
        (after.life.keep_until, after.life.extension),
        (Some(at(650)), Some(said)),
        "ten minutes are ten minutes"
    );
    assert_eq!(store.get(&kept.id).await.unwrap().unwrap().life.keep_until, Some(at(9_000)), "a moment is that moment");
    assert_eq!(store.clamp(now, jump, at(60)).await.unwrap(), 0);
}

#[tokio::test]
async fn a_valid_token_wins_over_the_address() {
    let store = Store::in_memory().unwrap();
    let (one, two) = (started(&store, 1).await, started(&store, 2).await);
    let done = store.check_in(Some(two.token), Some("10.0.0.2".parse().unwrap()), 1, at(5)).await.unwrap();
    assert_eq!(done.unwrap().id, two.id);
    assert_eq!(store.get(&one.id).await.unwrap().unwrap().life.active, 0);
}
