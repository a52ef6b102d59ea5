-- For finding what made a dead job needless, as in ../postgres: a later job of its key, or for its
-- account, that completed. Publishing needs neither, since a publication's own row says whether it
-- is out; so the busiest kind pays for none of these indexes.
CREATE INDEX jobs_key_done ON jobs (kind, unique_key, finished_at)
    WHERE unique_key IS NOT NULL AND state = 'completed' AND kind <> 'post_publication';
CREATE INDEX jobs_account ON jobs (account, kind, finished_at)
    WHERE account IS NOT NULL AND kind <> 'post_publication';
