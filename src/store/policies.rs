//! Policies: store how long people want a sandbox to live.

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, types::Value};

use super::{Result, Store, columns::millis, evidence::record_evidence, rows};
use crate::domain::{Evidence, Extension, OwnPolicy, Policy, Sandbox, SandboxId, Source, deadline, idle::spared_until};

/// A change of a sandbox's policy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// Its own values; those that are `None` stay.
    pub own: OwnPolicy,
    /// The values that become as configured again, by their names in [`OwnPolicy::KEYS`].
    pub to_default: Vec<&'static str>,
    /// Until when it is kept; `Some(None)`: no longer.
    pub keep_until: Option<Option<Timestamp>>,
}

impl Change {
    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        *self == Change::default()
    }

    /// The names of what is changed.
    pub fn names(&self) -> Vec<&'static str> {
        let own = OwnPolicy::KEYS.into_iter().zip(self.own.words()).filter_map(|(key, value)| value.map(|_| key));
        own.chain(self.to_default.iter().copied()).chain(self.keep_until.map(|_| "keep_until")).collect()
    }

    /// What is changed, in words.
    pub fn words(&self) -> String {
        let own = OwnPolicy::KEYS.into_iter().zip(self.own.words());
        let mut words: Vec<String> = own.filter_map(|(key, value)| Some(format!("{key}={}", value?))).collect();
        words.extend(self.to_default.iter().map(|key| format!("{key}=default")));
        words.extend(
            self.keep_until
                .map(|until| format!("keep_until={}", until.map_or("none".to_owned(), |until| format!("{until:.0}")))),
        );
        words.join(", ")
    }

    /// `sandbox` with the change in force.
    pub fn apply(&self, sandbox: &Sandbox) -> Sandbox {
        let mut after = sandbox.clone();
        after.recipe.own = self.to_default.iter().fold(self.own.or(sandbox.recipe.own), |own, key| own.without(key));
        after.life.keep_until = self.keep_until.unwrap_or(sandbox.life.keep_until);
        after
    }
}

impl Store {
    /// Changes a sandbox's policy. If its time would then be over earlier, spares it, at most until `grace_end`.
    /// Returns the changed sandbox; `None` if it is gone.
    pub async fn change(
        &self,
        id: &SandboxId,
        change: Change,
        policy: Policy,
        grace_end: Timestamp,
    ) -> Result<Option<Sandbox>> {
        let (id, restated) = (id.clone(), self.restating());
        let job = move |c: &Connection| {
            let grace_end = restated(grace_end);
            let Some(before) = rows::load(c, "id = ?1", &[id.as_str()])?.pop() else { return Ok(None) };
            let mut after = change.apply(&before);
            after.life.spared_until = None;
            after.life.spared_until = spared_until(deadline(&policy, &before), deadline(&policy, &after), grace_end);
            let own = rows::OWN.split(", ").map(|column| format!("{column} = ?, ")).collect::<String>();
            let sql = format!("UPDATE sandboxes SET {own} keep_until = ?, spared_until = ? WHERE id = ?");
            let times = [after.life.keep_until, after.life.spared_until].map(|at| Value::from(at.map(millis)));
            let values = after.recipe.own.words().map(Value::from).into_iter().chain(times);
            let values = values.chain([Value::from(id.to_string())]);
            c.execute(&sql, rusqlite::params_from_iter(values))?;
            Ok(Some(after))
        };
        self.writer.run(job).await
    }

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
