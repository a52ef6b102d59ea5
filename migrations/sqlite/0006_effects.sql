-- A publication's row is the record of its effect: who may have sent it, and since when. As in
-- ../postgres.

-- Grows with every change of what follows; nothing is begun on a row that changed meanwhile.
ALTER TABLE publications ADD COLUMN version    bigint NOT NULL DEFAULT 0;
-- The run that recorded the last intent: its job and its fencing token. Two jobs of one claim
-- share a token.
ALTER TABLE publications ADD COLUMN sender_job blob;
ALTER TABLE publications ADD COLUMN token      bigint;
ALTER TABLE publications ADD COLUMN worker     text;
-- When the first request was recorded whose outcome is not known.
ALTER TABLE publications ADD COLUMN begun_at   bigint;

UPDATE publications SET begun_at = send_by - 5000 WHERE state = 'sending';
