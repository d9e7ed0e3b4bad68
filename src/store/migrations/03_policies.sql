-- Each sandbox's own policy, extensions, and decisions.
ALTER TABLE sandboxes ADD COLUMN connection_cap TEXT;
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
CREATE INDEX decisions_by_sandbox ON decisions (sandbox, seq);
