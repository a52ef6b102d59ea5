-- The engine's own tables. Times are milliseconds since 1970 (UTC).
--
-- "Live" means state open or parked. Only live jobs are in the partial indexes, so that the
-- millions of completed rows cost one entry in the primary key and one for the cleanup.

CREATE TABLE jobs (
    id              uuid    NOT NULL PRIMARY KEY,
    kind            text    NOT NULL,
    kind_version    integer NOT NULL,
    queue           text    NOT NULL,
    args            text    NOT NULL,
    state           text    NOT NULL DEFAULT 'open'
                    CHECK (state IN ('open', 'parked', 'completed', 'dead', 'cancelled')),
    failed_attempts integer NOT NULL,
    max_attempts    integer NOT NULL,
    priority_s      integer NOT NULL,
    unique_key      text,
    account         uuid,
    run_at          bigint  NOT NULL,
    created_at      bigint  NOT NULL,
    expires_at      bigint  NOT NULL,
    finished_at     bigint,
    -- The greatest fencing token that has stamped or settled the job.
    token           bigint,
    -- Whether that token's holder has said what becomes of the job.
    settled         boolean NOT NULL DEFAULT false,
    parked_for      text
) WITH (fillfactor = 80); -- every job is updated at least once: leave room on its page

CREATE UNIQUE INDEX jobs_unique ON jobs (kind, unique_key)
    WHERE unique_key IS NOT NULL AND state IN ('open', 'parked');
-- For the sweep in id order; run_at rides along so that far-future jobs are skipped in the index.
CREATE INDEX jobs_open ON jobs (id, run_at) WHERE state = 'open';
CREATE INDEX jobs_parked_account ON jobs (account) WHERE state = 'parked';
CREATE INDEX jobs_parked_due ON jobs (run_at) WHERE state = 'parked';
-- For the cleanup.
CREATE INDEX jobs_ended ON jobs (finished_at) WHERE state IN ('completed', 'cancelled');

-- One row for each failed attempt; a success is an update of the job alone.
CREATE TABLE attempts (
    job_id     uuid    NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    -- The run's fencing token. It tells the attempts of a job apart also after it was put back
    -- and its attempts are numbered from 1 again.
    token      bigint  NOT NULL,
    n          integer NOT NULL,
    started_at bigint  NOT NULL,
    ended_at   bigint  NOT NULL,
    outcome    text    NOT NULL,
    error      text    NOT NULL,
    worker     text    NOT NULL,
    PRIMARY KEY (job_id, token)
);

-- Why a dead job is dead: exactly one row for each job in state dead.
CREATE TABLE dead_letters (
    job_id      uuid    NOT NULL PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
    kind        text    NOT NULL,
    queue       text    NOT NULL,
    category    text    NOT NULL,
    class       text    NOT NULL,
    message     text    NOT NULL,
    fingerprint text    NOT NULL,
    attempts    integer NOT NULL,
    created_at  bigint  NOT NULL,
    died_at     bigint  NOT NULL
);
CREATE INDEX dead_letters_fingerprint ON dead_letters (fingerprint, job_id);
CREATE INDEX dead_letters_died_at ON dead_letters (died_at);

-- Counts how often each queue's broker had to be filled anew.
CREATE TABLE generations (
    queue      text   NOT NULL PRIMARY KEY,
    generation bigint NOT NULL
);
