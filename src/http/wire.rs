//! Translates views of containers and images into their wire shapes.

use std::net::IpAddr;

use jiff::Timestamp;
use rocket::http::uri::Host;

use crate::{
    api::{self, Instant},
    app::{self, Announced, PortView, View},
    domain::{
        Action, Actor, Carrier, Event, EventOn, Extension, Fact, Failure, ImageRef, Limit, PortMapping, PortSpec, Role,
        Sandbox, Source, State,
    },
};

/// The container object for `view`. `host` is the one that the request was sent to.
pub fn container(view: &View, host: Option<&Host<'_>>) -> api::Container {
    let sandbox = &view.sandbox;
    let id = id(sandbox);
    let status = status(&sandbox.life.state);
    let (started_at, stopped) = match sandbox.life.state {
        State::Running { since, .. } => (Some(since), None),
        State::Stopped { at, reason } => (None, Some((at, reason))),
        State::Starting { stopped_at, reason } => (None, Some((stopped_at, reason))),
        _ => (None, None),
    };
    let ending = sandbox.life.seen.ending.as_ref();
    // A start is Spindle's doing, an extension may be the instructor's.
    let used = sandbox.life.evidence.newest(|s| !matches!(s, Source::Start | Source::Extension | Source::Staff));
    let exit = ending.and_then(|e| e.exit);
    let relayed = view.ports.iter().filter(|port| port.mapping.carrier == Carrier::Relay);
    api::Container {
        uri: format!("/v1/containers/{id}"),
        container_id: id,
        name: name(sandbox),
        image: sandbox.recipe.image.to_string(),
        status: status.into(),
        active: sandbox.life.active.to_string(),
        ssh_port: live_port(sandbox, Some(PortSpec::SSH)),
        app_port: live_port(sandbox, sandbox.recipe.app_port),
        access: access(sandbox, host),
        namespace: sandbox.ownership.namespace.to_string(),
        owner: sandbox.ownership.owner.as_ref().map(ToString::to_string),
        ports: sandbox.ports.iter().map(port).collect(),
        created_at: Instant(sandbox.created_at),
        started_at: instant(started_at),
        stopped_at: instant(stopped.map(|(at, _)| at)),
        stopped_reason: stopped.map(|(_, reason)| reason.word().into()),
        stops_at: instant(view.stops_at()),
        last_active_at: instant(sandbox.life.evidence.newest(Source::is_use).map(|e| e.at)),
        last_used_at: instant(used.map(|e| e.at)),
        used_by: used.map(|used| api::UsedBy {
            source: used.source.word().into(),
            age: u64::try_from(view.at.duration_since(used.at).as_secs()).unwrap_or_default(),
        }),
        last_check_in_at: instant(sandbox.life.last_report),
        report_period: sandbox.life.rhythm.period.map(|period| period.as_secs()),
        why: view.why.clone(),
        keep_until: instant(sandbox.life.keep_until),
        extended: sandbox.life.extension.as_ref().map(extended),
        policy: policy(view),
        tz: sandbox.recipe.zone.name().to_owned(),
        memory: sandbox.recipe.memory.bytes(),
        cpus: sandbox.recipe.cpus.cores(),
        labels: sandbox.recipe.labels.iter().map(|l| (l.key().to_owned(), l.value().to_owned())).collect(),
        traffic: relayed.map(traffic).collect(),
        wake: view.wake.word().into(),
        wake_failed_at: instant(sandbox.life.wake_failure.as_ref().map(|f| f.at)),
        wake_failure: sandbox.life.wake_failure.as_ref().map(|f| f.why.clone()),
        paused: sandbox.life.seen.paused && status == "running",
        exit_code: exit.map(|exit| exit.code),
        oom_killed: exit.map(|exit| exit.oom_killed),
        last_lines: ending.map(|e| e.last_lines.clone()),
        engine_name: sandbox.life.seen.called.clone(),
    }
}

/// The object for an action, as `by` may see it. The words of an error are for whoever made it: they may name what others
/// must not know.
pub fn action(by: &Actor, action: &Action) -> api::Action {
    let on = &action.on;
    let is_theirs = by.rights.role == Role::Admin || by.to_string() == action.actor;
    let words = |f: &Failure| if is_theirs { f.text.clone() } else { format!("({})", f.code) };
    api::Action {
        id: action.id.clone(),
        verb: action.verb.clone(),
        state: action.state.word().into(),
        actor: action.actor.clone(),
        credential: action.credential.clone(),
        from: action.from.map(|from| from.to_string()),
        request_id: action.request.clone(),
        object: api::ActedOn {
            kind: on.kind.word().into(),
            id: on.id.clone(),
            name: on.name.clone(),
            container_id: on.container.as_ref().map(ToString::to_string),
            namespace: on.namespace.as_ref().map(ToString::to_string),
        },
        changed: action.changed.clone(),
        started_at: Instant(action.started_at),
        ended_at: instant(action.ended_at),
        error: action.failure.as_ref().map(|f| api::Failure { code: f.code.clone(), message: words(f) }),
    }
}

/// The object for an event.
pub fn event(event: &Event) -> api::Event {
    let on = |on: &EventOn| api::EventOn {
        kind: "container".into(),
        name: format!("/{}", on.name),
        container_id: on.container.as_ref().map(ToString::to_string),
        image: on.image.clone(),
        namespace: on.ownership.namespace.to_string(),
        owner: on.ownership.owner.as_ref().map(ToString::to_string),
        labels: on.labels.iter().map(|l| (l.key().to_owned(), l.value().to_owned())).collect(),
    };
    let fact = |fact: &Fact| match fact {
        Fact::Text(text) => api::Fact::Text(text.clone()),
        Fact::Number(number) => api::Fact::Number(*number),
    };
    api::Event {
        id: event.id,
        at: Instant(event.at),
        what: event.what.word().into(),
        object: event.on.as_ref().map(on),
        detail: event.detail.iter().map(|(key, value)| (key.clone(), fact(value))).collect(),
    }
}

/// How a message was shown.
pub fn announced(announced: Announced) -> api::Shown {
    api::Shown { terminals: announced.reached, stopped: announced.stopped }
}

/// An instant, if there is one.
pub fn instant(at: Option<Timestamp>) -> Option<Instant> {
    at.map(Instant)
}

/// The id that the API has for a sandbox.
pub fn id(sandbox: &Sandbox) -> String {
    sandbox.container.as_ref().map(ToString::to_string).unwrap_or_default()
}

/// A sandbox's name in the API.
pub fn name(sandbox: &Sandbox) -> String {
    format!("/{}", sandbox.name)
}

/// A state's name in the API (`CONTRACT.md` 8).
pub fn status(state: &State) -> &'static str {
    state.status()
}

/// A sandbox's policy, and how long before a stop it is warned.
pub fn policy(view: &View) -> api::Policy {
    let limit = |limit: Limit| limit.span().map_or(api::Limit::NEVER, |span| api::Limit::Seconds(span.as_secs()));
    let set = &view.policy;
    api::Policy {
        idle_timeout: limit(set.idle_limit),
        connection_cap: limit(set.connection_cap),
        max_age: limit(set.max_age),
        warn_before: limit(view.lead.map_or(Limit::Never, Limit::After)),
        evidence: set.evidence.to_string(),
    }
}

/// Who keeps a sandbox.
pub fn extended(extension: &Extension) -> api::Extended {
    api::Extended { at: Instant(extension.at), by: extension.by.to_string(), until: Instant(extension.until) }
}

/// The object for an image that was asked for as `image`.
pub fn image(image: &ImageRef, shown: app::Image) -> api::Image {
    let app::Image { details, containers, problems } = shown;
    let label = |key| details.labels.get(key).filter(|text| !text.is_empty()).cloned();
    api::Image {
        image: image.to_string(),
        title: label("spindle.title"),
        description: label("spindle.description"),
        id: details.id,
        tags: details.tags,
        size: details.size,
        created_at: instant(details.created),
        platform: details.platform,
        exposed_ports: details.exposed.iter().map(ToString::to_string).collect(),
        labels: details.labels,
        containers,
        problems,
    }
}

/// The host port of one port; `""` for a stopped sandbox (`CONTRACT.md` 10).
fn live_port(sandbox: &Sandbox, spec: Option<PortSpec>) -> String {
    let live = status(&sandbox.life.state) != "stopped";
    let endpoint = spec.filter(|_| live).and_then(|spec| sandbox.endpoint(spec));
    endpoint.map(|endpoint| endpoint.port.to_string()).unwrap_or_default()
}

/// The URL of its app, stopped or not: opening it may wake the sandbox. If the server publishes on every address, the
/// URL has the host name of the request.
fn access(sandbox: &Sandbox, host: Option<&Host<'_>>) -> Option<String> {
    let endpoint = sandbox.endpoint(sandbox.recipe.app_port?)?;
    let host = match endpoint.host {
        at if at.is_unspecified() => host.map_or("localhost".into(), |host| host.domain().to_string()),
        IpAddr::V6(at) => format!("[{at}]"),
        IpAddr::V4(at) => at.to_string(),
    };
    Some(sandbox.recipe.access.as_ref()?.url(&host, endpoint.port, &sandbox.token))
}

fn port(mapping: &PortMapping) -> api::Port {
    api::Port {
        container_port: mapping.inside.port,
        protocol: mapping.inside.protocol.word().into(),
        host: mapping.outside.host.to_string(),
        host_port: mapping.outside.port,
    }
}

fn traffic(port: &PortView) -> api::Traffic {
    let carried = port.carried.as_ref();
    api::Traffic {
        container_port: port.mapping.inside.port,
        connections: carried.map_or(0, |c| c.open),
        bytes_in: carried.map_or(0, |c| c.bytes_in),
        bytes_out: carried.map_or(0, |c| c.bytes_out),
        last_byte_at: instant(carried.and_then(|c| c.last_byte)),
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::OwnPolicy;

    use super::*;

    #[test]
    fn the_policy_has_the_keys_that_a_request_sets_it_by() {
        let shown = serde_json::to_value(api::Policy::default()).unwrap();
        let shown: Vec<_> = shown.as_object().unwrap().keys().cloned().collect();
        let mut keys = OwnPolicy::KEYS;
        keys.sort_unstable();
        assert_eq!(shown, keys);
    }
}
