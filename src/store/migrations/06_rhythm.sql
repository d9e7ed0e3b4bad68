-- How often a sandbox reports, and the gap between its last two reports, in milliseconds.
ALTER TABLE sandboxes ADD COLUMN report_period INTEGER;
ALTER TABLE sandboxes ADD COLUMN report_gap INTEGER;
