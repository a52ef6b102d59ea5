-- The product's tables: accounts, their tokens, posts and what became of them.
-- Times are milliseconds since 1970 (UTC). *_ct is sealed: key id, nonce, ciphertext.

-- An account on a platform. Connecting it again keeps the row.
CREATE TABLE connectors (
    id           uuid   NOT NULL PRIMARY KEY,
    platform     text   NOT NULL,
    base_url     text   NOT NULL,
    identifier   text   NOT NULL,
    -- The platform's own id of the account, once it told us.
    remote_id    text,
    state        text   NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'needs_reauth')),
    state_reason text,
    created_at   bigint NOT NULL,
    UNIQUE (platform, base_url, identifier)
);

-- An account's secrets. `version` grows with every change of them and is part of what seals
-- them; a refresh commits only on the version it read, and only while it holds the lease.
CREATE TABLE connector_tokens (
    connector_id       uuid   NOT NULL PRIMARY KEY REFERENCES connectors (id) ON DELETE CASCADE,
    access_ct          bytea,
    refresh_ct         bytea,
    -- What a person entered, as long as it is of use.
    secret_ct          bytea,
    -- The key that sealed all three.
    key_id             text   NOT NULL,
    version            bigint NOT NULL,
    expires_at         bigint,
    -- When the platform last gave tokens.
    refreshed_at       bigint,
    lease_owner        uuid,
    -- Nobody may refresh before this: the owner does, or, without one, a failure cools down.
    lease_until        bigint,
    -- A request was sent and what became of it is not recorded: the tokens may be used up.
    refresh_started_at bigint,
    failures           bigint NOT NULL DEFAULT 0,
    last_error         text,
    last_failure_at    bigint
);

CREATE TABLE posts (
    id         uuid   NOT NULL PRIMARY KEY,
    text       text   NOT NULL,
    created_at bigint NOT NULL
);

-- One post on one account, once. There is no UNIQUE (post_id, connector_id): publishing a post
-- again is a decision of its own with a row of its own; a repeated request is recognised by its
-- idempotency key before it comes here. No reference to jobs: those are deleted earlier.
CREATE TABLE publications (
    id           uuid   NOT NULL PRIMARY KEY,
    post_id      uuid   NOT NULL REFERENCES posts (id),
    connector_id uuid   NOT NULL REFERENCES connectors (id),
    job_id       uuid   NOT NULL,
    state        text   NOT NULL DEFAULT 'scheduled'
                 CHECK (state IN ('scheduled', 'sending', 'published', 'failed')),
    -- What is sent, the same at every attempt; frozen_at is the time the post shows.
    frozen_text  text,
    frozen_at    bigint,
    -- The sender that made the row 'sending' writes to the platform before this or not at all.
    send_by      bigint,
    remote_id    text,
    remote_url   text,
    created_at   bigint NOT NULL,
    scheduled_at bigint NOT NULL,
    finished_at  bigint
);
CREATE INDEX publications_post ON publications (post_id);
-- For the list of those whose outcome only a person can tell.
CREATE INDEX publications_sending ON publications (id) WHERE state = 'sending';
-- For the cleanup.
CREATE INDEX publications_ended ON publications (finished_at)
    WHERE state IN ('published', 'failed');

-- Posts found on the platforms.
CREATE TABLE remote_posts (
    connector_id uuid   NOT NULL REFERENCES connectors (id) ON DELETE CASCADE,
    remote_id    text   NOT NULL,
    text         text   NOT NULL,
    created_at   bigint,
    seen_at      bigint NOT NULL,
    PRIMARY KEY (connector_id, remote_id)
);
CREATE INDEX remote_posts_seen ON remote_posts (seen_at);

-- How far a walk over an account's posts came. The high water is the newest post of the last
-- walk that reached its end; the pending one becomes it when the present walk does.
CREATE TABLE sync_cursors (
    connector_id       uuid   NOT NULL REFERENCES connectors (id) ON DELETE CASCADE,
    stream             text   NOT NULL,
    page_token         text,
    high_water         text,
    pending_high_water text,
    version            bigint NOT NULL,
    updated_at         bigint NOT NULL,
    PRIMARY KEY (connector_id, stream)
);
