-- Programs that were begun inside, until they are known to have ended; what people do inside; whether a
-- namespace lets its assistants in.
CREATE TABLE execs (
    id            TEXT PRIMARY KEY,
    sandbox       TEXT NOT NULL REFERENCES sandboxes (id) ON DELETE CASCADE,
    container     TEXT NOT NULL,
    exec          TEXT NOT NULL,
    user          TEXT
) STRICT;
CREATE INDEX execs_by_sandbox ON execs (sandbox);
ALTER TABLE sandboxes ADD COLUMN terminal_at INTEGER;
ALTER TABLE sandboxes ADD COLUMN terminal_count INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sandboxes ADD COLUMN exec_at INTEGER;
ALTER TABLE sandboxes ADD COLUMN exec_count INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sandboxes ADD COLUMN staff_at INTEGER;
ALTER TABLE sandboxes ADD COLUMN staff_count INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sandboxes ADD COLUMN staff_by TEXT;
ALTER TABLE namespaces ADD COLUMN assistant_exec INTEGER NOT NULL DEFAULT 0;
