//! Translates an activity into its wire shape: why a container runs or was stopped.

use super::wire::{extended, id, instant, name, policy, status};
use crate::{
    api::{self, Instant},
    app::{Activity, PortView, View},
    domain::{Carrier, Decision, Source},
};

/// The note on ports that are not seen.
const UNSEEN: &str = "of ports that are not seen, only what the container itself reports is known";

/// The object for `activity`.
pub fn shown(activity: &Activity) -> api::Activity {
    let view = &activity.view;
    let sandbox = &view.sandbox;
    let ports: Vec<_> = view.ports.iter().map(|port| port_use(port, activity.unseen)).collect();
    let unseen = ports.iter().any(|port| !port.seen);
    api::Activity {
        container_id: id(sandbox),
        name: name(sandbox),
        status: status(&sandbox.life.state).into(),
        why: view.why.clone(),
        stops_at: instant(view.stops_at()),
        stops_for: view.deadline.map(|deadline| deadline.reason().word().into()),
        warns_at: instant(activity.warns_at),
        no_idle_stops_before: instant(activity.hold_until),
        keep_until: instant(sandbox.life.keep_until),
        extended: sandbox.life.extension.as_ref().map(extended),
        policy: policy(view),
        sources: Source::ALL.into_iter().map(|source| evidence(view, source)).collect(),
        check_ins: api::CheckIns {
            state: activity.reports.word().into(),
            last_at: instant(sandbox.life.last_report),
            last_value: sandbox.life.active,
            period: sandbox.life.rhythm.period.map(|period| period.as_secs()),
            needed: view.policy.idle_limit.span().map(|limit| limit.as_secs() / 3),
            note: activity.rare.clone(),
        },
        ports,
        note: unseen.then_some(UNSEEN.into()),
        decisions: activity.decisions.iter().map(decision).collect(),
    }
}

/// The answer to a user who keeps a container from inside.
pub fn kept(view: &View) -> api::Kept {
    let sandbox = &view.sandbox;
    api::Kept {
        keep_until: instant(sandbox.life.keep_until),
        keep_until_local: sandbox.life.keep_until.map(|until| sandbox.recipe.zone.date_and_time(until)),
        stops_at: instant(view.stops_at()),
    }
}

fn evidence(view: &View, source: Source) -> api::Evidence {
    let log = &view.sandbox.life.evidence;
    api::Evidence {
        source: source.word().into(),
        class: if source.is_interactive() { "interactive" } else { "connection" }.into(),
        counts: view.policy.evidence.count(source),
        last_at: instant(log.last_of(source)),
        count: log.count_of(source),
    }
}

fn port_use(port: &PortView, unseen: bool) -> api::PortUse {
    let (mapping, carried) = (&port.mapping, port.carried.as_ref());
    api::PortUse {
        container_port: mapping.inside.port,
        protocol: mapping.inside.protocol.word().into(),
        seen: mapping.carrier == Carrier::Relay && !unseen,
        connections: carried.map_or(0, |c| c.open),
        connections_in_use: carried.map_or(0, |c| c.in_use),
        last_byte_at: instant(carried.and_then(|c| c.last_byte)),
        last_use_at: instant(carried.and_then(|c| c.last_use).map(|(_, at)| at)),
    }
}

fn decision(decision: &Decision) -> api::Decision {
    api::Decision {
        at: Instant(decision.at),
        decision: decision.decided.word().into(),
        why: decision.why.clone(),
        evidence: decision.evidence.map(|e| e.source.word().into()),
        evidence_at: instant(decision.evidence.map(|e| e.at)),
    }
}
