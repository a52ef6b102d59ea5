-- Who may ask the API: people with passwords, their sessions, and programs with keys. Of every
-- secret only a hash is here.
CREATE TABLE users (
    id          uuid   NOT NULL PRIMARY KEY,
    tenant      uuid   NOT NULL DEFAULT '00000000-0000-0000-0000-000000000001',
    -- In small letters.
    email       text   NOT NULL UNIQUE,
    -- Argon2id, as a PHC string.
    password    text   NOT NULL,
    role        text   NOT NULL,
    created_at  bigint NOT NULL,
    disabled_at bigint
);

CREATE TABLE api_keys (
    id         uuid   NOT NULL PRIMARY KEY,
    tenant     uuid   NOT NULL DEFAULT '00000000-0000-0000-0000-000000000001',
    -- What it is for, in its owner's words.
    name       text,
    role       text   NOT NULL,
    -- SHA-256 of the key.
    hash       bytea  NOT NULL,
    created_at bigint NOT NULL,
    revoked_at bigint
);

-- A login, and all the refresh tokens that come of it.
CREATE TABLE sessions (
    id         uuid   NOT NULL PRIMARY KEY,
    user_id    uuid   NOT NULL,
    -- How many refresh tokens it has had.
    tokens     bigint NOT NULL,
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    revoked_at bigint
);
CREATE INDEX sessions_expires_at ON sessions (expires_at);

CREATE TABLE refresh_tokens (
    id         uuid   NOT NULL PRIMARY KEY,
    session_id uuid   NOT NULL,
    -- SHA-256 of the token.
    hash       bytea  NOT NULL,
    created_at bigint NOT NULL,
    -- The session's.
    expires_at bigint NOT NULL,
    -- It was exchanged for the next one.
    used_at    bigint,
    -- SHA-256 of what is known of the client who did so.
    used_by    bytea
);
CREATE INDEX refresh_tokens_expires_at ON refresh_tokens (expires_at);
