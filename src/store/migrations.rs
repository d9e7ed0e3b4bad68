//! Migrations: the schema, as numbered steps. A released step never changes.

use rusqlite::Connection;

use super::{Result, StoreError};

const STEPS: &[&str] = &[
    include_str!("migrations/01_sandboxes.sql"),
    include_str!("migrations/02_relay.sql"),
    include_str!("migrations/03_policies.sql"),
    include_str!("migrations/04_access.sql"),
    include_str!("migrations/05_boot.sql"),
    include_str!("migrations/06_rhythm.sql"),
    include_str!("migrations/07_heartbeat.sql"),
    include_str!("migrations/08_clock.sql"),
    include_str!("migrations/09_zone.sql"),
    include_str!("migrations/10_seen.sql"),
    include_str!("migrations/11_people.sql"),
    include_str!("migrations/12_actions.sql"),
    include_str!("migrations/13_events.sql"),
    include_str!("migrations/14_changes.sql"),
    include_str!("migrations/15_once.sql"),
    include_str!("migrations/16_execs.sql"),
    include_str!("migrations/17_files.sql"),
];

/// Whether the schema is this version's.
pub fn is_current(connection: &Connection) -> Result<bool> {
    let version: i64 = connection.pragma_query_value(None, "user_version", |r| r.get(0))?;
    Ok(version == STEPS.len() as i64)
}

/// Brings the schema up to date, one transaction per step.
///
/// # Errors
/// [`StoreError::Corrupt`] if a newer Spindle wrote the file.
pub fn run(connection: &mut Connection) -> Result<()> {
    let version: usize = connection.pragma_query_value(None, "user_version", |r| r.get::<_, i64>(0))? as usize;
    if version > STEPS.len() {
        return Err(StoreError::Corrupt(format!(
            "a schema of version {version}, from a newer Spindle (this one knows up to {})",
            STEPS.len()
        )));
    }
    for (number, step) in STEPS.iter().enumerate().skip(version) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", (number + 1) as i64)?;
        transaction.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{
            Carrier, Source, Wake,
            fixtures::{at, running},
        },
        store::rows,
    };

    /// This version reads what the first one wrote, and the ports of its containers stay the engine's.
    #[test]
    fn an_older_database_is_brought_up_to_date() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(STEPS[0]).unwrap();
        connection.pragma_update(None, "user_version", 1).unwrap();
        let id = running(0).id;
        let row =
            "INSERT INTO sandboxes (id, name, image, created_at, generation, state, state_at, mark, active, memory,
                       cpus, token) VALUES (?1, 'old', 'lab', 0, 1, 'running', 0, 'm', 0, '64m', '1', ?1)";
        connection.execute(row, [id.as_str()]).unwrap();
        let port =
            "INSERT INTO ports (host_port, protocol, host, inside, sandbox) VALUES (20000, 'tcp', '::1', 22, ?1)";
        connection.execute(port, [id.as_str()]).unwrap();
        let evidence = "INSERT INTO evidence (sandbox, source, at) VALUES (?1, 'check_in', 5000)";
        connection.execute(evidence, [id.as_str()]).unwrap();
        run(&mut connection).unwrap();
        let old = rows::load(&connection, "1", &()).unwrap().pop().unwrap();
        assert_eq!((old.ports[0].carrier, old.ports[0].outside.port), (Carrier::Engine, 20_000));
        assert_eq!((old.recipe.wake, old.life.wake_failure), (None::<Wake>, None));
        assert_eq!(
            (old.life.evidence.last_of(Source::CheckIn), old.life.evidence.count_of(Source::CheckIn)),
            (Some(at(5)), 1)
        );
        run(&mut connection).unwrap();
    }
}
