//! Tests the whole report: how many sandboxes the host holds, and what prevents work.

use super::*;
use crate::doctor::{Report, capacity};

#[test]
fn the_tightest_limit_is_named() {
    let capacity = |variables: &[(&str, &str)], facts: &Facts| capacity::of(&config(variables), facts).sentence();
    let facts = well();
    assert_eq!(capacity(&[], &facts), "This host holds about 45 sandboxes of 512 MB; the first limit is memory.");
    assert_eq!(
        capacity(&[("MEMORY", "2g")], &facts),
        "This host holds about 11 sandboxes of 2 GB; the first limit is memory."
    );
    let last = |variables: &[(&str, &str)], change: &dyn Fn(&mut Facts)| {
        let mut facts = well();
        facts.engine.as_mut().unwrap().memory = 4_096 * GIB;
        facts.engine_disk = Ok(Disk { free: 4_096 * GIB, total: 4_096 * GIB });
        change(&mut facts);
        let limits = capacity::of(&config(variables), &facts).limits;
        (limits[0].of, limits[0].sandboxes)
    };
    let wide = ("SUBNET", "10.208.0.0/20");
    assert_eq!(last(&[], &|_| {}), ("max_running", 1_000));
    assert_eq!(last(&[("MAX_RUNNING", "1021")], &|_| {}), ("addresses", 1_021));
    assert_eq!(last(&[wide, ("MAX_RUNNING", "1022")], &|_| {}), ("max_running", 1_022));
    assert_eq!(last(&[("PORT_RANGE", "20000-20099")], &|_| {}), ("ports", 50));
    assert_eq!(last(&[], &|f| f.engine_disk = Ok(Disk { free: GIB, total: GIB })), ("disk", 5));
    // 1,024 less 256 for the server, 126 for API and door, and 2 for each of 256 connections, at 3 each.
    assert_eq!(last(&[], &|f| f.server.as_mut().unwrap().descriptors = Some((1, 1_024))), ("descriptors", 43));
    // Without an engine this machine's memory counts.
    assert_eq!(
        last(&[], &|f| {
            without_engine(f, AWAY);
            f.memory = Some(2 * GIB);
        }),
        ("memory", 2)
    );
}

#[test]
fn what_prevents_work_is_what_counts() {
    let report = |change: &dyn Fn(&mut Facts)| {
        let (config, mut facts) = (config(&[]), well());
        change(&mut facts);
        Report { findings: findings(&config, &facts), capacity: capacity::of(&config, &facts) }
    };
    let well = report(&|_| {});
    assert!(well.is_ok(), "the default password prevents nothing");
    let text = well.text(false);
    assert!(text.ends_with("Nothing prevents work; 1 is worth a look.\n"), "{text}");
    assert!(text.contains("\nwarn    password       the default one\n                       why: "), "{text}");
    assert!(!text.contains('\x1b') && well.text(true).contains("\x1b[33mwarn"), "{text}");
    let ill = report(&|f| without_engine(f, AWAY));
    assert!(!ill.is_ok());
    assert!(
        ill.text(false).ends_with("1 thing prevents work; 1 is worth a look; 8 could not be seen.\n"),
        "{}",
        ill.text(false)
    );
    let json: serde_json::Value = serde_json::from_str(&ill.json()).unwrap();
    assert_eq!((&json["ok"], &json["findings"][0]["status"]), (&false.into(), &"fail".into()));
    assert_eq!(json["findings"][1]["fix"], serde_json::Value::Null);
    assert_eq!(json["capacity"]["first_limit"], "memory");
}
