-- Jobs that wait for others, and the publications of a post that belong together, as in ../postgres.
-- Times are milliseconds since 1970 (UTC).

-- Whether jobs wait for this one that were not told of its end. It is set by whoever enqueues them,
-- and cleared by whoever tells them, so no statement that ends a job knows of it.
ALTER TABLE jobs ADD COLUMN waited_on boolean NOT NULL DEFAULT false;
-- Whose end is to be told. Jobs that nobody waits for are in no index of this.
CREATE INDEX jobs_end_untold ON jobs (id)
    WHERE waited_on AND state IN ('completed', 'dead', 'cancelled');

-- A job that waits for its parents: it is parked for them, and what is kept aside until they ended.
CREATE TABLE job_waits (
    job_id     blob   NOT NULL PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
    -- Its own: that of a job that waits lies behind its expiry, so that a node of before this
    -- migration leaves it alone until then.
    run_at     bigint NOT NULL,
    -- Until when it is of use, from when it may run; empty if its expiry stands as it is.
    life_ms    bigint,
    on_failure text   NOT NULL CHECK (on_failure IN ('fail', 'continue'))
) WITHOUT ROWID;

-- What a job was told of the jobs it waited for. They may be deleted before it.
CREATE TABLE job_parents (
    child_id  blob   NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    parent_id blob   NOT NULL,
    kind      text   NOT NULL,
    -- The state in which the parent ended; empty as long as the child was not told.
    outcome   text   CHECK (outcome IN ('completed', 'dead', 'cancelled')),
    -- Why it is dead, in words.
    reason    text,
    ended_at  bigint,
    PRIMARY KEY (child_id, parent_id)
) WITHOUT ROWID;
CREATE INDEX job_parents_untold ON job_parents (parent_id, child_id) WHERE outcome IS NULL;

-- The publications of one request, and the job that sees what became of them.
CREATE TABLE publication_sets (
    id            blob   NOT NULL PRIMARY KEY,
    post_id       blob   NOT NULL REFERENCES posts (id) ON DELETE CASCADE,
    created_at    bigint NOT NULL,
    -- The last one; no reference, as jobs are deleted earlier.
    callback_job  blob,
    callback_kind text,
    callback_args text
) WITHOUT ROWID;
CREATE INDEX publication_sets_post ON publication_sets (post_id);
-- Empty for those of before.
ALTER TABLE publications ADD COLUMN set_id blob;
CREATE INDEX publications_set ON publications (set_id) WHERE set_id IS NOT NULL;
