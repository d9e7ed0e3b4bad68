//! Rows and the domain: the only translation between the two.

use std::collections::HashMap;

use jiff::Timestamp;
use rusqlite::{Connection, Row};

use super::{Result, StoreError};
use crate::domain::{
    Carrier, ContainerId, Cpus, Endpoint, Evidence, EvidenceLog, IdleLimit, ImageRef, Label, Memory, PortMapping,
    PortSpec, Protocol, Sandbox, SandboxId, SandboxName, Source, State, StopReason, Token, Traffic, Wake, WakeFailure,
};

/// A state as its columns: word, instant, reason, address, mark, process.
pub type StateColumns = (&'static str, Option<i64>, Option<&'static str>, Option<String>, Option<String>, Option<u32>);

pub fn state_columns(state: &State) -> StateColumns {
    match state {
        State::Creating => ("creating", None, None, None, None, None),
        State::Deleting => ("deleting", None, None, None, None, None),
        State::Running { since, address, mark, pid } => {
            ("running", Some(millis(*since)), None, address.map(|a| a.to_string()), Some(mark.clone()), *pid)
        }
        State::Starting { stopped_at, reason } => {
            ("starting", Some(millis(*stopped_at)), Some(reason.word()), None, None, None)
        }
        State::Stopping { since, reason } => ("stopping", Some(millis(*since)), Some(reason.word()), None, None, None),
        State::Stopped { at, reason } => ("stopped", Some(millis(*at)), Some(reason.word()), None, None, None),
    }
}

pub fn millis(at: Timestamp) -> i64 {
    at.as_millisecond()
}

fn corrupt(what: &str) -> StoreError {
    StoreError::Corrupt(what.to_owned())
}

fn instant(millis: i64) -> Result<Timestamp> {
    Timestamp::from_millisecond(millis).map_err(|_| corrupt("an instant outside the calendar"))
}

fn required<T>(value: Option<T>, what: &str) -> Result<T> {
    value.ok_or_else(|| corrupt(what))
}

fn state(row: &Row<'_>) -> Result<State> {
    let word: String = row.get("state")?;
    let at = || required(row.get::<_, Option<i64>>("state_at")?, "state_at").and_then(instant);
    let reason = || -> Result<StopReason> {
        let word: Option<String> = row.get("reason")?;
        required(word.as_deref().and_then(StopReason::parse), "reason")
    };
    Ok(match word.as_str() {
        "creating" => State::Creating,
        "deleting" => State::Deleting,
        "running" => {
            let address: Option<String> = row.get("address")?;
            State::Running {
                since: at()?,
                address: address.map(|a| a.parse().map_err(|_| corrupt("address"))).transpose()?,
                mark: required(row.get("mark")?, "mark")?,
                pid: row.get("pid")?,
            }
        }
        "starting" => State::Starting { stopped_at: at()?, reason: reason()? },
        "stopping" => State::Stopping { since: at()?, reason: reason()? },
        "stopped" => State::Stopped { at: at()?, reason: reason()? },
        other => return Err(StoreError::Corrupt(format!("state {other:?}"))),
    })
}

fn sandbox(row: &Row<'_>) -> Result<Sandbox> {
    let text = |column: &str| row.get::<_, String>(column).map_err(StoreError::from);
    let optional = |column: &str| row.get::<_, Option<String>>(column).map_err(StoreError::from);
    let container = optional("container")?.map(|c| required(ContainerId::parse(&c), "container")).transpose()?;
    let limit = |l: String| {
        IdleLimit::parse("idle_timeout", &l, std::time::Duration::ZERO).map_err(|_| corrupt("idle_timeout"))
    };
    Ok(Sandbox {
        id: required(SandboxId::parse(&text("id")?), "id")?,
        container,
        name: SandboxName::parse(&text("name")?).map_err(|_| corrupt("name"))?,
        image: ImageRef::parse(&text("image")?).map_err(|_| corrupt("image"))?,
        created_at: instant(row.get("created_at")?)?,
        state: state(row)?,
        generation: row.get::<_, i64>("generation")? as u64,
        ports: Vec::new(),
        app_port: optional("app_port")?.map(|p| required(PortSpec::parse(&p), "app_port")).transpose()?,
        active: row.get::<_, i64>("active")? as u64,
        last_report: row.get::<_, Option<i64>>("last_report")?.map(instant).transpose()?,
        evidence: EvidenceLog::default(),
        idle_limit: optional("idle_timeout")?.map(limit).transpose()?,
        memory: Memory::parse(&text("memory")?).map_err(|_| corrupt("memory"))?,
        cpus: Cpus::parse(&text("cpus")?).map_err(|_| corrupt("cpus"))?,
        labels: Vec::new(),
        token: required(Token::parse(&text("token")?), "token")?,
        wake: optional("wake")?.map(|w| required(Wake::from_word(&w), "wake")).transpose()?,
        wake_failure: match (row.get::<_, Option<i64>>("wake_failed_at")?, optional("wake_failure")?) {
            (Some(at), Some(why)) => Some(WakeFailure { at: instant(at)?, why }),
            _ => None,
        },
        traffic: Traffic::parse(&text("wake_on")?, &text("app_protocol")?, &text("proxy_protocol")?)
            .map_err(|_| corrupt("traffic"))?,
    })
}

/// Loads the sandboxes that `filter` selects (a condition over `sandboxes`), oldest first, whole.
pub fn load(connection: &Connection, filter: &str, params: impl rusqlite::Params + Clone) -> Result<Vec<Sandbox>> {
    let mut sandboxes = Vec::new();
    let mut statement = connection.prepare_cached(&format!("SELECT * FROM sandboxes WHERE {filter} ORDER BY seq"))?;
    let mut rows = statement.query(params.clone())?;
    while let Some(row) = rows.next()? {
        sandboxes.push(sandbox(row)?);
    }
    let index: HashMap<SandboxId, usize> = sandboxes.iter().enumerate().map(|(i, s)| (s.id.clone(), i)).collect();
    let select = |columns: &str, table: &str, order: &str| {
        format!(
            "SELECT sandbox, {columns} FROM {table} \
             WHERE sandbox IN (SELECT id FROM sandboxes WHERE {filter}) ORDER BY {order}"
        )
    };
    let mut each = |sql: String, add: &dyn Fn(&mut Sandbox, &Row<'_>) -> Result<()>| -> Result<()> {
        let mut statement = connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params.clone())?;
        while let Some(row) = rows.next()? {
            let id = SandboxId::parse(&row.get::<_, String>(0)?);
            if let Some(&i) = id.and_then(|id| index.get(&id)) {
                add(&mut sandboxes[i], row)?;
            }
        }
        Ok(())
    };
    each(select("inside, protocol, host, host_port, carrier", "ports", "protocol, inside"), &|sandbox, row| {
        let protocol = required(Protocol::parse(&row.get::<_, String>(2)?), "protocol")?;
        let host = row.get::<_, String>(3)?.parse().map_err(|_| corrupt("host"))?;
        sandbox.ports.push(PortMapping {
            inside: PortSpec { protocol, port: row.get(1)? },
            outside: Endpoint { host, port: row.get(4)? },
            carrier: required(Carrier::parse(&row.get::<_, String>(5)?), "carrier")?,
        });
        Ok(())
    })?;
    each(select("source, at", "evidence", "source"), &|sandbox, row| {
        let word: String = row.get(1)?;
        let source = required(Source::ALL.into_iter().find(|s| s.word() == word), "source")?;
        sandbox.evidence.record(Evidence { source, at: instant(row.get(2)?)? });
        Ok(())
    })?;
    each(select("key, value", "labels", "key"), &|sandbox, row| {
        let label = Label::parse(&row.get::<_, String>(1)?, &row.get::<_, String>(2)?).map_err(|_| corrupt("label"))?;
        sandbox.labels.push(label);
        Ok(())
    })?;
    Ok(sandboxes)
}
