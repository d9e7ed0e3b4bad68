//! Seen: record what the engine shows of a sandbox besides its state.

use rusqlite::Connection;

use super::{Result, Store, StoreError, columns::millis, rows, sandboxes::mark};
use crate::domain::{EndedBy, Ending, Observed, Sandbox, SandboxName, Seen, State};

impl Store {
    /// As [`Store::mark`], to `Stopped`, with how it ended. A sandbox with too many quick ends is not woken any more,
    /// and its row says so.
    pub async fn mark_ended(&self, seen: &Sandbox, to: State, ended: Seen) -> Result<bool> {
        let seen = seen.clone();
        let job = move |c: &Connection| {
            let State::Stopped { at, .. } = to else {
                return Err(StoreError::Corrupt("an end that goes on".into()));
            };
            let done = mark(c, &seen, &to)?;
            if let Some(Ending { exit, by, last_lines }) = ended.ending.as_ref().filter(|_| done) {
                let failure = ended.keeps_ending().then(|| (millis(at), ended.how_it_ended(seen.recipe.memory)));
                let (failed_at, failure) = failure.unzip();
                let sql = "UPDATE sandboxes SET exit_code = ?2, oom_killed = ?3, ended_by = ?4, last_lines = ?5,
                           quick_ends = ?6, wake_failed_at = coalesce(?7, wake_failed_at),
                           wake_failure = coalesce(?8, wake_failure) WHERE id = ?1";
                let (code, oom_killed) = exit.map(|exit| (exit.code, exit.oom_killed)).unzip();
                let (lines, quick) = (last_lines.join("\n"), ended.quick_ends);
                c.execute(sql, (seen.id.as_str(), code, oom_killed, by.word(), lines, quick, failed_at, failure))?;
            }
            Ok(done)
        };
        self.writer.run(job).await
    }

    /// Records who ended a sandbox's last run, when that is heard after its end was seen.
    pub async fn set_ended_by(&self, seen: &Sandbox, by: EndedBy) -> Result<bool> {
        let key = (seen.id.as_str().to_owned(), seen.life.generation as i64, by.word(), by == EndedBy::Signal);
        // After a signal it did not keep ending by itself, so that message goes too.
        let sql = "UPDATE sandboxes SET ended_by = ?3, quick_ends = iif(?4, 0, quick_ends),
                          wake_failed_at = iif(?4 AND quick_ends > 0, NULL, wake_failed_at),
                          wake_failure = iif(?4 AND quick_ends > 0, NULL, wake_failure)
                   WHERE id = ?1 AND generation = ?2 AND state = 'stopped' AND ended_by IS NOT NULL";
        self.writer.run(move |c| Ok(c.execute(sql, key)? == 1)).await
    }

    /// Records what others changed on a sandbox: its name if we allow it and it is free, its limits, and whether it is
    /// paused.
    pub async fn record_shown(&self, seen: &Sandbox, shown: &Observed) -> Result<bool> {
        let (id, generation) = (seen.id.clone(), seen.life.generation as i64);
        let memory = shown.memory.unwrap_or(seen.recipe.memory).to_string();
        let (cpus, paused) = (shown.cpus.unwrap_or(seen.recipe.cpus).to_string(), shown.paused);
        let (state, called) = (rows::state_columns(&seen.life.state).state, shown.name.clone());
        let job = move |c: &Connection| {
            let sql = "UPDATE sandboxes SET paused = ?3, memory = ?4, cpus = ?5, unsettled = 0
                       WHERE id = ?1 AND generation = ?2 AND state = ?6";
            if c.execute(sql, (id.as_str(), generation, paused, memory, cpus, state))? == 0 {
                return Ok(false);
            }
            let Some(called) = called else { return Ok(true) };
            let taken = "name = ?1 AND id <> ?2";
            let ours = SandboxName::parse(&called).is_ok()
                && rows::load(c, taken, &(called.as_str(), id.as_str()))?.is_empty();
            let sql = if ours {
                "UPDATE sandboxes SET name = ?2, called = NULL WHERE id = ?1"
            } else {
                "UPDATE sandboxes SET called = ?2 WHERE id = ?1"
            };
            c.execute(sql, (id.as_str(), called))?;
            Ok(true)
        };
        self.writer.run(job).await
    }
}
