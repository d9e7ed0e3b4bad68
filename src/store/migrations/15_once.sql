-- Requests that shall be done once, by their actors' keys; `about` is what was done. `made` has what those made
-- that are not done.
CREATE TABLE once (
    seq           INTEGER PRIMARY KEY AUTOINCREMENT,
    actor         TEXT NOT NULL,
    key           TEXT NOT NULL,
    digest        BLOB NOT NULL,
    request       TEXT NOT NULL UNIQUE,
    at            INTEGER NOT NULL,
    about         TEXT,
    UNIQUE (actor, key)
) STRICT;
CREATE INDEX once_by_time ON once (at);
CREATE TABLE made (
    request       TEXT NOT NULL,
    sandbox       TEXT NOT NULL REFERENCES sandboxes (id) ON DELETE CASCADE,
    PRIMARY KEY (request, sandbox)
) STRICT, WITHOUT ROWID;
CREATE INDEX made_by_sandbox ON made (sandbox);
