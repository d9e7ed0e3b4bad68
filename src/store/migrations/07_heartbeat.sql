-- A row to write, only to see whether writing works.
CREATE TABLE heartbeat (
    one           INTEGER PRIMARY KEY CHECK (one = 1),
    beats         INTEGER NOT NULL
) STRICT;
