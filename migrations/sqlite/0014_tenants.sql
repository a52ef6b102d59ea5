-- The embedded database has one tenant. These are the columns that both databases' statements name.
CREATE TABLE tenants (
    id         blob   NOT NULL PRIMARY KEY,
    name       text   NOT NULL UNIQUE,
    created_at bigint NOT NULL
);
INSERT INTO tenants (id, name, created_at)
    VALUES (x'00000000000000000000000000000001', 'default', 0);

ALTER TABLE jobs ADD COLUMN tenant_id blob NOT NULL DEFAULT x'00000000000000000000000000000001';
ALTER TABLE redrives ADD COLUMN tenant_id blob NOT NULL DEFAULT x'00000000000000000000000000000001';

DROP INDEX jobs_unique;
CREATE UNIQUE INDEX jobs_unique ON jobs (kind, unique_key, tenant_id)
    WHERE unique_key IS NOT NULL AND state IN ('open', 'parked');
