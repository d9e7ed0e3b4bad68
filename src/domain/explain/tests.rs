//! Tests of what is said about a sandbox, and when.

use super::*;
use crate::domain::{
    Limit,
    fixtures::{POLICY, at, running},
};

fn says(sandbox: &Sandbox, now: i64) -> String {
    explain(&POLICY, sandbox, &Sight::default(), at(now))
}

#[test]
fn a_running_one_says_what_keeps_it_and_until_when() {
    let mut sandbox = running(0);
    assert_eq!(says(&sandbox, 5), "active: started 5 s ago; stops at 02:30:00 UTC unless used");
    assert_eq!(
        says(&sandbox, 600),
        "idle since 00:00:00 UTC (the last was its start); stops at 02:30:00 UTC unless used"
    );
    sandbox.life.evidence.record(Evidence { source: Source::Connection, at: at(3_600) });
    let ports = [22, 80].map(|inside| PortUse {
        inside,
        connections: 122,
        in_use: 2,
        last_byte: None,
        last_use: Some(at(3_500 + i64::from(inside))),
    });
    let sentence = explain(&POLICY, &sandbox, &Sight { ports: ports.to_vec(), ..Sight::default() }, at(3_608));
    assert_eq!(sentence, "active: 2 connections on port 80, bytes moved 8 s ago; stops at 03:30:00 UTC unless used");
    let silent = Sight { ports: vec![PortUse { in_use: 0, ..ports[1] }], ..Sight::default() };
    assert!(
        explain(&POLICY, &sandbox, &silent, at(3_608))
            .contains("active: a connection, closed or silent since, on port 80")
    );
    sandbox.recipe.own.max_age = Some(Limit::After(Duration::from_hours(2)));
    assert!(says(&sandbox, 5_000).ends_with("stops at 02:00:00 UTC, used or not: it may run for 2 h (max_age)"));
    sandbox.recipe.own = crate::domain::OwnPolicy { idle_limit: Some(Limit::Never), ..Default::default() };
    assert!(says(&sandbox, 5_000).ends_with("; never stopped for being idle (idle_timeout is never)"));
}

#[test]
fn contract_31_a_limit_that_follows_reports_is_told() {
    let mut sandbox = running(0);
    sandbox.recipe.own.idle_limit = Some(Limit::After(Duration::from_mins(1)));
    sandbox.life.rhythm.period = Some(Duration::from_mins(1));
    let rare = "(it is seen to report every 1 min only, so that its limit is 3 min and not 1 min)";
    assert_eq!(
        says(&sandbox, 119),
        format!("active: started 1 min 59 s ago; stops at 00:03:00 UTC unless used {rare}")
    );
    sandbox.life.state = State::Stopped { at: at(180), reason: StopReason::Idle };
    assert_eq!(
        says(&sandbox, 181),
        format!("stopped at 00:03:00 UTC: idle since 00:00:00 UTC (the last was its start) {rare}")
    );
}

#[test]
fn a_stopped_one_says_since_when_it_was_idle_and_of_which_day() {
    let state = State::Stopped { at: at(9_000), reason: StopReason::Idle };
    let sandbox = running(0).in_state(state);
    assert_eq!(says(&sandbox, 9_100), "stopped at 02:30:00 UTC: idle since 00:00:00 UTC (the last was its start)");
    assert!(says(&sandbox, 100_000).starts_with("stopped at 1970-01-01 02:30:00 UTC"), "another day");
}

#[test]
fn held_is_told() {
    let grace = Grace { since: at(9_000), length: Duration::from_mins(5), period: Duration::from_mins(1) };
    let sentence = explain(&POLICY, &running(0), &Sight { grace: Some(grace), ..Sight::default() }, at(9_100));
    assert!(
        sentence.contains("its time was over at 02:30:00 UTC, and it is not stopped before 02:35:00 UTC"),
        "{sentence}"
    );
}

#[test]
fn spans_have_two_units() {
    let text = |s| span(Duration::from_secs(s));
    assert_eq!(
        [text(0), text(59), text(3_600), text(5_430), text(90_061)],
        ["0 s", "59 s", "1 h", "1 h 30 min", "1 d 1 h"]
    );
}

#[test]
fn reports_that_cease_are_told() {
    let period = Duration::from_mins(1);
    let mut sandbox = running(0);
    assert_eq!(Reports::of(&sandbox, period, at(10_000)), Reports::Never);
    sandbox.life.last_report = Some(at(60));
    assert_eq!(Reports::of(&sandbox, period, at(240)), Reports::Current);
    assert_eq!(Reports::of(&sandbox, period, at(241)), Reports::Ceased);
    sandbox.life.rhythm.period = Some(Duration::from_secs(100));
    assert_eq!(Reports::of(&sandbox, period, at(300)), Reports::Current, "it is slower by nature");
}

#[test]
fn what_others_do_inside_is_said_to_be_theirs() {
    let mut sandbox = running(0);
    sandbox.life.evidence.record(Evidence { source: Source::Terminal, at: at(100) });
    assert!(says(&sandbox, 105).starts_with("active: somebody typed in a terminal, 5 s ago"));
    sandbox.life.evidence.record(Evidence { source: Source::Staff, at: at(200) });
    sandbox.life.staff = Some(Who::User("ina".into()));
    assert!(says(&sandbox, 205).starts_with("active: ina, not its owner, worked in it through the API, 5 s ago"));
    assert!(says(&sandbox, 900).contains("(the last was work in it by somebody who is not its owner)"));
}
