//! Sandboxes: read and change them. A change of state is a compare-and-set on the state and generation that the
//! decision saw; it returns whether it happened.

use std::sync::Arc;

use rusqlite::Connection;

use super::{
    PortPool, Result, Store, StoreError,
    columns::millis,
    decisions,
    evidence::{self, record_evidence},
    known, launch, once, people, ports,
    rows::{self, FORMER, state_columns},
};
use crate::domain::{
    ContainerId, Decision, Evidence, Policy, PortMapping, PortSpec, Sandbox, SandboxId, SandboxRef, Source, State,
    Usage, WakeFailure, deadline,
    rules::{Rule, broken},
};

/// How many sandboxes there are, by what the API shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Running.
    pub running: u64,
    /// Being stopped.
    pub stopping: u64,
    /// Stopped.
    pub stopped: u64,
}

/// On what a new sandbox depends besides itself.
#[derive(Debug, Clone)]
pub struct Room {
    /// How many sandboxes may run.
    pub capacity: u32,
    /// Whether it will be started.
    pub runs: bool,
    /// The request by which it is made.
    pub request: Option<String>,
}

const VISIBLE: &str = "state NOT IN ('creating', 'deleting')";

/// What a sandbox uses while it runs.
fn all_of(sandbox: &Sandbox) -> Usage {
    let mut usage = Usage::default();
    usage.add(sandbox.recipe.memory, true);
    usage
}

impl Store {
    /// Everything we know, intents included, oldest first.
    pub async fn all(&self) -> Result<Vec<Arc<Sandbox>>> {
        let known = Arc::clone(&self.known);
        self.reader.run(move |c| known.read(c)).await
    }

    /// As [`Store::all`], those after the row `number`, each with the number of its row.
    pub async fn all_after(&self, number: i64) -> Result<Vec<(i64, Arc<Sandbox>)>> {
        let known = Arc::clone(&self.known);
        self.reader.run(move |c| known.read_after(c, number)).await
    }

    /// The visible sandboxes that `reference` may mean.
    pub async fn meant(&self, reference: &SandboxRef) -> Result<Vec<Sandbox>> {
        let (filter, key) = match reference {
            SandboxRef::Name(name) => ("name = ?1", name.clone()),
            // A range instead of LIKE, so that the unique index is used.
            SandboxRef::Prefix(hex) => (
                "(container >= ?1 AND container < ?1 || 'g'
                  OR id IN (SELECT sandbox FROM former WHERE container >= ?1 AND container < ?1 || 'g'))",
                hex.clone(),
            ),
        };
        let filter = format!("{filter} AND {VISIBLE}");
        self.reader.run(move |c| rows::load(c, &filter, &[key])).await
    }

    /// One sandbox, in any state.
    pub async fn get(&self, id: &SandboxId) -> Result<Option<Sandbox>> {
        let id = id.as_str().to_owned();
        Ok(self.reader.run(move |c| rows::load(c, "id = ?1", &[id])).await?.pop())
    }

    /// How many sandboxes there are.
    pub async fn counts(&self) -> Result<Counts> {
        let sql = "SELECT count(*) FILTER (WHERE state = 'running'),
                          count(*) FILTER (WHERE state = 'stopping'),
                          count(*) FILTER (WHERE state IN ('stopped', 'starting', 'resetting')) FROM sandboxes";
        let read = |r: &rusqlite::Row<'_>| {
            Ok(Counts {
                running: r.get::<_, i64>(0)? as u64,
                stopping: r.get::<_, i64>(1)? as u64,
                stopped: r.get::<_, i64>(2)? as u64,
            })
        };
        self.reader.run(move |c| Ok(c.query_row(sql, [], read)?)).await
    }

    /// Records the intent to create `sandbox` and reserves a host port for each of `exposed`, all or
    /// nothing. At most so many sandboxes as `place` says may be running or on their way there.
    ///
    /// # Errors
    /// [`StoreError::NameTaken`], [`StoreError::NoPort`], [`StoreError::Full`].
    pub async fn insert(
        &self,
        mut sandbox: Sandbox,
        exposed: Vec<PortSpec>,
        pool: PortPool,
        avoid: Vec<u16>,
        place: Room,
    ) -> Result<Sandbox> {
        self.writer
            .run(move |c| {
                room(c, place.capacity)?;
                people::belongs(c, &sandbox.ownership)?;
                let mut more = Usage::default();
                more.add(sandbox.recipe.memory, place.runs);
                people::within_quota(c, &sandbox.ownership, &more, &sandbox.id, true)?;
                insert_row(c, &sandbox)?;
                once::note(c, place.request.as_deref(), &sandbox.id)?;
                sandbox.ports = pool.reserve(c, &sandbox.id, &exposed, &avoid)?;
                sandbox.ports.sort_by_key(|p| p.inside);
                Ok(sandbox)
            })
            .await
    }

    /// Gives an unfinished sandbox other ports, none of them in `avoid`.
    pub async fn exchange_ports(&self, id: &SandboxId, pool: PortPool, avoid: Vec<u16>) -> Result<Vec<PortMapping>> {
        let id = id.clone();
        self.writer
            .run(move |c| {
                let inside = rows::load(c, "id = ?1 AND state = 'creating'", &[id.as_str()])?
                    .pop()
                    .ok_or_else(|| StoreError::Corrupt("the sandbox is gone".into()))?
                    .ports;
                c.execute("DELETE FROM ports WHERE sandbox = ?1", [id.as_str()])?;
                known::touch(c, &id)?;
                let inside: Vec<PortSpec> = inside.iter().map(|p| p.inside).collect();
                pool.reserve(c, &id, &inside, &avoid)
            })
            .await
    }

    /// Records a sandbox that the engine has and we did not know, with its ports and evidence. False if it is known by
    /// now.
    ///
    /// # Errors
    /// [`StoreError::NameTaken`], or SQLite's own if another sandbox has one of its ports.
    pub async fn adopt(&self, sandbox: Sandbox) -> Result<bool> {
        let job = move |c: &Connection| {
            let known = "SELECT EXISTS (SELECT 1 FROM sandboxes WHERE id = ?1)";
            if c.query_row(known, [sandbox.id.as_str()], |r| r.get(0))? {
                return Ok(false);
            }
            people::restore(c, &sandbox.ownership.namespace)?;
            insert_row(c, &sandbox)?;
            for former in &sandbox.former {
                insert_former(c, &sandbox.id, former)?;
            }
            for port in &sandbox.ports {
                ports::insert(c, &sandbox.id, port)?;
            }
            for source in Source::ALL {
                if let Some(at) = sandbox.life.evidence.last_of(source) {
                    record_evidence(c, &sandbox.id, Evidence { source, at })?;
                }
            }
            Ok(true)
        };
        self.writer.run(job).await
    }

    /// Records which container the engine made for an unfinished sandbox.
    pub async fn set_container(&self, id: &SandboxId, container: &ContainerId) -> Result<()> {
        let (id, container) = (id.as_str().to_owned(), container.as_str().to_owned());
        let sql = "UPDATE sandboxes SET container = ?2 WHERE id = ?1 AND state = 'creating'";
        self.writer.run(move |c| Ok(c.execute(sql, (id, container)).map(drop)?)).await
    }

    /// Moves a sandbox from the state in `seen` to `to`. False, and nothing changed, if `seen` is out of date.
    pub async fn mark(&self, seen: &Sandbox, to: State) -> Result<bool> {
        let seen = seen.clone();
        self.writer.run(move |c| mark(c, &seen, &to)).await
    }

    /// As [`Store::mark`], to `Starting`, unless `capacity` sandboxes run already ([`StoreError::Full`]). A request
    /// resets the count of its quick ends.
    pub async fn mark_starting(&self, seen: &Sandbox, to: State, capacity: u32, by_request: bool) -> Result<bool> {
        let seen = seen.clone();
        let job = move |c: &Connection| {
            room(c, capacity)?;
            let start = Usage { containers: 0, ..all_of(&seen) };
            let now = rows::load(c, "id = ?1", &[seen.id.as_str()])?.pop().map(|now| now.ownership);
            people::within_quota(c, now.as_ref().unwrap_or(&seen.ownership), &start, &seen.id, true)?;
            let done = mark(c, &seen, &to)?;
            if done && by_request {
                c.execute("UPDATE sandboxes SET quick_ends = 0 WHERE id = ?1", [seen.id.as_str()])?;
            }
            Ok(done)
        };
        self.writer.run(job).await
    }

    /// As [`Store::mark`], to `Running`, as a new start: a new generation, no activity reported yet, and
    /// the start itself as evidence (`CONTRACT.md` 11, `IDLENESS.md` rules 1 and 4).
    pub async fn mark_started(&self, seen: &Sandbox, to: State) -> Result<bool> {
        let (seen, restated) = (seen.clone(), self.restating());
        let job = move |c: &Connection| {
            let State::Running { since, .. } = to else {
                return Err(StoreError::Corrupt("a start that does not run".into()));
            };
            let since = restated(since);
            let done = mark(c, &seen, &to)?;
            if done {
                let sql = "UPDATE sandboxes SET generation = generation + 1, active = 0, wake_failed_at = NULL,
                           wake_failure = NULL, warned_for = NULL, paused = 0, exit_code = NULL, oom_killed = NULL,
                           ended_by = NULL, last_lines = NULL, quick_ends = iif(?2, quick_ends, 0), state_at = ?3
                           WHERE id = ?1";
                // A start behind our back is by a person, who may have repaired it.
                let asked = matches!(seen.life.state, State::Starting { .. });
                c.execute(sql, (seen.id.as_str(), asked, millis(since)))?;
                let (_, rhythm) = evidence::rhythm(c, &seen.id)?;
                evidence::set_rhythm(c, &seen.id, rhythm.restarted())?;
                if !broken(Rule::StartIsEvidence) {
                    record_evidence(c, &seen.id, Evidence { source: Source::Start, at: since })?;
                }
            }
            Ok(done)
        };
        self.writer.run(job).await
    }

    /// As [`Store::mark`], but only if its deadline under `policy` is still the one that was seen: the compare-and-set
    /// of an idle stop (`IDLENESS.md`, rule 3). It also records the decision. It does nothing if `holds` is false when
    /// its turn comes.
    pub async fn mark_idle(
        &self,
        seen: &Sandbox,
        policy: Policy,
        to: State,
        decision: Decision,
        holds: impl FnOnce() -> bool + Send + 'static,
    ) -> Result<bool> {
        let seen = seen.clone();
        let job = move |c: &Connection| {
            if !holds() {
                return Ok(false);
            }
            let now = rows::load(c, "id = ?1", &[seen.id.as_str()])?.pop();
            let ends = |sandbox: &Sandbox| deadline(&policy, sandbox).map(|d| d.at);
            let unchanged = broken(Rule::StopComparesAndSets) || now.is_some_and(|now| ends(&now) == ends(&seen));
            let done = unchanged && mark(c, &seen, &to)?;
            if done {
                decisions::decide(c, &seen.id, &decision)?;
            }
            Ok(done)
        };
        self.writer.run(job).await
    }

    /// Forgets a sandbox with its ports, evidence and all, if `seen` is still true.
    pub async fn forget(&self, seen: &Sandbox) -> Result<bool> {
        let (id, state, generation) =
            (seen.id.as_str().to_owned(), state_columns(&seen.life.state).state, seen.life.generation as i64);
        let sql = "DELETE FROM sandboxes WHERE id = ?1 AND state = ?2 AND generation = ?3";
        self.writer.run(move |c| Ok(c.execute(sql, (id, state, generation))? == 1)).await
    }

    /// Records that a sandbox could not be woken.
    pub async fn set_wake_failure(&self, id: &SandboxId, failure: WakeFailure) -> Result<()> {
        let row = (id.as_str().to_owned(), millis(failure.at), failure.why);
        let sql = "UPDATE sandboxes SET wake_failed_at = ?2, wake_failure = ?3 WHERE id = ?1";
        self.writer.run(move |c| Ok(c.execute(sql, row).map(drop)?)).await
    }
}

/// A sandbox that is being deleted counts too: it has its place in the network until it is gone.
fn room(c: &Connection, capacity: u32) -> Result<()> {
    let sql = "SELECT count(*) FROM sandboxes WHERE state <> 'stopped'";
    let live: u32 = c.prepare_cached(sql)?.query_row([], |r| r.get(0))?;
    if live >= capacity { Err(StoreError::Full(capacity)) } else { Ok(()) }
}

pub(super) fn mark(c: &Connection, seen: &Sandbox, to: &State) -> Result<bool> {
    let gives_up_name = *to == State::Deleting && seen.life.state != State::Deleting;
    let former = gives_up_name.then(|| format!("{FORMER}{}", seen.id));
    let to = state_columns(to);
    let changed = c
        .prepare_cached(
            // A sandbox that goes on running keeps its begin, even if that was restated after `to` was read.
            "UPDATE sandboxes SET state = :state, reason = :reason, address = :address, mark = :mark, pid = :pid,
                    boot = :boot, state_at = iif(:state = 'running', coalesce(start_at, :at), :at),
                    name = name || :former
             WHERE id = :id AND state = :seen AND generation = :generation",
        )?
        .execute(rusqlite::named_params! {
            ":id": seen.id.as_str(),
            ":seen": state_columns(&seen.life.state).state,
            ":generation": seen.life.generation as i64,
            ":state": to.state,
            ":at": to.at,
            ":reason": to.reason,
            ":address": to.address,
            ":mark": to.mark,
            ":pid": to.pid,
            ":boot": to.boot,
            ":former": former.unwrap_or_default(),
        })?;
    Ok(changed == 1)
}

/// SQLite's error, or ours if it is about a name that another sandbox has.
pub(super) fn name_taken(error: rusqlite::Error) -> StoreError {
    if error.to_string().contains("sandboxes.name") { StoreError::NameTaken } else { error.into() }
}

pub(super) fn insert_row(c: &Connection, s: &Sandbox) -> Result<()> {
    let (columns, values): (Vec<_>, Vec<_>) = rows::columns_of(s).into_iter().unzip();
    let places = vec!["?"; columns.len()].join(", ");
    let sql = format!("INSERT INTO sandboxes ({}) VALUES ({places})", columns.join(", "));
    let inserted = c.prepare_cached(&sql)?.execute(rusqlite::params_from_iter(values));
    match inserted {
        Err(e) => return Err(name_taken(e)),
        Ok(inserted) => inserted,
    };
    rows::insert_labels(c, s)?;
    s.recipe.launch.as_ref().map_or(Ok(()), |launched| launch::insert(c, &s.id, launched))
}

pub(super) fn insert_former(c: &Connection, id: &SandboxId, former: &ContainerId) -> Result<()> {
    let sql = "INSERT OR IGNORE INTO former (sandbox, container) VALUES (?1, ?2)";
    Ok(c.prepare_cached(sql)?.execute((id.as_str(), former.as_str())).map(drop)?)
}
