//! Host ports: reserved in the transaction that records the sandbox, released when its row goes.

use std::{collections::HashSet, net::IpAddr, ops::RangeInclusive};

use rusqlite::{Connection, OptionalExtension};

use super::{Result, StoreError};
use crate::domain::{Carrier, Endpoint, PortMapping, PortSpec, SandboxId};

/// Where host ports come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortPool {
    /// The address on which ports are published.
    pub host: IpAddr,
    /// The range.
    pub range: RangeInclusive<u16>,
}

impl PortPool {
    /// Reserves one host port for each of `inside`, in the caller's transaction. The search goes on from the port given
    /// out last, so that a port rests as long as possible before another learner gets it.
    pub(super) fn reserve(
        &self,
        connection: &Connection,
        sandbox: &SandboxId,
        inside: &[PortSpec],
        avoid: &[u16],
    ) -> Result<Vec<PortMapping>> {
        if inside.is_empty() {
            return Ok(Vec::new());
        }
        let taken: HashSet<u16> = connection
            .prepare_cached("SELECT host_port FROM ports")?
            .query_map([], |r| r.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        let last: Option<u16> =
            connection.prepare_cached("SELECT host_port FROM last_port")?.query_row([], |r| r.get(0)).optional()?;
        let (low, high) = (*self.range.start(), *self.range.end());
        let next = last.filter(|l| (low..high).contains(l)).map_or(low, |l| l + 1);
        let free = (next..=high).chain(low..next).filter(|p| !taken.contains(p) && !avoid.contains(p));
        let chosen: Vec<u16> = free.take(inside.len()).collect();
        if chosen.len() < inside.len() {
            return Err(StoreError::NoPort);
        }
        let mapping = |(&inside, &port): (&PortSpec, _)| PortMapping {
            inside,
            outside: Endpoint { host: self.host, port },
            carrier: Carrier::of(inside.protocol),
        };
        let reserved: Vec<PortMapping> = inside.iter().zip(&chosen).map(mapping).collect();
        for port in &reserved {
            insert(connection, sandbox, port)?;
        }
        connection.execute(
            "INSERT INTO last_port (one, host_port) VALUES (1, ?1) ON CONFLICT (one) DO UPDATE SET host_port = ?1",
            [chosen.last()],
        )?;
        Ok(reserved)
    }
}

/// Records that an endpoint is reserved for a port of a sandbox.
pub(super) fn insert(connection: &Connection, sandbox: &SandboxId, port: &PortMapping) -> Result<()> {
    let sql = "INSERT INTO ports (host_port, protocol, host, inside, sandbox, carrier) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let (inside, outside) = (port.inside, port.outside);
    let host = outside.host.to_string();
    let row = (outside.port, inside.protocol.word(), host, inside.port, sandbox.as_str(), port.carrier.word());
    Ok(connection.prepare_cached(sql)?.execute(row).map(drop)?)
}
