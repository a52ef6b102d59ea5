-- When accounts' tokens are renewed ahead of their end. Times are milliseconds since 1970 (UTC).

ALTER TABLE connector_tokens
    -- A refresh is enqueued then. Nothing is planned for tokens that have no end.
    ADD COLUMN refresh_due_at  bigint,
    -- Tokens that are still the same then are late: they end soon, and nobody has renewed them.
    ADD COLUMN refresh_late_at bigint;

-- What is there is planned as the program does it: the margin is 15 minutes or a tenth of the token's
-- life, the spread 10 minutes or as much. What has ended comes within the next hour.
UPDATE connector_tokens t
SET refresh_due_at = CASE WHEN p.expires_at > p.now
        THEN p.expires_at - p.margin - floor(random() * p.spread)::bigint
        ELSE p.now + floor(random() * 3600000)::bigint END,
    refresh_late_at = CASE WHEN p.expires_at > p.now
        THEN p.expires_at - p.margin / 2 ELSE p.now + 3600000 END
FROM (
    SELECT m.*, least(greatest(m.life / 10, 600000), (m.life - m.margin) / 2) AS spread
    FROM (
        SELECT l.*, least(greatest(l.life / 10, 900000), l.life / 2) AS margin
        FROM (
            SELECT k.connector_id, k.expires_at,
                coalesce(k.expires_at - k.refreshed_at, 3600000) AS life,
                floor(extract(epoch FROM now()) * 1000)::bigint AS now
            FROM connector_tokens k JOIN connectors c ON c.id = k.connector_id
            WHERE k.access_ct IS NOT NULL AND k.expires_at IS NOT NULL AND c.state = 'active'
        ) AS l
    ) AS m
) AS p
WHERE t.connector_id = p.connector_id AND p.life >= 60000;

CREATE INDEX connector_tokens_due ON connector_tokens (refresh_due_at)
    WHERE refresh_due_at IS NOT NULL;
CREATE INDEX connector_tokens_late ON connector_tokens (refresh_late_at)
    WHERE refresh_late_at IS NOT NULL;
