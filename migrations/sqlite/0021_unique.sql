-- Unique keys that are held otherwise than while their job is live, and jobs whose arguments are
-- replaced while they wait, as in ../postgres.
ALTER TABLE jobs ADD COLUMN key_until_start boolean;
ALTER TABLE jobs ADD COLUMN key_until bigint;
ALTER TABLE jobs ADD COLUMN debounced_until bigint;
ALTER TABLE jobs ADD COLUMN edits integer;
ALTER TABLE jobs ADD COLUMN freed_key text;

DROP INDEX jobs_unique;
CREATE UNIQUE INDEX jobs_unique ON jobs (kind, unique_key, tenant_id)
    WHERE unique_key IS NOT NULL
        AND (state IN ('open', 'parked') OR (state = 'completed' AND key_until IS NOT NULL));

CREATE TABLE job_edits (
    id        blob   NOT NULL PRIMARY KEY,
    job_id    blob   NOT NULL,
    tenant_id blob   NOT NULL,
    at        bigint NOT NULL
) WITHOUT ROWID;
CREATE INDEX job_edits_at ON job_edits (at);
