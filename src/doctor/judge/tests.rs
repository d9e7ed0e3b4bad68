//! Tests the judge with a host on which all is well, and with each thing that can be wrong.

mod network;
mod report;
mod server;

use std::path::Path;

use super::*;
use crate::{
    config::DEFAULT_PASSWORD,
    doctor::{
        facts::{SHARED, Server, Shown},
        finding::Status,
    },
    engine::{
        EngineError,
        docker::{
            diagnosis::{Description, Network},
            trial::{Answer, Trial},
        },
    },
    host::{Disk, Firewall, Mount, Route},
};

const GIB: u64 = 1 << 30;
const AWAY: &str = "Connection refused (os error 111)";

fn config(variables: &[(&str, &str)]) -> Config {
    let variables = variables.iter().map(|(k, v)| (format!("SPINDLE_{k}"), (*v).to_owned()));
    Config::load(Path::new("/nonexistent/spindle.toml"), false, variables).unwrap()
}

fn network(name: &str, subnet: &str, deployment: Option<&str>) -> Network {
    Network {
        name: name.into(),
        bridge: format!("br-{name}"),
        subnets: vec![subnet.parse().unwrap()],
        deployment: deployment.map(str::to_owned),
    }
}

fn running(image: &str, has_reported: bool) -> Shown {
    let started_at = Some("2026-11-21T03:00:00Z".parse().unwrap());
    let (is_running, reports_count) = (true, true);
    Shown {
        image: image.into(),
        is_running,
        started_at,
        has_reported,
        reports_count,
        ports: vec![20_000, 20_001],
        ..Shown::default()
    }
}

fn trial(door: Option<Answer>) -> Trial {
    Trial { image: "spindle/base".into(), lacking: Vec::new(), door }
}

/// A host on which nothing is wrong.
fn well() -> Facts {
    let now = "2026-11-21T04:00:00Z".parse().unwrap();
    Facts {
        engine_at: "unix:///var/run/docker.sock".into(),
        engine: Ok(Description {
            version: "20.10.24+dfsg1".into(),
            api_version: "1.41".into(),
            root: "/var/lib/docker".into(),
            storage: "overlay2".into(),
            backing: "xfs".into(),
            in_containerd: false,
            live_restore: true,
            memory: 24 * GIB,
            lacking: Vec::new(),
            time: Some(now),
        }),
        networks: Ok(vec![
            network("bridge", "172.17.0.0/16", None),
            network("spindle", "10.213.0.0/22", Some("spindle")),
        ]),
        on_bridge: Ok(Some(1)),
        trial: Ok(Some(trial(Some(Answer::Spindle)))),
        server: Ok(Server {
            version: env!("CARGO_PKG_VERSION").into(),
            door_is_open: true,
            descriptors: Some((40, 65_536)),
            ..Server::default()
        }),
        sandboxes: Ok(vec![running("spindle/base", true)]),
        routes: Ok(vec![Route { to: "10.213.0.0/22".parse().unwrap(), by: "br-spindle".into() }]),
        clients: None,
        descriptors: Some(65_536),
        shared: SHARED.map(|name| (name, Ok(u64::MAX))).into(),
        memory: Some(24 * GIB),
        engine_disk: Ok(Disk { free: 100 * GIB, total: 200 * GIB }),
        engine_mount: Ok(Mount { kind: "xfs".into(), options: "rw,attr2,prjquota".into() }),
        database_disk: Ok(Disk { free: 100 * GIB, total: 200 * GIB }),
        firewall: Ok(Firewall::default()),
        firewall_manager: None,
        clock_kept: Ok(true),
        asked_at: now,
        now,
    }
}

/// What `check` finds after `change`. Nothing else may be wrong but `along`.
#[track_caller]
fn only(check: &str, along: &[&str], variables: &[(&str, &str)], change: impl FnOnce(&mut Facts)) -> Finding {
    let mut facts = well();
    change(&mut facts);
    let config = config(&[&[("ADMIN_PASSWORD", "own")], variables].concat());
    let mut wrong = findings(&config, &facts);
    let found = wrong.iter().find(|f| f.check == check).cloned().unwrap();
    wrong.retain(|f| f.status != Status::Ok && f.check != check && !along.contains(&f.check));
    assert!(wrong.is_empty(), "{wrong:#?}");
    for f in [&found].into_iter().filter(|f| [Status::Warn, Status::Fail].contains(&f.status)) {
        assert!(!f.why.is_empty() && !f.fix.is_empty(), "{f:?}");
    }
    found
}

#[track_caller]
fn is(found: &Finding, status: Status, words: &str, fix: &str) {
    assert_eq!(found.status, status, "{found:?}");
    assert!(found.found.contains(words) && found.fix.contains(fix), "{found:?}");
}

/// The checks that depend on the engine's answer, and those that depend on the server's.
const OF_ENGINE: [&str; 9] =
    ["engine", "api", "storage", "limits", "live restore", "engine disk", "subnet", "bridge", "check-in"];
const OF_SERVER: [&str; 4] = ["ports left", "relay", "check-in", "reports"];

#[test]
fn where_all_is_well_nothing_is_found() {
    let found = only("engine", &[], &[], |_| {});
    is(&found, Status::Ok, "Docker 20.10.24+dfsg1 at unix:///var/run/docker.sock", "");
    let names: std::collections::BTreeSet<_> = CHECKS.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), CHECKS.len(), "each has a name of its own");
}

fn without_engine(facts: &mut Facts, why: &str) {
    facts.engine = Err(why.into());
    facts.networks = Err(why.into());
    facts.on_bridge = Err(why.into());
    facts.trial = Err(EngineError::Unavailable(why.into()));
    facts.engine_disk = Err(why.into());
    facts.engine_mount = Err(why.into());
}

#[test]
fn no_engine_prevents_work_and_the_rest_is_still_looked_at() {
    let found = only("engine", &OF_ENGINE, &[], |f| without_engine(f, AWAY));
    is(&found, Status::Fail, AWAY, "systemctl start docker");
    let found = only("engine", &OF_ENGINE, &[], |f| without_engine(f, "Permission denied (os error 13)"));
    is(&found, Status::Fail, "Permission denied", "usermod -aG docker");
    let elsewhere = |f: &mut Facts| {
        without_engine(f, AWAY);
        f.engine_at = "tcp://10.0.0.1:2375".into();
    };
    is(&only("engine", &OF_ENGINE, &[], elsewhere), Status::Fail, "tcp://10.0.0.1:2375", "DOCKER_HOST");
    // The checks that depend on it are neither well nor wrong.
    for check in &OF_ENGINE[1..] {
        assert_eq!(only(check, &OF_ENGINE, &[], |f| without_engine(f, AWAY)).status, Status::Unseen, "{check}");
    }
}

#[test]
fn an_old_engine_is_too_old() {
    let old = |version: &'static str| move |f: &mut Facts| f.engine.as_mut().unwrap().version = version.into();
    is(&only("engine", &[], &[], old("19.03.5")), Status::Fail, "Docker 19.03.5", "apt-get install docker.io");
    is(&only("engine", &[], &[], old("29.0.1")), Status::Ok, "29.0.1", "");
    is(&only("engine", &[], &[], old("dev")), Status::Ok, "dev", "");
    let api = only("api", &[], &[], |f| f.engine.as_mut().unwrap().api_version = "1.40".into());
    is(&api, Status::Fail, "1.40", "docker.io");
}

#[test]
fn quotas_need_xfs_mounted_with_them_or_btrfs_or_zfs() {
    let on = |storage: &'static str, backing: &'static str, options: &'static str| {
        only("storage", &[], &[], move |f| {
            let engine = f.engine.as_mut().unwrap();
            (engine.storage, engine.backing) = (storage.into(), backing.into());
            f.engine_mount = Ok(Mount { kind: backing.into(), options: options.into() });
        })
    };
    is(&on("overlay2", "xfs", "rw,prjquota"), Status::Ok, "work", "");
    is(&on("btrfs", "", ""), Status::Ok, "btrfs", "");
    is(&on("zfs", "", ""), Status::Ok, "zfs", "");
    is(&on("overlay2", "xfs", "rw,noquota"), Status::Warn, "without quotas", "pquota");
    is(&on("overlay2", "extfs", "rw"), Status::Warn, "overlay2 on extfs: no disk quotas", "xfs");
    is(&on("overlayfs", "", "rw"), Status::Warn, "overlayfs: no disk quotas", "xfs");
    is(&on("vfs", "extfs", "rw"), Status::Warn, "vfs", "overlay2");
    for storage in ["overlayfs", "btrfs"] {
        let in_containerd = only("storage", &[], &[], |f| {
            let engine = f.engine.as_mut().unwrap();
            (engine.storage, engine.backing, engine.in_containerd) = (storage.into(), String::new(), true);
        });
        is(&in_containerd, Status::Warn, "no disk quotas: storage-opts does nothing there", "containerd-snapshotter");
    }
    let unseen = only("storage", &[], &[], |f| f.engine_mount = Err("it is not on this machine".into()));
    is(&unseen, Status::Unseen, "cannot be seen", "");
}

#[test]
fn limits_must_hold_in_a_real_container() {
    let tried = |lacking: &'static [&str]| {
        only("limits", &[], &[], move |f| f.trial.as_mut().unwrap().as_mut().unwrap().lacking = lacking.to_vec())
    };
    is(&tried(&[]), Status::Ok, "hold in a container of spindle/base", "");
    is(&tried(&["swap"]), Status::Warn, "swap", "swapaccount=1");
    is(&tried(&["memory", "swap"]), Status::Fail, "memory, swap", "cgroup_enable=memory");
    is(&tried(&["processes"]), Status::Fail, "processes", "docker info");
    let told = only("limits", &[], &[], |f| f.engine.as_mut().unwrap().lacking = vec!["cpu"]);
    is(&told, Status::Fail, "cpu", "docker info");
    let untried = only("limits", &["check-in"], &[], |f| f.trial = Ok(None));
    is(&untried, Status::Ok, "says the engine", "");
    let failed = only("limits", &["check-in"], &[], |f| f.trial = Err(EngineError::Refused("no space".into())));
    is(&failed, Status::Unseen, "no space", "");
}

#[test]
fn live_restore_is_wanted() {
    let found = only("live restore", &[], &[], |f| f.engine.as_mut().unwrap().live_restore = false);
    is(&found, Status::Warn, "off", "\"live-restore\": true");
}

#[test]
fn a_disk_that_is_nearly_full_is_told_before_it_is() {
    let engine = |free| only("engine disk", &[], &[], move |f| f.engine_disk = Ok(Disk { free, total: 9 * GIB }));
    is(&engine(6 * GIB), Status::Ok, "6.0 GiB free of 9.0 GiB at /var/lib/docker", "");
    is(&engine(2 * GIB), Status::Warn, "2.0 GiB", "docker image prune");
    is(&engine(GIB / 2), Status::Fail, "512 MiB", "docker image prune");
    let database = |free| only("database disk", &[], &[], move |f| f.database_disk = Ok(Disk { free, total: GIB }));
    is(&database(GIB), Status::Ok, "spindle.db", "");
    is(&database(GIB / 4), Status::Warn, "256 MiB", "SPINDLE_DATABASE");
    is(&database(0), Status::Fail, "0 MiB", "SPINDLE_DATABASE");
    let unseen = only("database disk", &[], &[], |f| f.database_disk = Err("no answer within 3 s".into()));
    is(&unseen, Status::Unseen, "no answer within 3 s", "");
}

#[test]
fn a_clock_that_nobody_keeps_or_that_differs_from_the_engines() {
    is(&only("clock", &[], &[], |f| f.clock_kept = Ok(false)), Status::Warn, "no time service", "systemd-timesyncd");
    is(&only("clock", &[], &[], |f| f.clock_kept = Err("no".into())), Status::Unseen, "no", "");
    let theirs = |at: &'static str| only("clock", &[], &[], move |f| f.engine.as_mut().unwrap().time = at.parse().ok());
    is(&theirs("2026-11-21T04:01:00Z"), Status::Warn, "60 s ahead of", "set-ntp");
    is(&theirs("2026-11-21T03:58:00Z"), Status::Warn, "120 s behind", "set-ntp");
    is(&theirs("2026-11-21T04:00:04Z"), Status::Ok, "", "");
}

#[test]
fn few_descriptors_are_few_connections() {
    let with = |used, limit| {
        only("descriptors", &[], &[], move |f| f.server.as_mut().unwrap().descriptors = Some((used, limit)))
    };
    is(&with(40, 20_000), Status::Ok, "40 of 20,000 in use: room for 4,096 connections", "");
    is(&with(40, 1_024), Status::Warn, "room for 256 connections, not 4,096", "LimitNOFILE");
    is(&with(950, 1_024), Status::Fail, "950 of 1,024", "LimitNOFILE");
    let before = |limit| {
        only("descriptors", &[&OF_SERVER[..], &["server"]].concat(), &[], move |f| {
            without_server(f);
            f.descriptors = limit;
        })
    };
    is(&before(Some(1_024)), Status::Warn, "1,024 for what is started from here", "ulimit -n");
    is(&before(None), Status::Ok, "no limit", "");
}

#[test]
fn what_one_sandbox_could_take_from_all_is_named_and_what_is_set_up_is_enough() {
    let with = |variables: &[(&str, &str)], name: &'static str, seen: u64| {
        only("kernel limits", &[], variables, |f| f.shared.iter_mut().find(|s| s.0 == name).unwrap().1 = Ok(seen))
    };
    let found = with(&[], "kernel.pty.max", 4_096);
    is(&found, Status::Warn, "kernel.pty.max is 4,096, not 65,024", "sysctl -w kernel.pty.max=131072; ");
    is(&with(&[("MAX_RUNNING", "40")], "kernel.pty.max", 4_096), Status::Ok, "", "");
    let found = with(&[("TERMINALS_LIMIT", "1000")], "kernel.pty.max", 131_072);
    is(&found, Status::Warn, "not 1,001,024", "sysctl -w kernel.pty.max=1001024");
    let found = with(&[], "fs.inotify.max_user_instances", 128);
    is(&found, Status::Warn, "fs.inotify.max_user_instances is 128", "max_user_instances=16777216");
    let found = with(&[("MEMORY", "64g")], "fs.inotify.max_user_instances", 16_777_216);
    is(&found, Status::Warn, "not 68,719,476", "max_user_instances=68719476;");
    let set = include_str!("../../../scripts/sysctl.conf");
    for line in set.lines().filter(|l| !l.starts_with('#') && !l.is_empty()) {
        let (name, value) = line.split_once(" = ").unwrap();
        let name = *SHARED.iter().find(|s| **s == name).unwrap();
        is(&with(&[], name, value.parse().unwrap()), Status::Ok, "", "");
        is(&with(&[], name, 1), Status::Warn, name, &format!("{name}={value}"));
    }
    let unseen = only("kernel limits", &[], &[], |f| f.shared[1].1 = Err("not found".into()));
    is(&unseen, Status::Unseen, "fs.inotify.max_user_instances: not found", "");
}

fn without_server(facts: &mut Facts) {
    facts.server = Err(AWAY.into());
    facts.sandboxes = Err(AWAY.into());
    facts.trial = Ok(Some(trial(Some(Answer::Nobody("Connection refused".into())))));
}
