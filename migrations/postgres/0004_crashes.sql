-- How often workers crashed while they ran a job, since it last came to an orderly end of a run.
-- Counted here, so that a broker that loses its memory does not forgive a job that kills.

ALTER TABLE jobs
    ADD COLUMN crashes         integer NOT NULL DEFAULT 0,
    -- The claim that was counted last: each is counted once.
    ADD COLUMN crashed_token   bigint,
    -- Whether that count was taken back, because the worker lives after all.
    ADD COLUMN crash_withdrawn boolean NOT NULL DEFAULT false;
