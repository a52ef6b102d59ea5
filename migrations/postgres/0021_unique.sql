-- Unique keys that are held otherwise than while their job is live, and jobs whose arguments are
-- replaced while they wait.
--
-- Columns are empty where a job uses none of this, so that no row is rewritten or grows. The unique
-- index is built anew, with the same entries: enqueues wait while the table is read once.
ALTER TABLE jobs
    -- True if the key is free once a run has begun: once there is a token.
    ADD COLUMN key_until_start boolean,
    -- The key is held until then even if the job has completed.
    ADD COLUMN key_until bigint,
    -- Replaced or not, it waits no longer than until then.
    ADD COLUMN debounced_until bigint,
    -- How often its arguments were replaced.
    ADD COLUMN edits integer,
    -- The key that it had, once another job has it.
    ADD COLUMN freed_key text;

-- Who is in it may be past holding the key: that is looked at, under the row's lock, when another job
-- wants the key. So neither a start nor the end of a period has anything to write.
CREATE UNIQUE INDEX jobs_unique_of_holder ON jobs (kind, unique_key, tenant_id)
    WHERE unique_key IS NOT NULL
        AND (state IN ('open', 'parked') OR (state = 'completed' AND key_until IS NOT NULL));
DROP INDEX jobs_unique;
ALTER INDEX jobs_unique_of_holder RENAME TO jobs_unique;

-- A request that replaced the arguments of a job, so that its repetition does not do so again.
CREATE TABLE job_edits (
    -- The job that would have been made.
    id        uuid   NOT NULL PRIMARY KEY,
    -- The one whose arguments it replaced.
    job_id    uuid   NOT NULL,
    tenant_id uuid   NOT NULL,
    at        bigint NOT NULL
);
-- For the cleanup.
CREATE INDEX job_edits_at ON job_edits (at);

GRANT SELECT, INSERT ON job_edits TO postworks_tenant;
ALTER TABLE job_edits ENABLE ROW LEVEL SECURITY;
ALTER TABLE job_edits FORCE ROW LEVEL SECURITY;
CREATE POLICY engine ON job_edits TO postworks_engine USING (true) WITH CHECK (true);
CREATE POLICY tenant ON job_edits TO postworks_tenant
    USING (tenant_id = NULLIF(current_setting('postworks.tenant', true), '')::uuid)
    WITH CHECK (tenant_id = NULLIF(current_setting('postworks.tenant', true), '')::uuid);
