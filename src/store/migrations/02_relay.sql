-- The relay carries tcp. The ports that exist already are published by the engine.
ALTER TABLE ports ADD COLUMN carrier TEXT NOT NULL DEFAULT 'engine';
ALTER TABLE sandboxes ADD COLUMN pid INTEGER;
ALTER TABLE sandboxes ADD COLUMN wake TEXT;
ALTER TABLE sandboxes ADD COLUMN wake_failed_at INTEGER;
ALTER TABLE sandboxes ADD COLUMN wake_failure TEXT;
ALTER TABLE sandboxes ADD COLUMN wake_on TEXT NOT NULL DEFAULT '';
ALTER TABLE sandboxes ADD COLUMN app_protocol TEXT NOT NULL DEFAULT '';
ALTER TABLE sandboxes ADD COLUMN proxy_protocol TEXT NOT NULL DEFAULT '';
