//! Migrations: the schema, as numbered steps. A released step never changes.

use rusqlite::Connection;

use super::{Result, StoreError};

const STEPS: &[&str] = &[
    // 1: sandboxes, their ports and their evidence. Instants are milliseconds since the epoch.
    "CREATE TABLE sandboxes (
        seq           INTEGER PRIMARY KEY AUTOINCREMENT,
        id            TEXT NOT NULL UNIQUE,
        container     TEXT UNIQUE,
        name          TEXT NOT NULL UNIQUE,
        image         TEXT NOT NULL,
        created_at    INTEGER NOT NULL,
        generation    INTEGER NOT NULL,
        state         TEXT NOT NULL,
        state_at      INTEGER,
        reason        TEXT,
        address       TEXT,
        mark          TEXT,
        app_port      TEXT,
        active        INTEGER NOT NULL,
        last_report   INTEGER,
        idle_timeout  TEXT,
        memory        TEXT NOT NULL,
        cpus          TEXT NOT NULL,
        token         TEXT NOT NULL UNIQUE
    ) STRICT;
    CREATE INDEX sandboxes_by_address ON sandboxes (address) WHERE state = 'running';
    CREATE TABLE ports (
        host_port     INTEGER NOT NULL,
        protocol      TEXT NOT NULL,
        host          TEXT NOT NULL,
        inside        INTEGER NOT NULL,
        sandbox       TEXT NOT NULL REFERENCES sandboxes (id) ON DELETE CASCADE,
        PRIMARY KEY (host_port, protocol)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX ports_by_sandbox ON ports (sandbox);
    CREATE TABLE evidence (
        sandbox       TEXT NOT NULL REFERENCES sandboxes (id) ON DELETE CASCADE,
        source        TEXT NOT NULL,
        at            INTEGER NOT NULL,
        PRIMARY KEY (sandbox, source)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE labels (
        sandbox       TEXT NOT NULL REFERENCES sandboxes (id) ON DELETE CASCADE,
        key           TEXT NOT NULL,
        value         TEXT NOT NULL,
        PRIMARY KEY (sandbox, key)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE deployment (
        one           INTEGER PRIMARY KEY CHECK (one = 1),
        name          TEXT NOT NULL
    ) STRICT;
    CREATE TABLE last_port (
        one           INTEGER PRIMARY KEY CHECK (one = 1),
        host_port     INTEGER NOT NULL
    ) STRICT;",
    // 2: the relay carries tcp. The ports that exist already are published by the engine.
    "ALTER TABLE ports ADD COLUMN carrier TEXT NOT NULL DEFAULT 'engine';
    ALTER TABLE sandboxes ADD COLUMN pid INTEGER;
    ALTER TABLE sandboxes ADD COLUMN wake TEXT;
    ALTER TABLE sandboxes ADD COLUMN wake_failed_at INTEGER;
    ALTER TABLE sandboxes ADD COLUMN wake_failure TEXT;
    ALTER TABLE sandboxes ADD COLUMN wake_on TEXT NOT NULL DEFAULT '';
    ALTER TABLE sandboxes ADD COLUMN app_protocol TEXT NOT NULL DEFAULT '';
    ALTER TABLE sandboxes ADD COLUMN proxy_protocol TEXT NOT NULL DEFAULT '';",
    // 3: each sandbox's own policy, extensions, and decisions.
    "ALTER TABLE sandboxes ADD COLUMN connection_cap TEXT;
    ALTER TABLE sandboxes ADD COLUMN max_age TEXT;
    ALTER TABLE sandboxes ADD COLUMN warn_before TEXT;
    ALTER TABLE sandboxes ADD COLUMN counting TEXT;
    ALTER TABLE sandboxes ADD COLUMN keep_until INTEGER;
    ALTER TABLE sandboxes ADD COLUMN spared_until INTEGER;
    ALTER TABLE sandboxes ADD COLUMN warned_for INTEGER;
    ALTER TABLE sandboxes ADD COLUMN extended_at INTEGER;
    ALTER TABLE sandboxes ADD COLUMN extended_by TEXT;
    ALTER TABLE sandboxes ADD COLUMN extended_until INTEGER;
    ALTER TABLE sandboxes ADD COLUMN start_at INTEGER;
    ALTER TABLE sandboxes ADD COLUMN start_count INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE sandboxes ADD COLUMN check_in_at INTEGER;
    ALTER TABLE sandboxes ADD COLUMN check_in_count INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE sandboxes ADD COLUMN extension_at INTEGER;
    ALTER TABLE sandboxes ADD COLUMN extension_count INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE sandboxes ADD COLUMN connection_at INTEGER;
    ALTER TABLE sandboxes ADD COLUMN connection_count INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE sandboxes ADD COLUMN cpu_at INTEGER;
    ALTER TABLE sandboxes ADD COLUMN cpu_count INTEGER NOT NULL DEFAULT 0;
    UPDATE sandboxes SET
        start_at = (SELECT at FROM evidence WHERE sandbox = id AND source = 'start'),
        check_in_at = (SELECT at FROM evidence WHERE sandbox = id AND source = 'check_in'),
        connection_at = (SELECT at FROM evidence WHERE sandbox = id AND source = 'connection');
    UPDATE sandboxes SET start_count = start_at IS NOT NULL, check_in_count = check_in_at IS NOT NULL,
        connection_count = connection_at IS NOT NULL;
    DROP TABLE evidence;
    CREATE TABLE decisions (
        seq           INTEGER PRIMARY KEY AUTOINCREMENT,
        sandbox       TEXT NOT NULL REFERENCES sandboxes (id) ON DELETE CASCADE,
        at            INTEGER NOT NULL,
        decided       TEXT NOT NULL,
        why           TEXT NOT NULL,
        source        TEXT,
        evidence_at   INTEGER
    ) STRICT;
    CREATE INDEX decisions_by_sandbox ON decisions (sandbox, seq);",
    // 4: how apps are reached.
    "ALTER TABLE sandboxes ADD COLUMN access TEXT;",
    // 5: in which start of the machine a sandbox was seen running.
    "ALTER TABLE sandboxes ADD COLUMN boot TEXT;",
    // 6: how often a sandbox reports, and the gap between its last two reports, in milliseconds.
    "ALTER TABLE sandboxes ADD COLUMN report_period INTEGER;
    ALTER TABLE sandboxes ADD COLUMN report_gap INTEGER;",
    // 7: a row to write, only to see whether writing works.
    "CREATE TABLE heartbeat (
        one           INTEGER PRIMARY KEY CHECK (one = 1),
        beats         INTEGER NOT NULL
    ) STRICT;",
    // 8: by which clock the instants are written.
    "CREATE TABLE clock (
        one           INTEGER PRIMARY KEY CHECK (one = 1),
        boot          TEXT NOT NULL,
        ahead         INTEGER NOT NULL
    ) STRICT;",
    // 9: the time zone of those inside.
    "ALTER TABLE sandboxes ADD COLUMN tz TEXT;",
    // 10: what else the engine shows: how runs ended, and what others have done.
    "ALTER TABLE sandboxes ADD COLUMN paused INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE sandboxes ADD COLUMN called TEXT;
    ALTER TABLE sandboxes ADD COLUMN exit_code INTEGER;
    ALTER TABLE sandboxes ADD COLUMN oom_killed INTEGER;
    ALTER TABLE sandboxes ADD COLUMN ended_by TEXT;
    ALTER TABLE sandboxes ADD COLUMN last_lines TEXT;
    ALTER TABLE sandboxes ADD COLUMN quick_ends INTEGER NOT NULL DEFAULT 0;",
    // 11: people, and to whom a sandbox belongs. `credentials` are secrets that were given out, by their hashes.
    "ALTER TABLE sandboxes ADD COLUMN namespace TEXT NOT NULL DEFAULT 'default';
    ALTER TABLE sandboxes ADD COLUMN owner TEXT;
    CREATE INDEX sandboxes_by_namespace ON sandboxes (namespace, owner);
    CREATE TABLE namespaces (
        name          TEXT PRIMARY KEY,
        title         TEXT NOT NULL,
        containers    INTEGER,
        running       INTEGER,
        memory        TEXT,
        owner_containers INTEGER,
        owner_running INTEGER,
        owner_memory  TEXT,
        created_at    INTEGER NOT NULL
    ) STRICT;
    INSERT INTO namespaces (name, title, created_at) VALUES ('default', '', 0);
    CREATE TABLE users (
        name          TEXT PRIMARY KEY,
        role          TEXT NOT NULL,
        password      TEXT,
        ssh_key       TEXT,
        created_at    INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE members (
        namespace     TEXT NOT NULL REFERENCES namespaces (name) ON DELETE CASCADE,
        user          TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
        PRIMARY KEY (user, namespace)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX members_by_namespace ON members (namespace);
    CREATE TABLE credentials (
        id            TEXT PRIMARY KEY,
        kind          TEXT NOT NULL,
        hash          BLOB NOT NULL UNIQUE,
        user          TEXT NOT NULL,
        sandbox       TEXT REFERENCES sandboxes (id) ON DELETE CASCADE,
        parent        TEXT REFERENCES credentials (id) ON DELETE CASCADE,
        password      BLOB,
        name          TEXT NOT NULL,
        scopes        TEXT NOT NULL,
        namespaces    TEXT NOT NULL,
        created_at    INTEGER NOT NULL,
        expires_at    INTEGER,
        used_at       INTEGER,
        used_from     TEXT
    ) STRICT;
    CREATE INDEX credentials_by_user ON credentials (user);
    CREATE INDEX credentials_by_sandbox ON credentials (sandbox) WHERE sandbox IS NOT NULL;",
    // 12: actions, a row for each of their states. The first row says who does what; rows never change, and go only
    // when they are older than what is kept. All rows up to `ended` are of actions that have ended. `configuration` has the settings of the last start, without secrets.
    "CREATE TABLE actions (
        seq           INTEGER PRIMARY KEY AUTOINCREMENT,
        action        TEXT NOT NULL,
        at            INTEGER NOT NULL,
        state         TEXT NOT NULL,
        verb          TEXT,
        actor         TEXT,
        credential    TEXT,
        source        TEXT,
        request       TEXT,
        kind          TEXT,
        object        TEXT,
        name          TEXT,
        container     TEXT,
        namespace     TEXT,
        changed       TEXT,
        code          TEXT,
        error         TEXT
    ) STRICT;
    CREATE INDEX actions_by_action ON actions (action);
    CREATE INDEX actions_by_time ON actions (at);
    CREATE TABLE actions_kept (
        one           INTEGER PRIMARY KEY CHECK (one = 1),
        since         INTEGER NOT NULL,
        ended         INTEGER NOT NULL
    ) STRICT;
    INSERT INTO actions_kept (one, since, ended) VALUES (1, 0, 0);
    CREATE TRIGGER actions_never_change BEFORE UPDATE ON actions BEGIN
        SELECT RAISE(ABORT, 'actions never change');
    END;
    CREATE TRIGGER actions_are_never_replaced BEFORE INSERT ON actions
    WHEN EXISTS (SELECT 1 FROM actions WHERE seq = new.seq) BEGIN
        SELECT RAISE(ABORT, 'actions never change');
    END;
    CREATE TRIGGER actions_are_kept BEFORE DELETE ON actions
    WHEN NOT EXISTS (SELECT 1 FROM actions_kept WHERE old.at < since) BEGIN
        SELECT RAISE(ABORT, 'actions are kept');
    END;
    CREATE TABLE configuration (
        setting       TEXT PRIMARY KEY,
        value         TEXT NOT NULL
    ) STRICT;",
    // 13: files that were put in are evidence.
    "ALTER TABLE sandboxes ADD COLUMN files_at INTEGER;
    ALTER TABLE sandboxes ADD COLUMN files_count INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE sandboxes ADD COLUMN files_by_others_at INTEGER;
    ALTER TABLE sandboxes ADD COLUMN files_by_others_count INTEGER NOT NULL DEFAULT 0;",
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
