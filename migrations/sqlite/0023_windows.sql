-- Windows of publications, and moving them. As in ../postgres.

-- The claim that a person's move took the job from: no verdict of it counts.
ALTER TABLE jobs ADD COLUMN moved_token bigint;

-- It is not to be sent later than this, if there is a time.
ALTER TABLE publications ADD COLUMN not_after  bigint;
-- What becomes of it if it is late: 'skip' or 'publish'.
ALTER TABLE publications ADD COLUMN late       text CHECK (late IN ('skip', 'publish'));
-- When it was found to be late, and in which words it was given up.
ALTER TABLE publications ADD COLUMN missed_at  bigint;
ALTER TABLE publications ADD COLUMN missed_why text;
-- Whether the broker was told of the last move.
ALTER TABLE publications ADD COLUMN told       boolean NOT NULL DEFAULT true;

-- For who tells the broker; empty but for moments.
CREATE INDEX publications_untold ON publications (id) WHERE NOT told;
