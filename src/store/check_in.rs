//! Check-ins: find out which sandbox reports, and record its report.

use std::net::IpAddr;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension};

use super::{
    Result, Store, StoreError,
    columns::millis,
    evidence::{record_evidence, rhythm, set_rhythm},
};
use crate::domain::{
    Evidence, SandboxId, Source, Token,
    rules::{Rule, broken},
};

/// What a check-in did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedIn {
    /// Whose check-in it was.
    pub id: SandboxId,
    /// Whether it was the first ever of this sandbox.
    pub first: bool,
}

impl Store {
    /// Records a report from the sandbox that bears `token`, else from the running one at `peer`. `None`, and nothing
    /// changed, if there is no such running sandbox (`CONTRACT.md` 27, 32).
    ///
    /// This is all that a check-in can do: record evidence for one live sandbox.
    pub async fn check_in(
        &self,
        token: Option<Token>,
        peer: Option<IpAddr>,
        value: u64,
        at: Timestamp,
    ) -> Result<Option<CheckedIn>> {
        let restated = self.restating();
        self.writer
            .run(move |c| {
                let at = restated(at);
                let Some((id, first)) = reporter(c, token.as_ref(), peer)? else { return Ok(None) };
                let sql = "UPDATE sandboxes SET active = ?2, last_report = ?3 WHERE id = ?1";
                let (before, rhythm) = rhythm(c, &id)?;
                c.prepare_cached(sql)?.execute((id.as_str(), value as i64, millis(at)))?;
                set_rhythm(c, &id, rhythm.heard(before, at))?;
                if value == 0 && broken(Rule::EvidenceNeverMovesBack) {
                    c.execute("UPDATE sandboxes SET check_in_at = NULL WHERE id = ?1", [id.as_str()])?;
                }
                if value > 0 {
                    record_evidence(c, &id, Evidence { source: Source::CheckIn, at })?;
                }
                Ok(Some(CheckedIn { id, first }))
            })
            .await
    }

    /// The sandbox with `token` and its start (generation), if it is being stopped.
    pub async fn stopping(&self, token: Token) -> Result<Option<(SandboxId, u64)>> {
        let job = move |c: &Connection| {
            let sql = "SELECT id, generation FROM sandboxes WHERE token = ?1 AND state = 'stopping'";
            let found: Option<(String, i64)> =
                c.prepare_cached(sql)?.query_row([token.reveal()], |r| Ok((r.get(0)?, r.get(1)?))).optional()?;
            Ok(found.and_then(|(id, generation)| Some((SandboxId::parse(&id)?, generation as u64))))
        };
        self.reader.run(job).await
    }

    /// Which sandbox reports, found as by [`Store::check_in`].
    pub async fn reporter(&self, token: Option<Token>, peer: Option<IpAddr>) -> Result<Option<SandboxId>> {
        self.reader.run(move |c| Ok(reporter(c, token.as_ref(), peer)?.map(|(id, _)| id))).await
    }
}

/// The running sandbox that reports, and whether this is its first report.
fn reporter(c: &Connection, token: Option<&Token>, peer: Option<IpAddr>) -> Result<Option<(SandboxId, bool)>> {
    let one = |sql: &str, key: String| {
        c.prepare_cached(sql)?.query_row([key], |r| Ok((r.get::<_, String>(0)?, r.get(1)?, r.get(2)?))).optional()
    };
    let by_token = match token {
        Some(t) => {
            one("SELECT id, last_report IS NULL, state = 'running' FROM sandboxes WHERE token = ?1", t.reveal().into())?
        }
        None => None,
    };
    let by_peer = || match peer {
        Some(p) => one(
            // If two seem to have the address, neither is believed.
            "SELECT min(id), min(last_report IS NULL), true FROM sandboxes WHERE state = 'running' AND address = ?1
             GROUP BY address HAVING count(*) = 1",
            p.to_string(),
        ),
        None => Ok(None),
    };
    // A token that is ours decides alone, even when its sandbox does not run.
    let found: Option<(String, bool, bool)> = match by_token {
        Some(found) => Some(found),
        None => by_peer()?,
    };
    let Some((id, first, true)) = found else { return Ok(None) };
    let id = SandboxId::parse(&id).ok_or_else(|| StoreError::Corrupt("id".into()))?;
    Ok(Some((id, first)))
}
