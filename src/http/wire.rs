//! What goes over the wire. The first eight keys of a container are spin-docker's, and strings; the rest
//! is ours, properly typed (`CONTRACT.md` 8).

use std::{collections::BTreeMap, net::IpAddr};

use rocket::{http::uri::Host, serde::Serialize};

use crate::{
    app::{self, App, CheckInDoor, Health},
    domain::{Extension, ImageRef, Limit, PortMapping, PortSpec, Sandbox, Source, State},
};

/// RFC 3339 in UTC, always to the millisecond.
pub fn instant(at: jiff::Timestamp) -> String {
    format!("{at:.3}")
}

/// An error (`CONTRACT.md` 5).
#[derive(Serialize)]
#[serde(crate = "rocket::serde")]
pub struct ErrorBody<'a> {
    /// For people.
    pub message: &'a str,
    /// For programs.
    pub code: &'static str,
    /// Leads to the log.
    pub request_id: &'a str,
    /// What would help, where the message alone does not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<&'a str>,
}

/// A port with the host port that stays reserved for it, stopped or not (`CONTRACT.md` 10).
#[derive(Serialize)]
#[serde(crate = "rocket::serde")]
pub struct Port {
    container_port: u16,
    protocol: &'static str,
    host: String,
    host_port: u16,
}

/// What a port that the relay carries has carried since the relay began to listen on it.
#[derive(Serialize)]
#[serde(crate = "rocket::serde")]
pub struct Traffic {
    container_port: u16,
    connections: u32,
    bytes_in: u64,
    bytes_out: u64,
    last_byte_at: Option<String>,
}

/// The policy of stopping that applies to a container: seconds, or `never`.
#[derive(Serialize)]
#[serde(crate = "rocket::serde")]
pub struct Policy {
    idle_timeout: serde_json::Value,
    connection_cap: serde_json::Value,
    max_age: serde_json::Value,
    warn_before: serde_json::Value,
    evidence: String,
}

impl Policy {
    /// What is set for `sandbox`, and how long before a stop it is warned.
    pub fn new(app: &App, sandbox: &Sandbox) -> Self {
        let (policy, lead) = (app.asked.policy_set_for(sandbox), app.asked.policy_of(sandbox).lead());
        let limit = |limit: Limit| limit.span().map_or("never".into(), |span| span.as_secs().into());
        Self {
            idle_timeout: limit(policy.idle_limit),
            connection_cap: limit(policy.connection_cap),
            max_age: limit(policy.max_age),
            warn_before: limit(lead.map_or(Limit::Never, Limit::After)),
            evidence: policy.evidence.to_string(),
        }
    }
}

/// Who last said that a container shall be kept.
#[derive(Serialize)]
#[serde(crate = "rocket::serde")]
pub struct Extended {
    at: String,
    by: String,
    until: String,
}

impl From<&Extension> for Extended {
    fn from(extension: &Extension) -> Self {
        Self { at: instant(extension.at), by: extension.by.clone(), until: instant(extension.until) }
    }
}

/// The container object.
#[derive(Serialize)]
#[serde(crate = "rocket::serde")]
pub struct Container {
    container_id: String,
    name: String,
    image: String,
    status: &'static str,
    active: String,
    ssh_port: String,
    app_port: String,
    uri: String,
    access: Option<String>,
    ports: Vec<Port>,
    created_at: String,
    started_at: Option<String>,
    stopped_at: Option<String>,
    stopped_reason: Option<&'static str>,
    stops_at: Option<String>,
    last_active_at: Option<String>,
    last_check_in_at: Option<String>,
    report_period: Option<u64>,
    why: String,
    keep_until: Option<String>,
    extended: Option<Extended>,
    #[serde(flatten)]
    policy: Policy,
    tz: String,
    memory: u64,
    cpus: f64,
    labels: BTreeMap<String, String>,
    traffic: Vec<Traffic>,
    wake: &'static str,
    wake_failed_at: Option<String>,
    wake_failure: Option<String>,
    paused: bool,
    exit_code: Option<i64>,
    oom_killed: Option<bool>,
    last_lines: Option<Vec<String>>,
    engine_name: Option<String>,
}

/// A state's name in the API (`CONTRACT.md` 8).
pub fn status(state: &State) -> &'static str {
    match state {
        State::Running { .. } => "running",
        State::Stopping { .. } => "stopping",
        State::Creating | State::Starting { .. } | State::Stopped { .. } | State::Deleting => "stopped",
    }
}

impl Container {
    /// The object for `sandbox`, with what only `app` knows of it. `asked`: the host that the request was sent to.
    pub fn new(app: &App, sandbox: &Sandbox, asked: Option<&Host<'_>>) -> Self {
        let id = sandbox.container.as_ref().map(ToString::to_string).unwrap_or_default();
        let status = status(&sandbox.life.state);
        let live = status != "stopped";
        // Stopped: "" (`CONTRACT.md` 10).
        let port = |spec: Option<PortSpec>| {
            let endpoint = spec.filter(|_| live).and_then(|p| sandbox.endpoint(p));
            endpoint.map(|e| e.port.to_string()).unwrap_or_default()
        };
        let (started_at, stopped) = match sandbox.life.state {
            State::Running { since, .. } => (Some(since), None),
            State::Stopped { at, reason } => (None, Some((at, reason))),
            State::Starting { stopped_at, reason } => (None, Some((stopped_at, reason))),
            _ => (None, None),
        };
        let ending = sandbox.life.seen.ending.as_ref();
        let exit = ending.and_then(|e| e.exit);
        Self {
            uri: format!("/v1/containers/{id}"),
            container_id: id,
            name: format!("/{}", sandbox.name),
            image: sandbox.recipe.image.to_string(),
            status,
            active: sandbox.life.active.to_string(),
            ssh_port: port(Some(PortSpec::SSH)),
            app_port: port(sandbox.recipe.app_port),
            access: access(sandbox, asked),
            ports: sandbox.ports.iter().map(Port::from).collect(),
            created_at: instant(sandbox.created_at),
            started_at: started_at.map(instant),
            stopped_at: stopped.map(|(at, _)| instant(at)),
            stopped_reason: stopped.map(|(_, reason)| reason.word()),
            stops_at: app.asked.stops_at(sandbox).map(instant),
            last_active_at: sandbox.life.evidence.newest(|s| s != Source::Start).map(|e| instant(e.at)),
            last_check_in_at: sandbox.life.last_report.map(instant),
            report_period: sandbox.life.rhythm.period.map(|period| period.as_secs()),
            why: app.asked.why(sandbox),
            keep_until: sandbox.life.keep_until.map(instant),
            extended: sandbox.life.extension.as_ref().map(Extended::from),
            policy: Policy::new(app, sandbox),
            tz: sandbox.recipe.zone.name().to_owned(),
            memory: sandbox.recipe.memory.bytes(),
            cpus: sandbox.recipe.cpus.cores(),
            labels: sandbox.recipe.labels.iter().map(|l| (l.key().to_owned(), l.value().to_owned())).collect(),
            traffic: sandbox.relayed().map(|p| Traffic::new(app, sandbox, p)).collect(),
            wake: app.asked.wakes(sandbox).word(),
            wake_failed_at: sandbox.life.wake_failure.as_ref().map(|f| instant(f.at)),
            wake_failure: sandbox.life.wake_failure.as_ref().map(|f| f.why.clone()),
            paused: sandbox.life.seen.paused && status == "running",
            exit_code: exit.map(|exit| exit.code),
            oom_killed: exit.map(|exit| exit.oom_killed),
            last_lines: ending.map(|e| e.last_lines.clone()),
            engine_name: sandbox.life.seen.called.clone(),
        }
    }

    /// Where it is found.
    pub fn uri(&self) -> String {
        self.uri.clone()
    }
}

/// The URL of its app, stopped or not: it may be woken by that. A server that publishes on every address is reached
/// by the name under which it was asked.
fn access(sandbox: &Sandbox, asked: Option<&Host<'_>>) -> Option<String> {
    let endpoint = sandbox.endpoint(sandbox.recipe.app_port?)?;
    let host = match endpoint.host {
        host if host.is_unspecified() => asked.map_or("localhost".into(), |host| host.domain().to_string()),
        IpAddr::V6(host) => format!("[{host}]"),
        IpAddr::V4(host) => host.to_string(),
    };
    Some(sandbox.recipe.access.as_ref()?.url(&host, endpoint.port, &sandbox.token))
}

/// An image.
#[derive(Serialize)]
#[serde(crate = "rocket::serde")]
pub struct Image {
    image: String,
    id: String,
    tags: Vec<String>,
    title: Option<String>,
    description: Option<String>,
    size: u64,
    created_at: Option<String>,
    platform: String,
    exposed_ports: Vec<String>,
    labels: BTreeMap<String, String>,
    containers: usize,
    problems: Vec<String>,
}

impl Image {
    /// The object for what was asked for as `image`.
    pub fn new(image: &ImageRef, shown: app::Image) -> Self {
        let app::Image { details, containers, problems } = shown;
        let label = |key| details.labels.get(key).filter(|text| !text.is_empty()).cloned();
        Self {
            image: image.to_string(),
            title: label("spindle.title"),
            description: label("spindle.description"),
            id: details.id,
            tags: details.tags,
            size: details.size,
            created_at: details.created.map(instant),
            platform: details.platform,
            exposed_ports: details.exposed.iter().map(ToString::to_string).collect(),
            labels: details.labels,
            containers,
            problems,
        }
    }
}

impl Traffic {
    fn new(app: &App, sandbox: &Sandbox, mapping: &PortMapping) -> Self {
        let counted = app.asked.traffic(&sandbox.id, mapping.inside);
        Self {
            container_port: mapping.inside.port,
            connections: counted.as_ref().map_or(0, |c| c.open),
            bytes_in: counted.as_ref().map_or(0, |c| c.bytes_in),
            bytes_out: counted.as_ref().map_or(0, |c| c.bytes_out),
            last_byte_at: counted.and_then(|c| c.last_byte).map(instant),
        }
    }
}

impl From<&PortMapping> for Port {
    fn from(mapping: &PortMapping) -> Self {
        Self {
            container_port: mapping.inside.port,
            protocol: mapping.inside.protocol.word(),
            host: mapping.outside.host.to_string(),
            host_port: mapping.outside.port,
        }
    }
}

/// The state of Spindle, for people and monitors.
#[derive(Serialize)]
#[serde(crate = "rocket::serde")]
pub struct HealthBody {
    status: &'static str,
    version: &'static str,
    engine: serde_json::Value,
    database: serde_json::Value,
    check_in: serde_json::Value,
    relay: serde_json::Value,
    last_pass: serde_json::Value,
    containers: serde_json::Value,
}

impl HealthBody {
    /// The object for `health`.
    pub fn new(health: &Health) -> Self {
        use serde_json::json;
        let pass = health.last_pass.as_ref();
        Self {
            status: match health.is_well() {
                true => "ok",
                false if health.is_starting() => "starting",
                false => "unavailable",
            },
            version: env!("CARGO_PKG_VERSION"),
            engine: match &health.engine {
                Ok(info) => json!({"status": "ok", "version": info.version, "api_version": info.api_version}),
                Err(why) => json!({"status": "unavailable", "message": why}),
            },
            database: match &health.database {
                Ok(()) => json!({"status": "ok"}),
                Err(why) => json!({"status": "unavailable", "message": why}),
            },
            check_in: match &health.door {
                CheckInDoor::Open(at) => json!({"status": "ok", "listening_on": at.to_string()}),
                CheckInDoor::Waiting => json!({"status": "unavailable", "message": "the network is not there yet"}),
                CheckInDoor::Shut(why) => json!({"status": "unavailable", "message": why}),
            },
            relay: match &health.relay {
                Ok(load) => json!({
                    "status": if health.held.is_empty() { "ok" } else { "impaired" },
                    "listeners": load.listeners,
                    "connections": load.connections,
                    "descriptors": load.descriptors.0,
                    "descriptors_limit": load.descriptors.1,
                    "ports_not_open": health.held.iter().map(|h| {
                        json!({"at": h.at.to_string(), "message": h.why.as_deref().unwrap_or("another program listens there")})
                    }).collect::<Vec<_>>(),
                }),
                Err(why) => json!({"status": "unavailable", "message": why}),
            },
            last_pass: pass.map_or(serde_json::Value::Null, |p| {
                json!({
                    "at": p.at.map(instant),
                    "known": p.known,
                    "observed": p.observed,
                    "steps": p.steps,
                    "failing": health.failing,
                    "no_idle_stops_before": p.hold_until.map(instant),
                })
            }),
            containers: json!({
                "running": health.counts.running,
                "stopping": health.counts.stopping,
                "stopped": health.counts.stopped,
            }),
        }
    }
}
