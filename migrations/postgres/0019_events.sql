-- What happened to accounts, for whoever wants to be told; accounts that are disconnected; jobs that
-- wait for a person. Times are milliseconds since 1970 (UTC).

-- (Jobs before accounts: whoever reads both takes them in this order.)
-- Until when a job that waits for a person is of use at least; empty once one was here.
ALTER TABLE jobs ADD COLUMN kept_until bigint;

-- A row for each change of an account that others may act on, written by the transaction that makes
-- it. A tenant's ids ascend in the order of these commits, so that who reads on from the last one he
-- has misses nothing.
CREATE TABLE events (
    id        uuid   NOT NULL PRIMARY KEY,
    tenant_id uuid   NOT NULL,
    -- What happened, as in `connector.needs_reauth`.
    type      text   NOT NULL,
    -- The id of what it happened to.
    subject   uuid   NOT NULL,
    at        bigint NOT NULL,
    -- What else there is to know: JSON.
    detail    text   NOT NULL
);
CREATE INDEX events_tenant ON events (tenant_id, id);
CREATE INDEX events_at ON events (at);

GRANT SELECT, INSERT ON events TO postworks_tenant;
ALTER TABLE events ENABLE ROW LEVEL SECURITY;
ALTER TABLE events FORCE ROW LEVEL SECURITY;
CREATE POLICY engine ON events TO postworks_engine USING (true) WITH CHECK (true);
CREATE POLICY tenant ON events TO postworks_tenant
    USING (tenant_id = NULLIF(current_setting('postworks.tenant', true), '')::uuid)
    WITH CHECK (tenant_id = NULLIF(current_setting('postworks.tenant', true), '')::uuid);

-- Set once a person disconnected the account: its tokens are gone, its rows go in batches. Its state
-- says `needs_reauth` as well, so that nothing that does not know the column uses it; and its
-- identifier ends with `#` and its id, so that the account can be connected anew meanwhile.
ALTER TABLE connectors ADD COLUMN disconnected_at bigint;
CREATE INDEX connectors_disconnected ON connectors (id) WHERE disconnected_at IS NOT NULL;
-- Whoever disconnects an account destroys its tokens.
GRANT DELETE ON connector_tokens TO postworks_tenant;
