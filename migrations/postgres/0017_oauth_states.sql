-- Accounts that are about to be connected over OAuth: what an answer from the platform must fit to.
-- Rows of ten minutes, taken by the answer. Times are milliseconds since 1970 (UTC).
CREATE TABLE oauth_states (
    -- SHA-256 of the state that the platform gives back.
    state_hash   bytea  NOT NULL PRIMARY KEY,
    tenant_id    uuid   NOT NULL DEFAULT '00000000-0000-0000-0000-000000000001',
    -- Who asked, as the audit names them.
    actor        text   NOT NULL,
    -- SHA-256 of the cookie that the browser got.
    cookie_hash  bytea  NOT NULL,
    platform     text   NOT NULL,
    base_url     text   NOT NULL,
    -- What proves to the platform that the code is asked for by who asked it (PKCE); sealed.
    verifier_ct  bytea  NOT NULL,
    -- Where the platform sends the browser back to.
    redirect_uri text   NOT NULL,
    -- The account that is connected again; null for a new one.
    connector_id uuid,
    -- Why, in words of who asked.
    why          text,
    expires_at   bigint NOT NULL
);
-- For who cleans up, and for who counts those of an actor.
CREATE INDEX oauth_states_expires_at ON oauth_states (expires_at);
CREATE INDEX oauth_states_actor ON oauth_states (tenant_id, actor, expires_at);

DO $$
DECLARE
    acting text := 'NULLIF(current_setting(''postworks.tenant'', true), '''')::uuid';
    house text := '''00000000-0000-0000-0000-000000000001''';
BEGIN
    GRANT SELECT, INSERT, DELETE ON oauth_states TO postworks_tenant;
    ALTER TABLE oauth_states ENABLE ROW LEVEL SECURITY;
    ALTER TABLE oauth_states FORCE ROW LEVEL SECURITY;
    CREATE POLICY engine ON oauth_states TO postworks_engine USING (true) WITH CHECK (true);
    EXECUTE format('CREATE POLICY tenant ON oauth_states TO postworks_tenant '
        'USING (tenant_id = %s) WITH CHECK (tenant_id = %s)', acting, acting);
    EXECUTE format('ALTER TABLE oauth_states ALTER COLUMN tenant_id '
        'SET DEFAULT coalesce(%s, %s)', acting, house);
END $$;
