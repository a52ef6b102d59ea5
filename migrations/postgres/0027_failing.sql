-- Which streams of an account fail, and why, is for its tenant to see.
GRANT SELECT ON sync_cursors TO postworks_tenant;
ALTER TABLE sync_cursors ENABLE ROW LEVEL SECURITY;
ALTER TABLE sync_cursors FORCE ROW LEVEL SECURITY;
CREATE POLICY engine ON sync_cursors TO postworks_engine USING (true) WITH CHECK (true);
-- Whose the account is, that they are.
CREATE POLICY tenant ON sync_cursors TO postworks_tenant
    USING (EXISTS (SELECT 1 FROM connectors WHERE connectors.id = connector_id));
