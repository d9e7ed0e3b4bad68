-- Sandboxes, their ports and their evidence. Instants are milliseconds since the epoch.
CREATE TABLE sandboxes (
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
) STRICT;
