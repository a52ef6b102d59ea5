-- Jobs that are made again and again, as in ../postgres. Times are milliseconds since 1970 (UTC).

CREATE TABLE schedules (
    id           blob    NOT NULL PRIMARY KEY,
    tenant_id    blob    NOT NULL,
    name         text    NOT NULL,
    cron         text    NOT NULL,
    -- The cron's, as the IANA database spells it.
    zone         text    NOT NULL,
    kind         text    NOT NULL,
    args         text    NOT NULL,
    queue        text    NOT NULL,
    account      blob,
    priority_s   integer NOT NULL,
    -- The kind's own, if empty.
    max_attempts integer,
    missed       text    NOT NULL CHECK (missed IN ('skip', 'once', 'all')),
    overlap      text    NOT NULL CHECK (overlap IN ('skip', 'allow')),
    jitter_ms    bigint  NOT NULL,
    created_at   bigint  NOT NULL,
    -- The next time; empty while the schedule is paused.
    next_at      bigint,
    paused_at    bigint,
    paused_by    text,
    paused_why   text,
    -- How many times were had.
    fires        bigint  NOT NULL,
    -- The job of the last one that made one.
    last_job     blob,
    UNIQUE (tenant_id, name)
) WITHOUT ROWID;
CREATE INDEX schedules_next ON schedules (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX schedules_account ON schedules (account) WHERE account IS NOT NULL;

-- A time that was had. It is written by the transaction that makes the job, so whoever has the row has
-- the job, and a second one finds the row. The newest hundred of a schedule are kept.
CREATE TABLE schedule_fires (
    schedule_id blob    NOT NULL REFERENCES schedules (id) ON DELETE CASCADE,
    fire_at     bigint  NOT NULL,
    -- Counts those of the schedule, from 1.
    n           bigint  NOT NULL,
    made_at     bigint  NOT NULL,
    -- Empty if the job of an earlier time was not done.
    job_id      blob,
    by_hand     boolean NOT NULL,
    PRIMARY KEY (schedule_id, fire_at)
) WITHOUT ROWID;
