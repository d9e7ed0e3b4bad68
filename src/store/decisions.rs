//! Decisions: store what was decided about sandboxes, and why.

use rusqlite::Connection;

use super::{
    Result, Store,
    columns::{Columns, instant, millis},
};
use crate::domain::{Decided, Decision, Evidence, SandboxId, Source};

impl Store {
    /// Records decisions about sandboxes; a decision about one that is gone is dropped.
    pub async fn decide(&self, decisions: Vec<(SandboxId, Decision)>) -> Result<()> {
        let job = move |c: &Connection| decisions.iter().try_for_each(|(id, decision)| decide(c, id, decision));
        self.writer.run(job).await
    }

    /// The newest decisions about a sandbox, newest first.
    pub async fn decisions(&self, id: &SandboxId) -> Result<Vec<Decision>> {
        let id = id.clone();
        self.reader.run(move |c| newest(c, &id)).await
    }
}

pub(super) fn decide(c: &Connection, id: &SandboxId, decision: &Decision) -> Result<()> {
    let insert = "INSERT INTO decisions (sandbox, at, decided, why, source, evidence_at)
                  SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE EXISTS (SELECT 1 FROM sandboxes WHERE id = ?1)";
    let evidence = decision.evidence;
    c.prepare_cached(insert)?.execute((
        id.as_str(),
        millis(decision.at),
        decision.decided.word(),
        &decision.why,
        evidence.map(|e| e.source.word()),
        evidence.map(|e| millis(e.at)),
    ))?;
    let prune = "DELETE FROM decisions WHERE sandbox = ?1 AND seq <=
                 (SELECT seq FROM decisions WHERE sandbox = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2)";
    c.prepare_cached(prune)?.execute((id.as_str(), Decision::KEPT as i64))?;
    Ok(())
}

fn source(word: &str) -> Option<Source> {
    Source::ALL.into_iter().find(|s| s.word() == word)
}

fn newest(connection: &Connection, id: &SandboxId) -> Result<Vec<Decision>> {
    let sql =
        "SELECT at, decided, why, source, evidence_at FROM decisions WHERE sandbox = ?1 ORDER BY seq DESC LIMIT ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query((id.as_str(), Decision::KEPT as i64))?;
    let mut decisions = Vec::new();
    while let Some(row) = rows.next()? {
        let c = &mut Columns(row, 0);
        decisions.push(Decision {
            at: instant(c.next()?)?,
            decided: c.read("decided", Decided::parse)?,
            why: c.next()?,
            evidence: match (c.maybe("source", source)?, c.instant()?) {
                (Some(source), Some(at)) => Some(Evidence { source, at }),
                _ => None,
            },
        });
    }
    Ok(decisions)
}
