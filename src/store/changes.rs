//! Changes: store what people change of a sandbox. What the engine has to change too is written first, as an intent, and
//! is unsettled until the engine has done its part.

use jiff::Timestamp;
use rusqlite::{Connection, types::Value};

use super::{Result, Store, StoreError, columns::millis, people, rows, sandboxes::name_taken};
use crate::domain::{
    Change, Policy, Sandbox, SandboxId, SandboxName, State, StopReason, Usage, UserName, deadline, idle::spared_until,
};

impl Store {
    /// Records the intent of a change whose first part is the engine's, if the whole change is allowed. False, and
    /// nothing is changed, if the sandbox is gone, or a change that says whose it is saw it belong to others.
    ///
    /// # Errors
    /// [`StoreError::NameTaken`], [`StoreError::Quota`], [`StoreError::NoNamespace`], [`StoreError::NoMember`].
    pub async fn intend(&self, seen: &Sandbox, change: Change) -> Result<bool> {
        let seen = seen.clone();
        let job = move |c: &Connection| {
            let Some(before) = before(c, &seen, &change)? else { return Ok(false) };
            allow(c, &before, &change.apply(&before))?;
            set_engines(c, &change.apply_to_engine(&before), true)?;
            Ok(true)
        };
        self.writer.run(job).await
    }

    /// Changes a sandbox, of which the engine has done its part. If its time would then be over earlier, spares it, at
    /// most until `grace_end`. Returns the changed sandbox; `None` as [`Store::intend`] returns false.
    ///
    /// # Errors
    /// Those of [`Store::intend`].
    pub async fn change(
        &self,
        seen: &Sandbox,
        change: Change,
        policy: Policy,
        grace_end: Timestamp,
    ) -> Result<Option<Sandbox>> {
        let (seen, restated) = (seen.clone(), self.restating());
        let job = move |c: &Connection| {
            let grace_end = restated(grace_end);
            let Some(before) = before(c, &seen, &change)? else { return Ok(None) };
            let mut after = change.apply(&before);
            allow(c, &before, &after)?;
            after.life.spared_until = None;
            after.life.spared_until = spared_until(deadline(&policy, &before), deadline(&policy, &after), grace_end);
            if change.is_for_engine() {
                set_engines(c, &after, false)?;
                after.life.seen.unsettled = false;
            }
            set_rest(c, &before, &after)?;
            Ok(Some(after))
        };
        self.writer.run(job).await
    }

    /// Takes back an intent that the engine refused: its part is as in `before` again, though nobody knows whether the
    /// engine has it so.
    pub async fn take_back(&self, before: &Sandbox) -> Result<()> {
        let before = before.clone();
        let job = move |c: &Connection| match set_engines(c, &before, true) {
            // Meanwhile somebody else has the old name. So it keeps the new one; the pass sees what the engine calls it.
            Err(StoreError::NameTaken) => {
                let now = name_of(c, &before.id)?;
                set_engines(c, &Sandbox { name: now.unwrap_or(before.name.clone()), ..before.clone() }, true)
            }
            other => other,
        };
        self.writer.run(job).await
    }

    /// Records that the engine has what the row says.
    pub async fn settle(&self, id: &SandboxId) -> Result<()> {
        let id = id.as_str().to_owned();
        let sql = "UPDATE sandboxes SET unsettled = 0, called = NULL WHERE id = ?1 AND unsettled";
        self.writer.run(move |c| Ok(c.execute(sql, [id]).map(drop)?)).await
    }
}

/// The sandbox as it is, if it is there, and belongs to whom it did where that matters.
fn before(c: &Connection, seen: &Sandbox, change: &Change) -> Result<Option<Sandbox>> {
    let before = rows::load(c, "id = ?1 AND state <> 'deleting'", &[seen.id.as_str()])?.pop();
    Ok(before.filter(|before| !change.assigns() || before.ownership == seen.ownership))
}

/// # Errors
/// Why `before` may not become `after`.
fn allow(c: &Connection, before: &Sandbox, after: &Sandbox) -> Result<()> {
    let (memory, runs) = (after.recipe.memory, before.life.state.uses_memory());
    if before.ownership != after.ownership {
        people::belongs(c, &after.ownership)?;
        let mut more = Usage::default();
        more.add(memory, runs);
        // In the same namespace only the owner's quota has to give room.
        let is_elsewhere = before.ownership.namespace != after.ownership.namespace;
        people::within_quota(c, &after.ownership, &more, &after.id, is_elsewhere)?;
    }
    if runs && memory > before.recipe.memory {
        let more = Usage { memory: memory.bytes(), ..Usage::default() };
        people::within_quota(c, &after.ownership, &more, &after.id, true)?;
    }
    Ok(())
}

/// Writes what the engine has too.
fn set_engines(c: &Connection, to: &Sandbox, unsettled: bool) -> Result<()> {
    let sql = "UPDATE sandboxes SET name = ?2, memory = ?3, cpus = ?4, ssh_key = ?5, unsettled = ?6,
               called = iif(?6, called, NULL) WHERE id = ?1 AND state <> 'deleting'";
    let (memory, cpus) = (to.recipe.memory.to_string(), to.recipe.cpus.to_string());
    let row = (to.id.as_str(), to.name.as_str(), memory, cpus, &to.recipe.ssh_key, unsettled);
    c.prepare_cached(sql)?.execute(row).map(drop).map_err(name_taken)
}

/// Writes what only we have.
fn set_rest(c: &Connection, before: &Sandbox, after: &Sandbox) -> Result<()> {
    let own = rows::OWN.split(", ").map(|column| format!("{column} = ?, ")).collect::<String>();
    let sql = format!(
        "UPDATE sandboxes SET {own} keep_until = ?, spared_until = ?, wake = ?, namespace = ?, owner = ? WHERE id = ?"
    );
    let text = |text: Option<String>| Value::from(text);
    let times = [after.life.keep_until, after.life.spared_until].map(|at| Value::from(at.map(millis)));
    let rest = [
        text(after.recipe.wake.map(|wake| wake.word().to_owned())),
        text(Some(after.ownership.namespace.to_string())),
        text(after.ownership.owner.as_ref().map(|owner| UserName::as_str(owner).to_owned())),
        text(Some(after.id.to_string())),
    ];
    let values = after.recipe.own.words().map(Value::from).into_iter().chain(times).chain(rest);
    c.execute(&sql, rusqlite::params_from_iter(values))?;
    if before.ownership != after.ownership {
        // Who was invited, was invited to what is somebody else's now.
        c.execute("DELETE FROM credentials WHERE sandbox = ?1", [after.id.as_str()])?;
    }
    if before.recipe.labels != after.recipe.labels {
        c.execute("DELETE FROM labels WHERE sandbox = ?1", [after.id.as_str()])?;
        rows::insert_labels(c, after)?;
    }
    Ok(())
}

fn name_of(c: &Connection, id: &SandboxId) -> Result<Option<SandboxName>> {
    Ok(rows::load(c, "id = ?1", &[id.as_str()])?.pop().map(|sandbox| sandbox.name))
}

impl State {
    /// Whether a sandbox in this state counts for what runs.
    fn uses_memory(&self) -> bool {
        matches!(
            self,
            State::Creating
                | State::Running { .. }
                | State::Starting { .. }
                | State::Resetting { back_to: None, .. }
                | State::Stopping { reason: StopReason::Restart, .. }
        )
    }
}
