-- The keys that seal the accounts' secrets, and who has them. Times are milliseconds since 1970 (UTC).

-- A key of the ring. A node that has another key under the same id finds out when it starts.
CREATE TABLE sealing_keys (
    id          text   NOT NULL PRIMARY KEY,
    -- Follows from the key, and tells nothing of it.
    proof       bytea  NOT NULL,
    first_seen  bigint NOT NULL,
    -- A rotation seals with it since then: no node starts without it.
    required_at bigint,
    -- Nothing is sealed with it since then, and no node starts that would.
    retired_at  bigint
);

-- The nodes that live, each with the keys that it has proved.
CREATE TABLE key_holders (
    node    text   NOT NULL PRIMARY KEY,
    -- Ids with commas between; it seals with the first.
    key_ids text   NOT NULL,
    -- It said so then, and is believed for a minute.
    seen_at bigint NOT NULL
);

-- For who counts the rows of each key.
CREATE INDEX connector_tokens_key ON connector_tokens (key_id);
