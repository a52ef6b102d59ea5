-- When a queue's present generation was opened, and for how long from then on the jobs that an
-- earlier generation's workers had started are kept for these workers. Milliseconds.
ALTER TABLE generations ADD COLUMN opened_at bigint NOT NULL DEFAULT 0;
ALTER TABLE generations ADD COLUMN reserved_ms bigint NOT NULL DEFAULT 0;
