//! Evidence: store when sandboxes were used, and how often they report.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::Connection;

use super::{
    Result, Store,
    columns::{instant, length, millis},
};
use crate::domain::{Evidence, Rhythm, SandboxId, Who};

impl Store {
    /// Records evidence about these starts. Evidence about a start that has ended changes nothing, unless it is newer than
    /// the present start: then its counter had not heard of that start yet.
    pub async fn record_use(&self, uses: Vec<(SandboxId, u64, Evidence)>) -> Result<()> {
        self.record_touches(uses.into_iter().map(|used| (used, None)).collect()).await
    }

    /// The same of what people did inside through the API. `Who`: somebody who is not the sandbox's owner.
    pub async fn record_touches(&self, touches: Vec<((SandboxId, u64, Evidence), Option<Who>)>) -> Result<()> {
        let restated = self.restating();
        let job = move |c: &Connection| {
            let sql = "SELECT EXISTS (SELECT 1 FROM sandboxes WHERE id = ?1 AND state = 'running'
                       AND (generation = ?2 OR generation = ?2 + 1 AND state_at <= ?3))";
            for ((id, generation, evidence), staff) in &touches {
                let evidence = Evidence { at: restated(evidence.at), ..*evidence };
                let key = (id.as_str(), *generation as i64, millis(evidence.at));
                if !c.prepare_cached(sql)?.query_row(key, |r| r.get(0))? {
                    continue;
                }
                record_evidence(c, id, evidence)?;
                if let Some(by) = staff {
                    let sql = "UPDATE sandboxes SET staff_by = ?2 WHERE id = ?1";
                    c.prepare_cached(sql)?.execute((id.as_str(), by.to_string()))?;
                }
            }
            Ok(())
        };
        self.writer.run(job).await
    }
}

pub(super) fn record_evidence(c: &Connection, id: &SandboxId, evidence: Evidence) -> Result<()> {
    let source = evidence.source.word();
    let sql = format!(
        "UPDATE sandboxes SET {source}_at = max(coalesce({source}_at, ?2), ?2), {source}_count = {source}_count + 1
         WHERE id = ?1"
    );
    c.prepare_cached(&sql)?.execute((id.as_str(), millis(evidence.at)))?;
    Ok(())
}

/// The last report of this run, and how often the sandbox reports.
pub(super) fn rhythm(c: &Connection, id: &SandboxId) -> Result<(Option<Timestamp>, Rhythm)> {
    let sql = "SELECT iif(last_report >= state_at, last_report, NULL), report_period, report_gap FROM sandboxes WHERE id = ?1";
    let read = |r: &rusqlite::Row<'_>| Ok((r.get::<_, Option<i64>>(0)?, r.get(1)?, r.get(2)?));
    let (before, period, gap) = c.prepare_cached(sql)?.query_row([id.as_str()], read)?;
    Ok((before.map(instant).transpose()?, Rhythm { period: length(period), gap: length(gap) }))
}

/// Records how often a sandbox reports.
pub(super) fn set_rhythm(c: &Connection, id: &SandboxId, rhythm: Rhythm) -> Result<()> {
    let millis = |length: Option<Duration>| length.map(|l| l.as_millis() as i64);
    let sql = "UPDATE sandboxes SET report_period = ?2, report_gap = ?3 WHERE id = ?1";
    c.prepare_cached(sql)?.execute((id.as_str(), millis(rhythm.period), millis(rhythm.gap)))?;
    Ok(())
}
