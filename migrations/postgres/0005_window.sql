-- For filling a broker's window in the order of turns (`postworks::job::Turn`).
--
-- A due job's turn is its due time less its head start. One that is not due yet comes after all
-- due ones, by its due time; only jobs that were scheduled or tried before can be such, so that
-- the enqueue of a job that is due at once pays for one of these indexes.
CREATE INDEX jobs_turn ON jobs (queue, (run_at - priority_s * 1000), id) WHERE state = 'open';
CREATE INDEX jobs_scheduled ON jobs (queue, run_at, id)
    WHERE state = 'open' AND run_at > created_at;
