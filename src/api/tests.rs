//! Tests that shapes are read as they are written, also from an older or a newer server.

use serde_json::{Value, json};

use super::*;

fn read<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap_or_else(|e| panic!("{e}: {value}"))
}

/// A container with a value for every key.
fn container() -> Value {
    let mut container = json!({
        "container_id": "0123", "name": "/alice", "image": "lab", "status": "running", "active": "1",
        "ssh_port": "20000", "app_port": "20001", "uri": "/v1/containers/0123", "access": "http://127.0.0.1:20001/",
        "namespace": "default", "owner": "alice", "ports": [{"container_port": 22, "protocol": "tcp", "host": "127.0.0.1", "host_port": 20000}],
        "created_at": "2026-11-21T03:00:00.000Z", "started_at": "2026-11-21T03:00:01.500Z",
        "stopped_at": "2026-11-21T02:00:00.000Z", "stopped_reason": "idle", "stops_at": "2026-11-21T06:00:00.000Z",
        "last_active_at": "2026-11-21T03:00:00.000Z", "last_check_in_at": "2026-11-21T03:00:00.000Z",
        "report_period": 60, "why": "active: a report", "keep_until": "2026-11-21T06:00:00.000Z",
        "extended": {"at": "2026-11-21T03:00:00.000Z", "by": "admin", "until": "2026-11-21T06:00:00.000Z"},
        "idle_timeout": 9000, "connection_cap": "never", "max_age": "never", "warn_before": 300,
        "evidence": "check_in,connection", "tz": "Europe/Vienna", "memory": 536_870_912, "cpus": 1.5,
        "labels": {"group": "a"}, "wake": "connection", "wake_failed_at": "2026-11-21T03:00:00.000Z",
        "traffic": [{"container_port": 22, "connections": 1, "bytes_in": 2, "bytes_out": 3,
                     "last_byte_at": "2026-11-21T03:00:00.000Z"}],
        "wake_failure": "no", "paused": true, "exit_code": 137, "oom_killed": true, "last_lines": ["Killed"],
        "engine_name": "other",
    });
    // The macro takes no more keys.
    container["last_used_at"] = "2026-11-21T03:00:00.000Z".into();
    container["used_by"] = json!({"source": "connection", "age": 12});
    container
}

fn health() -> Value {
    json!({
        "status": "ok", "version": "0.1.0",
        "engine": {"status": "ok", "version": "20.10.24", "api_version": "1.41"},
        "database": {"status": "unavailable", "message": "the disk is full"},
        "check_in": {"status": "ok", "listening_on": "10.213.0.1:80"},
        "relay": {"status": "impaired", "listeners": 1, "connections": 2, "descriptors": 3, "descriptors_limit": 4,
                  "ports_not_open": [{"at": "127.0.0.1:20000", "message": "another program listens there"}]},
        "last_pass": {"at": "2026-11-21T03:00:00.000Z", "known": 1, "observed": 2, "steps": 3, "failing": 4,
                      "no_idle_stops_before": null},
        "containers": {"running": 1, "stopping": 2, "stopped": 3},
    })
}

#[test]
fn what_is_written_is_read_and_written_the_same() {
    let again = |value: &Value| serde_json::to_value(read::<Container>(value)).unwrap();
    assert_eq!(again(&container()), container());
    let created = Created { container: read(&container()), warnings: vec!["a name".into()] };
    let written = serde_json::to_value(&created).unwrap();
    assert_eq!((read::<Created>(&written), &written["warnings"][0]), (created, &json!("a name")));
    assert_eq!(serde_json::to_value(read::<Health>(&health())).unwrap(), health());
    for line in [
        json!({"status": "pulling", "bytes_done": 1, "bytes": 2, "layers_done": 3, "layers": 4}),
        json!({"status": "failed", "message": "no", "code": "engine_failed"}),
    ] {
        assert_eq!(serde_json::to_value(read::<Pull>(&line)).unwrap(), line);
    }
}

#[test]
fn keys_stand_in_the_order_that_clients_have_always_seen() {
    let written = serde_json::to_string(&read::<Container>(&container())).unwrap();
    let v1 = ["container_id", "name", "image", "status", "active", "ssh_port", "app_port", "uri", "access", "ports"];
    let at: Vec<_> = v1.map(|key| written.find(&format!("\"{key}\":")).unwrap()).into();
    assert!(at.is_sorted() && at[0] == 1, "{written}");
    let written = serde_json::to_string(&read::<Health>(&health())).unwrap();
    let beginning = concat!(
        r#"{"status":"ok","version":"0.1.0","engine":{"api_version":"1.41","status":"ok","version":"20.10.24"},"#,
        r#""database":{"message":"the disk is full","status":"unavailable"},"#,
        r#""check_in":{"listening_on":"10.213.0.1:80","status":"ok"},"relay":{"connections":2,"descriptors":3,"#,
    );
    assert!(written.starts_with(beginning), "{written}");
}

#[test]
fn what_only_a_newer_server_sends_is_no_harm() {
    let mut newer = container();
    newer["status"] = json!("hibernating");
    newer["idle_timeout"] = json!("on fridays");
    newer["people"] = json!([{"name": "bob"}]);
    let read: Container = read(&newer);
    assert_eq!((read.status.as_ref(), read.policy.idle_timeout.seconds()), ("hibernating", None));
    assert_eq!(self::read::<Pull>(&json!({"status": "unpacking", "percent": 3})), Pull::Unknown);
    let mut newer = health();
    newer["cluster"] = json!({"status": "ok"});
    assert_eq!(self::read::<Health>(&newer), self::read(&health()));
}

#[test]
fn what_an_older_server_does_not_send_yet_is_not_missed() {
    let kept = ["container_id", "name", "image", "status", "active", "ssh_port", "app_port", "uri", "created_at"];
    let Value::Object(mut older) = container() else { unreachable!() };
    older.retain(|key, _| kept.contains(&key.as_str()));
    let read: Container = read(&older.into());
    assert_eq!((read.policy, read.ports.len(), read.stops_at), (Policy::default(), 0, None));
    let read: Health = self::read(&json!({"version": "0.0.1", "check_in": {}}));
    assert_eq!((read.version.as_ref(), read.last_pass), ("0.0.1", None));
    let read: Error = self::read(&json!({"message": "Container x doesn't exist"}));
    assert_eq!((read.code.as_ref(), read.hint), ("", None));
}

#[test]
fn what_is_no_answer_of_ours_is_not_taken_for_one() {
    for stranger in [json!(null), json!({}), json!([]), json!({"version": "1"}), json!({"status": "ok"})] {
        assert!(serde_json::from_value::<Health>(stranger.clone()).is_err(), "{stranger}");
        assert!(serde_json::from_value::<Container>(stranger.clone()).is_err(), "{stranger}");
    }
}
