-- What else the engine shows: how runs ended, and what others have done.
ALTER TABLE sandboxes ADD COLUMN paused INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sandboxes ADD COLUMN called TEXT;
ALTER TABLE sandboxes ADD COLUMN exit_code INTEGER;
ALTER TABLE sandboxes ADD COLUMN oom_killed INTEGER;
ALTER TABLE sandboxes ADD COLUMN ended_by TEXT;
ALTER TABLE sandboxes ADD COLUMN last_lines TEXT;
ALTER TABLE sandboxes ADD COLUMN quick_ends INTEGER NOT NULL DEFAULT 0;
