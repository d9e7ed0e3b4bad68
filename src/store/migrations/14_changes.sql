-- What a reset needs again, and changes of which the engine may not know yet. `launched` is 0 where an older
-- version made the container: only that knows the variables and keys.
ALTER TABLE sandboxes ADD COLUMN ssh_key TEXT;
ALTER TABLE sandboxes ADD COLUMN launched INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sandboxes ADD COLUMN workdir TEXT;
ALTER TABLE sandboxes ADD COLUMN runs_as TEXT;
ALTER TABLE sandboxes ADD COLUMN hostname TEXT;
ALTER TABLE sandboxes ADD COLUMN unsettled INTEGER NOT NULL DEFAULT 0;
CREATE TABLE launch (
    sandbox       TEXT NOT NULL REFERENCES sandboxes (id) ON DELETE CASCADE,
    part          TEXT NOT NULL,
    place         INTEGER NOT NULL,
    text          TEXT NOT NULL,
    PRIMARY KEY (sandbox, part, place)
) STRICT, WITHOUT ROWID;
CREATE TABLE former (
    seq           INTEGER PRIMARY KEY AUTOINCREMENT,
    sandbox       TEXT NOT NULL REFERENCES sandboxes (id) ON DELETE CASCADE,
    container     TEXT NOT NULL UNIQUE
) STRICT;
CREATE INDEX former_by_sandbox ON former (sandbox, seq);
CREATE TRIGGER events_of_resets AFTER INSERT ON former BEGIN
    INSERT INTO happened (sandbox, what, detail) VALUES (new.sandbox, 'reset', 'former=' || new.container);
END;
