//! Tests what can be wrong with the server, and with its sandboxes' reports.

use super::*;

#[test]
fn the_default_password_is_worth_a_look() {
    let found = only("password", &[], &[("ADMIN_PASSWORD", DEFAULT_PASSWORD)], |_| {});
    is(&found, Status::Warn, "default", "openssl rand");
}

#[test]
fn a_server_that_does_not_run_prevents_work() {
    let found = only("server", &OF_SERVER, &[], without_server);
    is(
        &found,
        Status::Fail,
        "no Spindle answers at http://127.0.0.1:8080: Connection refused",
        "systemctl start spindle",
    );
    // Then a closed door is no sign of a firewall.
    is(&only("check-in", &[&OF_SERVER[..], &["server"]].concat(), &[], without_server), Status::Unseen, "server", "");
}

#[test]
fn a_server_that_is_not_well() {
    let sick = |f: &mut Facts| f.server.as_mut().unwrap().troubles = vec!["relay: away".into()];
    is(&only("server", &[], &[], sick), Status::Fail, "not well: relay: away", "journalctl");
    let failing = |f: &mut Facts| f.server.as_mut().unwrap().failing = 2;
    is(&only("server", &[], &[], failing), Status::Warn, "2 sandboxes", "journalctl");
    let old = |f: &mut Facts| f.server.as_mut().unwrap().version = "0.0.1".into();
    is(&only("server", &[], &[], old), Status::Warn, "version 0.0.1 runs", "systemctl restart spindle");
    let held = |f: &mut Facts| {
        f.server.as_mut().unwrap().ports_not_open = (0..5).map(|n| format!("127.0.0.1:2000{n}")).collect();
    };
    let found = only("relay", &[], &[], held);
    is(&found, Status::Warn, "127.0.0.1:20002 and 2 more", "ss -ltnp 'sport = :20000'");
}

#[test]
fn an_image_that_never_reported_is_named() {
    let with = |sandboxes: Vec<Shown>| only("reports", &[], &[], move |f| f.sandboxes = Ok(sandboxes));
    is(&with(vec![]), Status::Ok, "no sandbox runs", "");
    // One sandbox that reports is enough for its image.
    is(&with(vec![running("a", true), running("a", false)]), Status::Ok, "every image", "");
    let found = with(vec![running("a", false), running("b", true), running("c", false), running("a", false)]);
    is(&found, Status::Warn, "never reported: a, c", "docker exec");
    let young = Shown { started_at: Some("2026-11-21T03:58:00Z".parse().unwrap()), ..running("a", false) };
    is(&with(vec![young]), Status::Ok, "", "");
    let uncounted = Shown { reports_count: false, ..running("a", false) };
    let stopped = Shown { is_running: false, ..running("a", false) };
    is(&with(vec![uncounted, stopped]), Status::Ok, "", "");
    let rare = Shown { report_period: Some(60), idle_limit: Some(90), ..running("b", true) };
    let often = Shown { idle_limit: Some(180), ..rare.clone() };
    is(&with(vec![often]), Status::Ok, "every image", "");
    let found = with(vec![rare.clone(), rare, running("c", true)]);
    let told = "rarer than the limit needs: b, every 60 s, where a limit of 90 s needs one every 30 s";
    is(&found, Status::Warn, told, "/run/spindle/report_period");
    let denied = only("reports", &["ports left"], &[], |f| f.sandboxes = Err("another password".into()));
    is(&denied, Status::Unseen, "another password", "--config");
}
