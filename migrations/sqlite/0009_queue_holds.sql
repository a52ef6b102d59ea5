-- What people want of queues: paused, or the breaker held open. The broker has a copy.
CREATE TABLE queue_holds (
    queue      text    NOT NULL PRIMARY KEY,
    -- Counts the changes, so that an older one that arrives late undoes nothing.
    revision   bigint  NOT NULL,
    -- Whether the broker is known to have this revision.
    applied    boolean NOT NULL,
    paused_at  bigint,
    paused_by  text,
    paused_why text,
    forced_at  bigint,
    forced_by  text,
    forced_why text
);
