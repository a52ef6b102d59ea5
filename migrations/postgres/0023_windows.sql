-- Windows of publications, and moving them. Times are milliseconds since 1970 (UTC). Nothing is
-- rewritten, and what older programs write is a publication without a window.

-- The claim that a person's move took the job from: no verdict of it counts.
ALTER TABLE jobs ADD COLUMN moved_token bigint;

ALTER TABLE publications
    -- It is not to be sent later than this, if there is a time.
    ADD COLUMN not_after  bigint,
    -- What becomes of it if it is late: 'skip' or 'publish'.
    ADD COLUMN late       text CHECK (late IN ('skip', 'publish')),
    -- When it was found to be late, and in which words it was given up.
    ADD COLUMN missed_at  bigint,
    ADD COLUMN missed_why text,
    -- Whether the broker was told of the last move.
    ADD COLUMN told       boolean NOT NULL DEFAULT true,
    ADD CHECK ((not_after IS NULL) = (late IS NULL));

-- For who tells the broker; empty but for moments.
CREATE INDEX publications_untold ON publications (id) WHERE NOT told;
