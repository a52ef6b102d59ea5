-- Jobs that wait for others, and the publications of a post that belong together. Times are
-- milliseconds since 1970 (UTC).

-- Whether jobs wait for this one that were not told of its end. It is set by whoever enqueues them,
-- and cleared by whoever tells them, so no statement that ends a job knows of it.
ALTER TABLE jobs ADD COLUMN waited_on boolean NOT NULL DEFAULT false;
-- Whose end is to be told. Jobs that nobody waits for are in no index of this.
CREATE INDEX jobs_end_untold ON jobs (id)
    WHERE waited_on AND state IN ('completed', 'dead', 'cancelled');

-- A job that waits for its parents: it is parked for them, and what is kept aside until they ended.
CREATE TABLE job_waits (
    job_id     uuid   NOT NULL PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
    -- Its own: that of a job that waits lies behind its expiry, so that a node of before this
    -- migration leaves it alone until then.
    run_at     bigint NOT NULL,
    -- Until when it is of use, from when it may run; empty if its expiry stands as it is.
    life_ms    bigint,
    on_failure text   NOT NULL CHECK (on_failure IN ('fail', 'continue'))
);

-- What a job was told of the jobs it waited for. They may be deleted before it.
CREATE TABLE job_parents (
    child_id  uuid   NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    parent_id uuid   NOT NULL,
    kind      text   NOT NULL,
    -- The state in which the parent ended; empty as long as the child was not told.
    outcome   text   CHECK (outcome IN ('completed', 'dead', 'cancelled')),
    -- Why it is dead, in words.
    reason    text,
    ended_at  bigint,
    PRIMARY KEY (child_id, parent_id)
);
CREATE INDEX job_parents_untold ON job_parents (parent_id, child_id) WHERE outcome IS NULL;

-- The publications of one request, and the job that sees what became of them.
CREATE TABLE publication_sets (
    id            uuid   NOT NULL PRIMARY KEY,
    tenant_id     uuid   NOT NULL DEFAULT coalesce(
        NULLIF(current_setting('postworks.tenant', true), '')::uuid,
        '00000000-0000-0000-0000-000000000001'),
    post_id       uuid   NOT NULL REFERENCES posts (id) ON DELETE CASCADE,
    created_at    bigint NOT NULL,
    -- The last one; no reference, as jobs are deleted earlier.
    callback_job  uuid,
    callback_kind text,
    callback_args text
);
CREATE INDEX publication_sets_post ON publication_sets (post_id);
-- Empty for those of before.
ALTER TABLE publications ADD COLUMN set_id uuid;
CREATE INDEX publications_set ON publications (set_id) WHERE set_id IS NOT NULL;

GRANT SELECT, INSERT, UPDATE, DELETE ON job_waits TO postworks_tenant;
GRANT SELECT, INSERT, UPDATE ON job_parents TO postworks_tenant;
GRANT SELECT, INSERT, UPDATE ON publication_sets TO postworks_tenant;
ALTER TABLE job_waits ENABLE ROW LEVEL SECURITY;
ALTER TABLE job_waits FORCE ROW LEVEL SECURITY;
ALTER TABLE job_parents ENABLE ROW LEVEL SECURITY;
ALTER TABLE job_parents FORCE ROW LEVEL SECURITY;
ALTER TABLE publication_sets ENABLE ROW LEVEL SECURITY;
ALTER TABLE publication_sets FORCE ROW LEVEL SECURITY;
CREATE POLICY engine ON job_waits TO postworks_engine USING (true) WITH CHECK (true);
CREATE POLICY engine ON job_parents TO postworks_engine USING (true) WITH CHECK (true);
CREATE POLICY engine ON publication_sets TO postworks_engine USING (true) WITH CHECK (true);
-- Whose the job is, that they are.
CREATE POLICY tenant ON job_waits TO postworks_tenant
    USING (EXISTS (SELECT 1 FROM jobs WHERE jobs.id = job_id));
CREATE POLICY tenant ON job_parents TO postworks_tenant
    USING (EXISTS (SELECT 1 FROM jobs WHERE jobs.id = child_id));
CREATE POLICY tenant ON publication_sets TO postworks_tenant
    USING (tenant_id = NULLIF(current_setting('postworks.tenant', true), '')::uuid)
    WITH CHECK (tenant_id = NULLIF(current_setting('postworks.tenant', true), '')::uuid);
