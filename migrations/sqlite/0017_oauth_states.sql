-- Accounts that are about to be connected over OAuth: what an answer from the platform must fit to.
-- Rows of ten minutes, taken by the answer. As in ../postgres.
CREATE TABLE oauth_states (
    -- SHA-256 of the state that the platform gives back.
    state_hash   blob   NOT NULL PRIMARY KEY,
    tenant_id    blob   NOT NULL DEFAULT x'00000000000000000000000000000001',
    -- Who asked, as the audit names them.
    actor        text   NOT NULL,
    -- SHA-256 of the cookie that the browser got.
    cookie_hash  blob   NOT NULL,
    platform     text   NOT NULL,
    base_url     text   NOT NULL,
    -- What proves to the platform that the code is asked for by who asked it (PKCE); sealed.
    verifier_ct  blob   NOT NULL,
    -- Where the platform sends the browser back to.
    redirect_uri text   NOT NULL,
    -- The account that is connected again; null for a new one.
    connector_id blob,
    -- Why, in words of who asked.
    why          text,
    expires_at   bigint NOT NULL
) WITHOUT ROWID;
-- For who cleans up, and for who counts those of an actor.
CREATE INDEX oauth_states_expires_at ON oauth_states (expires_at);
CREATE INDEX oauth_states_actor ON oauth_states (tenant_id, actor, expires_at);
