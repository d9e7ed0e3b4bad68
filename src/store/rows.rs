//! Rows: the only translation between rows and the domain.

use std::{collections::HashMap, time::Duration};

use jiff::Timestamp;
use rusqlite::{Connection, Row, types::Value};

use super::{
    Result, StoreError,
    columns::{Columns, corrupt, instant, length, millis, required},
    launch,
};
use crate::domain::{
    Access, Boot, Carrier, ContainerId, Cpus, EndedBy, Ending, Endpoint, Evidence, EvidenceLog, Exit, Extension,
    ImageRef, Label, Life, Limit, Memory, Namespace, OwnPolicy, Ownership, PortMapping, PortSpec, Protocol, Reach,
    Recipe, Rhythm, Sandbox, SandboxId, SandboxName, Seen, Source, Sources, State, StopReason, Token, Traffic,
    UserName, Wake, WakeFailure, Who, Zone,
};

/// A state as its columns.
#[derive(Default)]
pub struct StateColumns {
    pub state: &'static str,
    pub at: Option<i64>,
    pub reason: Option<&'static str>,
    pub address: Option<String>,
    pub mark: Option<String>,
    pub pid: Option<u32>,
    pub boot: Option<String>,
}

pub fn state_columns(state: &State) -> StateColumns {
    let of = |state, at: Option<&Timestamp>, reason: Option<&StopReason>| StateColumns {
        state,
        at: at.copied().map(millis),
        reason: reason.map(|r| r.word()),
        ..StateColumns::default()
    };
    match state {
        State::Creating => of("creating", None, None),
        State::Deleting => of("deleting", None, None),
        State::Running { since, mark, reach: Reach { address, pid, boot } } => StateColumns {
            address: address.map(|a| a.to_string()),
            mark: Some(mark.clone()),
            pid: *pid,
            boot: boot.as_ref().map(|b| b.as_str().to_owned()),
            ..of("running", Some(since), None)
        },
        State::Starting { stopped_at, reason } => of("starting", Some(stopped_at), Some(reason)),
        State::Stopping { since, reason } => of("stopping", Some(since), Some(reason)),
        State::Stopped { at, reason } => of("stopped", Some(at), Some(reason)),
        State::Resetting { at, back_to } => of("resetting", Some(at), back_to.as_ref()),
    }
}

const STATE: &str = "state, state_at, reason, address, mark, pid, boot";

fn state(columns: &mut Columns<'_>) -> Result<State> {
    let word = required(columns.text()?, "state")?;
    let at = columns.instant()?;
    let reason = columns.maybe("reason", StopReason::parse)?;
    let address = columns.maybe("address", |a| a.parse().ok())?;
    let (mark, pid) = (columns.next::<Option<String>>()?, columns.next()?);
    let boot = columns.text()?.map(Boot::from);
    let at = || required(at, "state_at");
    let reason = || required(reason, "reason");
    Ok(match word {
        "creating" => State::Creating,
        "deleting" => State::Deleting,
        "running" => {
            State::Running { since: at()?, mark: required(mark, "mark")?, reach: Reach { address, pid, boot } }
        }
        "starting" => State::Starting { stopped_at: at()?, reason: reason()? },
        "stopping" => State::Stopping { since: at()?, reason: reason()? },
        "stopped" => State::Stopped { at: at()?, reason: reason()? },
        "resetting" => State::Resetting { at: at()?, back_to: reason().ok() },
        other => return Err(StoreError::Corrupt(format!("state {other:?}"))),
    })
}

/// The columns of the policy that a sandbox has of its own, in the order of [`OwnPolicy::KEYS`].
pub const OWN: &str = "idle_timeout, connection_cap, max_age, warn_before, counting";

fn own(columns: &mut Columns<'_>) -> Result<OwnPolicy> {
    let mut limit = |what| columns.maybe(what, |l| Limit::read(l, Duration::ZERO));
    let [idle_limit, connection_cap, max_age, warn_before] =
        [limit("idle_timeout")?, limit("connection_cap")?, limit("max_age")?, limit("warn_before")?];
    Ok(OwnPolicy {
        idle_limit,
        connection_cap,
        max_age,
        warn_before,
        evidence: columns.maybe("counting", Sources::read)?,
    })
}

const SEEN: &str = "paused, called, exit_code, oom_killed, ended_by, last_lines, quick_ends, unsettled";

fn seen(columns: &mut Columns<'_>) -> Result<Seen> {
    let (paused, called) = (columns.next()?, columns.next()?);
    let exit = match (columns.next()?, columns.next()?) {
        (Some(code), Some(oom_killed)) => Some(Exit { code, oom_killed }),
        _ => None,
    };
    let by = columns.maybe("ended_by", EndedBy::parse)?;
    let last_lines = columns.text()?.unwrap_or_default().lines().map(str::to_owned).collect();
    let ending = by.map(|by| Ending { exit, by, last_lines });
    Ok(Seen { paused, called, ending, quick_ends: columns.next()?, unsettled: columns.next()? })
}

/// Stands between the name and the id of a deleted sandbox, so that the name is free for others while the engine still
/// removes the container of that name.
pub const FORMER: char = '~';

fn name(text: &str) -> Option<SandboxName> {
    SandboxName::parse(text.split(FORMER).next()?).ok()
}

/// Others may have set less than a caller may ask for.
pub fn memory(text: &str) -> Option<Memory> {
    Memory::parse(text).ok().or_else(|| Memory::in_force(text.parse().ok()?))
}

const WHO: &str = "id, container, name, token, created_at, namespace, owner";

fn ownership(c: &mut Columns<'_>) -> Result<Ownership> {
    Ok(Ownership {
        namespace: c.read("namespace", |n| Namespace::parse("namespace", n).ok())?,
        owner: c.maybe("owner", |o| UserName::parse("owner", o).ok())?,
    })
}

/// In the order of [`Traffic::words`].
const TRAFFIC: [&str; 3] = ["wake_on", "app_protocol", "proxy_protocol"];

const RECIPE: &str = "image, app_port, access, wake_on, app_protocol, proxy_protocol, memory, cpus, tz, wake, ssh_key,
    launched, workdir, runs_as, hostname";

fn recipe(c: &mut Columns<'_>) -> Result<Recipe> {
    Ok(Recipe {
        image: c.read("image", |i| ImageRef::parse(i).ok())?,
        app_port: c.maybe("app_port", PortSpec::parse)?,
        access: c.maybe("access", |a| Access::parse(a).ok())?,
        traffic: {
            let [on, protocol, proxy] = [c.text()?, c.text()?, c.text()?].map(Option::unwrap_or_default);
            Traffic::parse(on, protocol, proxy).map_err(|_| corrupt("traffic"))?
        },
        memory: c.read("memory", memory)?,
        cpus: c.read("cpus", |n| Cpus::parse(n).ok())?,
        // A zone that this version's tz database lacks becomes UTC; that is no reason to lose a sandbox.
        zone: c.text()?.and_then(Zone::read).unwrap_or_default(),
        wake: c.maybe("wake", Wake::from_word)?,
        ssh_key: c.next()?,
        launch: launch::read(c)?,
        own: own(c)?,
        labels: Vec::new(),
    })
}

const LIFE: &str = "generation, active, last_report, report_period, report_gap, keep_until, spared_until, warned_for,
    extended_at, extended_by, extended_until, wake_failed_at, wake_failure, staff_by";

fn life(c: &mut Columns<'_>) -> Result<Life> {
    Ok(Life {
        generation: c.next::<i64>()? as u64,
        active: c.next::<i64>()? as u64,
        last_report: c.instant()?,
        rhythm: Rhythm { period: length(c.next()?), gap: length(c.next()?) },
        keep_until: c.instant()?,
        spared_until: c.instant()?,
        warned_for: c.instant()?,
        extension: match (c.instant()?, c.next::<Option<String>>()?, c.instant()?) {
            (Some(at), Some(by), Some(until)) => Some(Extension { at, by: Who::named(&by), until }),
            _ => None,
        },
        wake_failure: match (c.instant()?, c.next::<Option<String>>()?) {
            (Some(at), Some(why)) => Some(WakeFailure { at, why }),
            _ => None,
        },
        staff: c.text()?.map(Who::named),
        seen: seen(c)?,
        state: state(c)?,
        evidence: evidence(c)?,
    })
}

/// In the order of [`Source::ALL`].
const EVIDENCE: &str = "start_at, start_count, check_in_at, check_in_count, extension_at, extension_count,
    connection_at, connection_count, cpu_at, cpu_count, terminal_at, terminal_count, exec_at, exec_count,
    files_at, files_count, staff_at, staff_count";

fn evidence(columns: &mut Columns<'_>) -> Result<EvidenceLog> {
    let mut log = EvidenceLog::default();
    for source in Source::ALL {
        let (at, count) = (columns.instant()?, columns.next::<i64>()? as u64);
        if let Some(at) = at {
            log.restore(Evidence { source, at }, count);
        }
    }
    Ok(log)
}

/// The columns that [`sandbox`] reads, in its order, after the number of the row.
fn columns() -> String {
    format!("seq, {WHO}, {RECIPE}, {OWN}, {LIFE}, {SEEN}, {STATE}, {EVIDENCE}")
}

fn sandbox(row: &Row<'_>) -> Result<Sandbox> {
    let c = &mut Columns(row, 1);
    Ok(Sandbox {
        id: c.read("id", SandboxId::parse)?,
        container: c.maybe("container", ContainerId::parse)?,
        name: c.read("name", name)?,
        token: c.read("token", Token::parse)?,
        created_at: instant(c.next()?)?,
        ownership: ownership(c)?,
        recipe: recipe(c)?,
        life: life(c)?,
        former: Vec::new(),
        ports: Vec::new(),
    })
}

/// The columns of a new row, each with its value. Ports, labels and evidence have their own statements.
pub fn columns_of(s: &Sandbox) -> Vec<(&'static str, Value)> {
    let (recipe, life) = (&s.recipe, &s.life);
    let state = state_columns(&life.state);
    let mut columns: Vec<(&'static str, Value)> = vec![
        ("id", s.id.to_string().into()),
        ("container", s.container.as_ref().map(ToString::to_string).into()),
        ("name", s.name.to_string().into()),
        ("token", s.token.reveal().to_owned().into()),
        ("created_at", millis(s.created_at).into()),
        ("namespace", s.ownership.namespace.to_string().into()),
        ("owner", s.ownership.owner.as_ref().map(ToString::to_string).into()),
        ("image", recipe.image.to_string().into()),
        ("app_port", recipe.app_port.map(|p| p.to_string()).into()),
        ("access", recipe.access.as_ref().map(ToString::to_string).into()),
        ("memory", recipe.memory.to_string().into()),
        ("cpus", recipe.cpus.to_string().into()),
        ("tz", recipe.zone.name().to_owned().into()),
        ("wake", recipe.wake.map(|w| w.word().to_owned()).into()),
        ("ssh_key", recipe.ssh_key.clone().into()),
        ("generation", (life.generation as i64).into()),
        ("active", (life.active as i64).into()),
        ("last_report", life.last_report.map(millis).into()),
        ("keep_until", life.keep_until.map(millis).into()),
        ("state", state.state.to_owned().into()),
        ("state_at", state.at.into()),
        ("reason", state.reason.map(str::to_owned).into()),
        ("address", state.address.into()),
        ("mark", state.mark.into()),
        ("pid", state.pid.map(i64::from).into()),
        ("boot", state.boot.into()),
    ];
    let own = OWN.split(", ").zip(recipe.own.words()).map(|(column, word)| (column, Value::from(word)));
    let traffic = TRAFFIC.into_iter().zip(recipe.traffic.words().map(Value::from));
    columns.extend(own.chain(traffic).chain(launch::columns_of(recipe)));
    columns
}

fn port(c: &mut Columns<'_>) -> Result<PortMapping> {
    let port = c.next()?;
    Ok(PortMapping {
        inside: PortSpec { protocol: c.read("protocol", Protocol::parse)?, port },
        outside: Endpoint { host: c.read("host", |h| h.parse().ok())?, port: c.next()? },
        carrier: c.read("carrier", Carrier::parse)?,
    })
}

/// Writes the labels of a sandbox that has none.
pub fn insert_labels(c: &Connection, sandbox: &Sandbox) -> Result<()> {
    let mut label = c.prepare_cached("INSERT INTO labels (sandbox, key, value) VALUES (?1, ?2, ?3)")?;
    for l in &sandbox.recipe.labels {
        label.execute((sandbox.id.as_str(), l.key(), l.value()))?;
    }
    Ok(())
}

/// The condition that every sandbox meets.
pub const ALL: &str = "1";

/// As [`load_numbered`], without the numbers.
pub fn load(connection: &Connection, filter: &str, params: &(impl rusqlite::Params + Clone)) -> Result<Vec<Sandbox>> {
    Ok(load_numbered(connection, filter, params)?.into_iter().map(|(_, sandbox)| sandbox).collect())
}

/// Loads the complete sandboxes that `filter` selects (a condition over `sandboxes`), oldest first, each with its row
/// number.
pub fn load_numbered(
    connection: &Connection,
    filter: &str,
    params: &(impl rusqlite::Params + Clone),
) -> Result<Vec<(i64, Sandbox)>> {
    let mut sandboxes = Vec::new();
    let mut statement =
        connection.prepare_cached(&format!("SELECT {} FROM sandboxes WHERE {filter} ORDER BY seq", columns()))?;
    let mut rows = statement.query(params.clone())?;
    while let Some(row) = rows.next()? {
        sandboxes.push((row.get(0)?, sandbox(row)?));
    }
    let index: HashMap<String, usize> = sandboxes.iter().enumerate().map(|(i, (_, s))| (s.id.to_string(), i)).collect();
    let among = if filter == ALL {
        String::new()
    } else {
        format!("WHERE sandbox IN (SELECT id FROM sandboxes WHERE {filter})")
    };
    let mut each =
        |columns: &str, table: &str, add: &dyn Fn(&mut Sandbox, &mut Columns<'_>) -> Result<()>| -> Result<()> {
            let mut statement =
                connection.prepare_cached(&format!("SELECT sandbox, {columns} FROM {table} {among}"))?;
            let mut rows = statement.query(params.clone())?;
            let mut found: Option<usize> = None;
            while let Some(row) = rows.next()? {
                let columns = &mut Columns(row, 0);
                let id = required(columns.text()?, "sandbox")?;
                // Rows of the same sandbox mostly come one after another.
                found = found.filter(|&i| sandboxes[i].1.id.as_str() == id).or_else(|| index.get(id).copied());
                if let Some(i) = found {
                    add(&mut sandboxes[i].1, columns)?;
                }
            }
            Ok(())
        };
    each("inside, protocol, host, host_port, carrier", "ports", &|sandbox, c| {
        sandbox.ports.push(port(c)?);
        Ok(())
    })?;
    each("key, value", "labels", &|sandbox, c| {
        let (key, value) = (c.next::<String>()?, c.next::<String>()?);
        sandbox.recipe.labels.push(Label::parse(&key, &value).map_err(|_| corrupt("label"))?);
        Ok(())
    })?;
    each("container", "former", &|sandbox, c| {
        sandbox.former.push(c.read("former", ContainerId::parse)?);
        Ok(())
    })?;
    each("part, text", "launch", &|sandbox, c| {
        let (part, text) = (required(c.text()?, "part")?, required(c.next()?, "text")?);
        launch::add(&mut sandbox.recipe, part, text)
    })?;
    for (_, sandbox) in &mut sandboxes {
        sandbox.ports.sort_by_key(|p| p.inside);
        sandbox.recipe.labels.sort();
    }
    Ok(sandboxes)
}
