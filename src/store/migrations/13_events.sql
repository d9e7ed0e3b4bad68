-- Events. Triggers tell what happens to rows, so that no event is without its change, and no change without its
-- event; what is inserted into `happened` is told with what the sandbox's row says then. The worker adds when it was.
-- Labels and details are lines. The newest 10,000 are kept.
CREATE TABLE events (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    at            INTEGER,
    what          TEXT NOT NULL,
    sandbox       TEXT,
    name          TEXT,
    container     TEXT,
    image         TEXT,
    namespace     TEXT,
    owner         TEXT,
    labels        TEXT,
    detail        TEXT
) STRICT;
CREATE INDEX events_without_time ON events (id) WHERE at IS NULL;
CREATE TRIGGER events_are_bounded AFTER INSERT ON events BEGIN
    DELETE FROM events WHERE id <= new.id - 10000;
END;
CREATE VIEW happened AS SELECT id AS sandbox, '' AS what, NULL AS detail FROM sandboxes;
CREATE TRIGGER happened_is_told INSTEAD OF INSERT ON happened BEGIN
    INSERT INTO events (what, sandbox, name, container, image, namespace, owner, labels, detail)
    SELECT new.what, id, substr(name, 1, instr(name || '~', '~') - 1), container, image, namespace, owner,
           (SELECT group_concat(key || '=' || value, char(10)) FROM labels WHERE sandbox = new.sandbox), new.detail
    FROM sandboxes WHERE id = new.sandbox;
END;
CREATE TRIGGER events_of_states AFTER UPDATE OF state ON sandboxes WHEN old.state <> new.state BEGIN
    INSERT INTO happened (sandbox, what, detail)
    SELECT new.id, what, iif(what = 'stopped', 'reason=' || new.reason, NULL) FROM (SELECT CASE
        WHEN new.state = 'deleting' THEN iif(old.state = 'creating', NULL, 'deleted')
        WHEN old.state = 'creating' THEN 'created'
        WHEN new.state = 'running' AND old.state IN ('starting', 'stopped') THEN 'started'
        WHEN new.state = 'stopped' THEN CASE old.state
            WHEN 'starting' THEN 'start_failed' WHEN 'resetting' THEN NULL ELSE 'stopped' END
    END AS what) WHERE what IS NOT NULL;
END;
CREATE TRIGGER events_of_adoption AFTER INSERT ON sandboxes WHEN new.state <> 'creating' BEGIN
    INSERT INTO happened (sandbox, what) VALUES (new.id, 'adopted');
END;
CREATE TRIGGER events_of_absence BEFORE DELETE ON sandboxes WHEN old.state NOT IN ('creating', 'deleting') BEGIN
    INSERT INTO happened (sandbox, what) VALUES (old.id, 'deleted');
END;
CREATE TRIGGER events_of_names AFTER UPDATE OF name ON sandboxes
WHEN old.name <> new.name AND new.state <> 'deleting' BEGIN
    INSERT INTO happened (sandbox, what, detail) VALUES (new.id, 'renamed', 'from=' || old.name);
END;
CREATE TRIGGER events_of_decisions AFTER INSERT ON decisions WHEN new.decided IN ('warned', 'extended', 'changed')
BEGIN
    INSERT INTO happened (sandbox, what, detail)
    VALUES (new.sandbox, new.decided, 'why=' || replace(new.why, char(10), ' '));
END;
CREATE TRIGGER events_of_wakes AFTER UPDATE OF wake_failed_at ON sandboxes
WHEN new.wake_failed_at IS NOT NULL AND old.wake_failed_at IS NOT new.wake_failed_at BEGIN
    INSERT INTO happened (sandbox, what, detail)
    VALUES (new.id, 'wake_failed', 'why=' || replace(new.wake_failure, char(10), ' '));
END;
-- How often each sort of event has happened, and why, where that is one of few words.
CREATE TABLE tallies (
    what          TEXT NOT NULL,
    reason        TEXT NOT NULL,
    count         INTEGER NOT NULL,
    PRIMARY KEY (what, reason)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER events_are_counted AFTER INSERT ON events BEGIN
    INSERT INTO tallies (what, reason, count)
    VALUES (new.what, iif(new.what = 'stopped', coalesce(substr(new.detail, 8), ''), ''), 1)
    ON CONFLICT (what, reason) DO UPDATE SET count = count + 1;
END;
