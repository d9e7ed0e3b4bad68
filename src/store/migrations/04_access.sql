-- How apps are reached.
ALTER TABLE sandboxes ADD COLUMN access TEXT;
