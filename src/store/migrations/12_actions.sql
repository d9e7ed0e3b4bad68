-- Actions, a row for each of their states. The first row says who does what; rows never change, and go only
-- when they are older than what is kept. All rows up to `ended` are of actions that have ended. `configuration` has the settings of the last start, without secrets.
CREATE TABLE actions (
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
) STRICT;
