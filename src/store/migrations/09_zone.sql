-- The time zone of those inside.
ALTER TABLE sandboxes ADD COLUMN tz TEXT;
