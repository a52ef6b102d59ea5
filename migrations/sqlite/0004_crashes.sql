-- How often workers crashed while they ran a job, as in ../postgres.

ALTER TABLE jobs ADD COLUMN crashes integer NOT NULL DEFAULT 0;
-- The claim that was counted last: each is counted once.
ALTER TABLE jobs ADD COLUMN crashed_token bigint;
-- Whether that count was taken back, because the worker lives after all.
ALTER TABLE jobs ADD COLUMN crash_withdrawn boolean NOT NULL DEFAULT false;
