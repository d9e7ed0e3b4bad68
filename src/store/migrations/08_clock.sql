-- By which clock the instants are written.
CREATE TABLE clock (
    one           INTEGER PRIMARY KEY CHECK (one = 1),
    boot          TEXT NOT NULL,
    ahead         INTEGER NOT NULL
) STRICT;
