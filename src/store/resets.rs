//! Resets: another container takes the place of the one that a sandbox had.

use jiff::Timestamp;
use rusqlite::Connection;

use super::{
    Result, Store, launch,
    sandboxes::{insert_former, mark},
};
use crate::domain::{ContainerId, Recipe, Sandbox, SandboxId, State, StopReason};

impl Store {
    /// Records the container that was made in a reset, and that the sandbox is being started, or is stopped as it was.
    /// False, and nothing is changed, if `seen` is out of date.
    pub async fn mark_reset(&self, seen: &Sandbox, made: &ContainerId, now: Timestamp) -> Result<bool> {
        let (seen, made) = (seen.clone(), made.clone());
        let job = move |c: &Connection| {
            let to = match seen.life.state {
                State::Resetting { at, back_to: Some(reason) } => State::Stopped { at, reason },
                _ => State::Starting { stopped_at: now, reason: StopReason::Requested },
            };
            if !mark(c, &seen, &to)? {
                return Ok(false);
            }
            let sql = "UPDATE sandboxes SET container = ?2, called = NULL, unsettled = 0, paused = 0 WHERE id = ?1";
            c.execute(sql, (seen.id.as_str(), made.as_str()))?;
            if let Some(former) = &seen.container {
                insert_former(c, &seen.id, former)?;
            }
            Ok(true)
        };
        self.writer.run(job).await
    }

    /// Records with what a sandbox's program is started, and who may log in, as the container of an older version told.
    pub async fn set_launch(&self, id: &SandboxId, told: Recipe) -> Result<()> {
        let id = id.clone();
        let job = move |c: &Connection| {
            let sql =
                "UPDATE sandboxes SET launched = 1, ssh_key = coalesce(ssh_key, ?2) WHERE id = ?1 AND NOT launched";
            match (c.execute(sql, (id.as_str(), &told.ssh_key))?, &told.launch) {
                (1, Some(told)) => launch::insert(c, &id, told),
                _ => Ok(()),
            }
        };
        self.writer.run(job).await
    }
}
