-- In which start of the machine a sandbox was seen running.
ALTER TABLE sandboxes ADD COLUMN boot TEXT;
