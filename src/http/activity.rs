//! The wire objects about activity: why a container runs or was stopped.

use rocket::serde::Serialize;

use super::wire::{Extended, Policy, instant, status};
use crate::{
    app::{self, App},
    domain::{Carrier, Decision, PortMapping, PortUse, Sandbox, Source},
};

/// Why a container is in the state that it is in.
#[derive(Serialize)]
#[serde(crate = "rocket::serde")]
pub struct Activity {
    container_id: String,
    name: String,
    status: &'static str,
    why: String,
    stops_at: Option<String>,
    /// What will be `stopped_reason` then.
    stops_for: Option<&'static str>,
    warns_at: Option<String>,
    no_idle_stops_before: Option<String>,
    keep_until: Option<String>,
    extended: Option<Extended>,
    policy: Policy,
    sources: Vec<Evidence>,
    check_ins: CheckIns,
    ports: Vec<Port>,
    note: Option<&'static str>,
    decisions: Vec<Decided>,
}

/// One source of evidence.
#[derive(Serialize)]
#[serde(crate = "rocket::serde")]
struct Evidence {
    source: &'static str,
    class: &'static str,
    counts: bool,
    last_at: Option<String>,
    count: u64,
}

/// What the image's reporter says, and whether it still does.
#[derive(Serialize)]
#[serde(crate = "rocket::serde")]
struct CheckIns {
    state: &'static str,
    last_at: Option<String>,
    last_value: u64,
    /// How often it is seen to report, in seconds.
    period: Option<u64>,
    /// How often its limit needs a report.
    needed: Option<u64>,
    note: Option<String>,
}

/// One port, and whether anybody sees its use.
#[derive(Serialize)]
#[serde(crate = "rocket::serde")]
struct Port {
    container_port: u16,
    protocol: &'static str,
    seen: bool,
    connections: u32,
    connections_in_use: u32,
    last_byte_at: Option<String>,
    last_use_at: Option<String>,
}

/// One decision, with the newest evidence that it rests on.
#[derive(Serialize)]
#[serde(crate = "rocket::serde")]
struct Decided {
    at: String,
    decision: &'static str,
    why: String,
    evidence: Option<&'static str>,
    evidence_at: Option<String>,
}

impl Activity {
    /// The object for `activity`.
    pub fn new(app: &App, activity: &app::Activity) -> Self {
        let sandbox = &activity.sandbox;
        let policy = app.asked.policy_of(sandbox);
        let evidence = |source: Source| Evidence {
            source: source.word(),
            class: if source.is_interactive() { "interactive" } else { "connection" },
            counts: policy.evidence.count(source),
            last_at: sandbox.life.evidence.last_of(source).map(instant),
            count: sandbox.life.evidence.count_of(source),
        };
        let ports: Vec<Port> =
            activity.ports.iter().map(|(p, used)| Port::new(p, used.as_ref(), activity.unseen)).collect();
        let unseen = ports.iter().any(|p| !p.seen);
        Self {
            container_id: sandbox.container.as_ref().map(ToString::to_string).unwrap_or_default(),
            name: format!("/{}", sandbox.name),
            status: status(&sandbox.life.state),
            why: activity.why.clone(),
            stops_at: activity.deadline.map(|d| instant(d.at)),
            stops_for: activity.deadline.map(|d| d.reason().word()),
            warns_at: activity.warns_at.map(instant),
            no_idle_stops_before: activity.hold_until.map(instant),
            keep_until: sandbox.life.keep_until.map(instant),
            extended: sandbox.life.extension.as_ref().map(Extended::from),
            policy: Policy::new(app, sandbox),
            sources: Source::ALL.into_iter().map(evidence).collect(),
            check_ins: CheckIns {
                state: activity.reports.word(),
                last_at: sandbox.life.last_report.map(instant),
                last_value: sandbox.life.active,
                period: sandbox.life.rhythm.period.map(|period| period.as_secs()),
                needed: app.asked.policy_set_for(sandbox).idle_limit.span().map(|limit| limit.as_secs() / 3),
                note: activity.rare.clone(),
            },
            ports,
            note: unseen.then_some("of ports that are not seen, only what the container itself reports is known"),
            decisions: activity.decisions.iter().map(Decided::from).collect(),
        }
    }
}

impl Port {
    fn new(mapping: &PortMapping, used: Option<&PortUse>, unseen: bool) -> Self {
        Self {
            container_port: mapping.inside.port,
            protocol: mapping.inside.protocol.word(),
            seen: mapping.carrier == Carrier::Relay && !unseen,
            connections: used.map_or(0, |u| u.connections),
            connections_in_use: used.map_or(0, |u| u.in_use),
            last_byte_at: used.and_then(|u| u.last_byte).map(instant),
            last_use_at: used.and_then(|u| u.last_use).map(instant),
        }
    }
}

impl From<&Decision> for Decided {
    fn from(decision: &Decision) -> Self {
        Self {
            at: instant(decision.at),
            decision: decision.decided.word(),
            why: decision.why.clone(),
            evidence: decision.evidence.map(|e| e.source.word()),
            evidence_at: decision.evidence.map(|e| instant(e.at)),
        }
    }
}

/// The answer to whoever keeps a container from inside.
#[derive(Serialize)]
#[serde(crate = "rocket::serde")]
pub struct Kept {
    keep_until: Option<String>,
    /// The same as it is shown inside: in the sandbox's own time zone.
    keep_until_local: Option<String>,
    stops_at: Option<String>,
}

impl Kept {
    /// The object for `sandbox`.
    pub fn new(app: &App, sandbox: &Sandbox) -> Self {
        let local = sandbox.life.keep_until.map(|until| sandbox.recipe.zone.date_and_time(until));
        Self {
            keep_until: sandbox.life.keep_until.map(instant),
            keep_until_local: local,
            stops_at: app.asked.stops_at(sandbox).map(instant),
        }
    }
}
