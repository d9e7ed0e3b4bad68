-- Files that were put in are evidence.
ALTER TABLE sandboxes ADD COLUMN files_at INTEGER;
ALTER TABLE sandboxes ADD COLUMN files_count INTEGER NOT NULL DEFAULT 0;
