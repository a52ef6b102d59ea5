-- Requests that came with a key of their client's: what was answered, so that a repeated one is not
-- done again.
CREATE TABLE requests (
    -- Whose key it is.
    actor      text   NOT NULL,
    key        text   NOT NULL,
    -- SHA-256 of what was asked.
    asked      bytea  NOT NULL,
    -- What all ids come from that the request makes: whoever does it again makes the same.
    seed       uuid   NOT NULL,
    created_at bigint NOT NULL,
    -- Until then somebody is at it.
    held_until bigint NOT NULL,
    -- The answer, once there is one.
    status     bigint,
    answer     text,
    PRIMARY KEY (actor, key)
);
CREATE INDEX requests_created_at ON requests (created_at);
