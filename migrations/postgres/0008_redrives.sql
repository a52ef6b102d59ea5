-- Dead letters that are put back over a while, and what was put back when.

-- One row for each time a dead job was put back: from which death, and by which redrive.
CREATE TABLE redriven (
    job_id      uuid    NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    -- 1 is the first time.
    n           integer NOT NULL,
    at          bigint  NOT NULL,
    redrive     uuid,
    died_at     bigint  NOT NULL,
    category    text    NOT NULL,
    fingerprint text    NOT NULL,
    message     text    NOT NULL,
    PRIMARY KEY (job_id, n)
);
CREATE INDEX redriven_redrive ON redriven (redrive, fingerprint) WHERE redrive IS NOT NULL;

-- A redrive that goes on in the background. Its id is that of its row in the audit.
CREATE TABLE redrives (
    id          uuid   NOT NULL PRIMARY KEY,
    actor       text   NOT NULL,
    subject     text   NOT NULL,
    why         text,
    -- Which letters: JSON.
    filter      text   NOT NULL,
    canary      bigint,
    -- Jobs a second.
    rate        bigint,
    state       text   NOT NULL CHECK (state IN ('running', 'done', 'stopped')),
    -- How far it came with each cause: JSON.
    progress    text   NOT NULL,
    matched     bigint NOT NULL,
    put_back    bigint NOT NULL,
    done        bigint NOT NULL,
    unknown     bigint NOT NULL,
    superseded  bigint NOT NULL,
    started_at  bigint NOT NULL,
    -- When its last step was begun.
    step_at     bigint NOT NULL,
    ended_at    bigint,
    stopped_why text,
    -- Grows with every change, so that no step overwrites another's.
    version     bigint NOT NULL
);
CREATE INDEX redrives_running ON redrives (id) WHERE state = 'running';
