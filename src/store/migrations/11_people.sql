-- People, and to whom a sandbox belongs. `credentials` are secrets that were given out, by their hashes.
ALTER TABLE sandboxes ADD COLUMN namespace TEXT NOT NULL DEFAULT 'default';
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
CREATE INDEX credentials_by_sandbox ON credentials (sandbox) WHERE sandbox IS NOT NULL;
