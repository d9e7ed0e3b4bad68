//! Policies: store how long people want a sandbox to live.

use jiff::{SignedDuration, Timestamp};
use rusqlite::Connection;

use super::{Result, Store, columns::millis, evidence::record_evidence};
use crate::domain::{Evidence, Extension, Sandbox, Source};

impl Store {
    /// Records that somebody keeps a sandbox, if it still runs as in `seen`. An earlier wish that reaches further
    /// stays.
    pub async fn extend(&self, seen: &Sandbox, extension: Extension) -> Result<bool> {
        let (id, generation, restated) = (seen.id.clone(), seen.life.generation as i64, self.restating());
        let job = move |c: &Connection| {
            let extension = Extension { at: restated(extension.at), until: restated(extension.until), ..extension };
            // Name the person whose wish reaches furthest.
            let sql = "UPDATE sandboxes SET keep_until = max(coalesce(keep_until, ?3), ?3),
                       extended_at = iif(?3 >= coalesce(keep_until, ?3), ?4, extended_at),
                       extended_by = iif(?3 >= coalesce(keep_until, ?3), ?5, extended_by),
                       extended_until = iif(?3 >= coalesce(keep_until, ?3), ?3, extended_until)
                       WHERE id = ?1 AND generation = ?2 AND state = 'running'";
            let (until, at) = (millis(extension.until), millis(extension.at));
            let done = c.execute(sql, (id.as_str(), generation, until, at, extension.by.to_string()))? == 1;
            if done {
                record_evidence(c, &id, Evidence { source: Source::Extension, at: extension.at })?;
            }
            Ok(done)
        };
        self.writer.run(job).await
    }

    /// Corrects rows with a time more than `jump` ahead of `now`: pulls all their times after `now` back to `now`.
    /// Extensions keep their length; nobody is spared beyond `grace_end`. Returns the number of rows changed.
    pub async fn clamp(&self, now: Timestamp, jump: SignedDuration, grace_end: Timestamp) -> Result<usize> {
        let times = ["created_at", "state_at", "last_report", "extended_at"].map(str::to_owned).into_iter();
        let times: Vec<_> = times.chain(Source::ALL.map(|source| format!("{}_at", source.word()))).collect();
        let set: Vec<_> = times.iter().map(|t| format!("{t} = min({t}, ?1)")).collect();
        let ahead: Vec<_> = times.iter().map(|t| format!("{t} > ?1 + ?2")).collect();
        let wish = "iif(extended_at > ?1, ?1 + extended_until - extended_at, extended_until)";
        let sql = format!(
            "UPDATE sandboxes SET {}, spared_until = min(spared_until, ?3), extended_until = {wish},
                    keep_until = iif(keep_until = extended_until, {wish}, keep_until)
             WHERE {} OR spared_until > ?3 + ?2",
            set.join(", "),
            ahead.join(" OR ")
        );
        let key = (millis(now), jump.as_millis() as i64, millis(grace_end));
        self.writer.run(move |c| Ok(c.execute(&sql, key)?)).await
    }

    /// Records that those inside are warned of a stop at `of`; `None`: they could not be. False if that is already
    /// recorded.
    pub async fn mark_warned(&self, seen: &Sandbox, of: Option<Timestamp>) -> Result<bool> {
        let key = (seen.id.as_str().to_owned(), seen.life.generation as i64, of.map(millis));
        let sql = "UPDATE sandboxes SET warned_for = ?3
                   WHERE id = ?1 AND generation = ?2 AND state = 'running' AND warned_for IS NOT ?3";
        self.writer.run(move |c| Ok(c.execute(sql, key)? == 1)).await
    }
}
