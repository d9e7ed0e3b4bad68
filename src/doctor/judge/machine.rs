//! Judges the machine: disks, clock, descriptors, and the kernel limits that all sandboxes share.

use jiff::SignedDuration;

use crate::{
    config::Config,
    doctor::{
        facts::{Facts, SHARED, Seen},
        finding::{Finding, fail, ok, unseen, warn},
        words::{grouped, size},
    },
    host::{self, Disk},
};

const GIB: u64 = 1 << 30;

/// How far apart the engine's clock and ours may be.
const APART: SignedDuration = SignedDuration::from_secs(5);

/// Below the first of `marks` work stops; below the second it soon will.
fn disk(seen: &Seen<Disk>, at: &str, marks: (u64, u64), why: &str, fix: String) -> Finding {
    match seen {
        Err(reason) => unseen(format!("{at}: {reason}")),
        Ok(disk) => {
            let found = format!("{} free of {} at {at}", size(disk.free), size(disk.total));
            match disk.free {
                free if free < marks.0 => fail(found, why, fix),
                free if free < marks.1 => warn(found, why, fix),
                _ => ok(found),
            }
        }
    }
}

pub fn engine_disk(_: &Config, facts: &Facts) -> Finding {
    let Ok(engine) = &facts.engine else { return unseen("the engine does not answer") };
    let why = "on a full disk no sandbox can be created or write anything";
    let fix = "docker system df; docker image prune; docker ps -s shows who uses it".to_owned();
    disk(&facts.engine_disk, &engine.root.display().to_string(), (GIB, 5 * GIB), why, fix)
}

pub fn database_disk(config: &Config, facts: &Facts) -> Finding {
    let at = config.database.display().to_string();
    let why = "on a full disk no report is recorded, and nothing can be created";
    let fix = format!("free some space where {at} is; or set SPINDLE_DATABASE to another place");
    disk(&facts.database_disk, &at, (GIB / 16, GIB / 2), why, fix)
}

pub fn clock(_: &Config, facts: &Facts) -> Finding {
    let theirs = facts.engine.as_ref().ok().and_then(|e| e.time);
    // The engine read its clock between our two looks.
    let early = theirs.map(|t| facts.asked_at.duration_since(t)).filter(|d| *d > APART);
    let late = theirs.map(|t| t.duration_since(facts.now)).filter(|d| *d > APART);
    if let Some(apart) = early.or(late) {
        let side = if early.is_some() { "behind" } else { "ahead of" };
        return warn(
            format!("the engine's clock is {} s {side} this machine's", apart.as_secs()),
            "when sandboxes started and when they were used is told by two clocks",
            "timedatectl set-ntp true, on both machines",
        );
    }
    match &facts.clock_kept {
        Ok(true) => ok("kept by a time service"),
        Ok(false) => warn(
            "no time service keeps it",
            "after a jump of the clock nobody is stopped for a while, and the times that are shown are wrong",
            "apt-get install systemd-timesyncd && timedatectl set-ntp true",
        ),
        Err(why) => unseen(why),
    }
}

/// How many terminals the kernel reserves for the machine itself (`kernel.pty.reserve`).
const RESERVED: u64 = 1_024;

/// The values that the machine's setup sets, as a file for `sysctl`.
const SET: &str = include_str!("../../../scripts/sysctl.conf");

/// How much of [`SHARED`] there must be, so that a sandbox meets its own limits before it has used up what all share.
/// Terminals are counted in each sandbox. Each unit of the others takes so many bytes of its memory, as measured.
fn least(config: &Config) -> [u64; SHARED.len()] {
    let memory = config.sandbox.memory.bytes();
    let terminals = u64::from(config.max_running) * u64::from(config.sandbox.terminals_limit) + RESERVED;
    [terminals, memory / 1_000, memory / 90, memory / 32, memory / 200]
}

pub fn kernel_limits(config: &Config, facts: &Facts) -> Finding {
    let mut low = Vec::new();
    for ((name, seen), least) in facts.shared.iter().zip(least(config)) {
        match seen {
            Ok(seen) if *seen < least => low.push((*name, *seen, least)),
            Ok(_) => {}
            Err(why) => return unseen(format!("{name}: {why}")),
        }
    }
    if low.is_empty() {
        return ok("no sandbox can take all that the kernel has for all of them");
    }
    let found = low.iter().map(|(name, seen, least)| format!("{name} is {}, not {}", grouped(*seen), grouped(*least)));
    let set = |name: &str, least: u64| {
        let usual = SET.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(" = ")?.parse().ok());
        format!("{name}={}", usual.map_or(least, |usual: u64| usual.max(least)))
    };
    let set: Vec<_> = low.iter().map(|(name, _, least)| set(name, *least)).collect();
    warn(
        found.collect::<Vec<_>>().join("; "),
        "one learner can open so many of these that nobody else on the machine gets any",
        format!("sysctl -w {}; and the same into /etc/sysctl.d/10-spindle.conf, a line each", set.join(" ")),
    )
}

pub fn descriptors(config: &Config, facts: &Facts) -> Finding {
    let wanted = u64::from(config.relay.limits.connections);
    let running = facts.server.as_ref().ok().and_then(|s| s.descriptors);
    // The running server's own limit counts; if it does not run, the limit that it would get from here.
    let (whose, limit) = match (running, facts.descriptors) {
        (Some((used, limit)), _) => (format!("{} of {} in use", grouped(used), grouped(limit)), limit),
        (None, None) => return ok("no limit"),
        (None, Some(limit)) => (format!("{} for what is started from here", grouped(limit)), limit),
    };
    // The process that carries the connections needs the descriptors.
    let name = if config.relay.socket.is_some() { "spindle-relay" } else { "spindle" };
    let unit =
        format!("LimitNOFILE=65536 under [Service] (systemctl edit {name}), and restart it; or: ulimit -n 65536");
    match (running, host::room(limit).relay) {
        (Some((used, _)), _) if used > limit / 10 * 9 => {
            fail(whose, "soon nobody else can connect, and no sandbox can report", unit)
        }
        (_, room) if room < wanted => warn(
            format!("{whose}: room for {} connections, not {}", grouped(room), grouped(wanted)),
            "more learners than that are turned away at the same time",
            unit,
        ),
        _ => ok(format!("{whose}: room for {} connections", grouped(wanted))),
    }
}
