-- Whose rows are whose. A transaction that acts for a tenant runs as the role postworks_tenant, which
-- sees that tenant's rows and no others; a session of the engine sees all.
--
-- Columns come with a constant, so that no row is rewritten. The unique index on jobs is built
-- anew: enqueues wait while the table is read once.

-- Roles belong to the whole server: another database's migration may make them at the same moment.
DO $$
DECLARE
    who name;
    words text := format(
        'the login %s may not set up the roles of tenants; let an administrator run: CREATE ROLE '
        'postworks_tenant; CREATE ROLE postworks_engine; GRANT postworks_tenant, postworks_engine '
        'TO %I;', current_user, current_user);
BEGIN
    FOREACH who IN ARRAY ARRAY['postworks_tenant', 'postworks_engine'] LOOP
        IF to_regrole(who::text) IS NULL THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', who);
            EXCEPTION
                WHEN duplicate_object OR unique_violation THEN NULL;
                WHEN insufficient_privilege THEN
                    RAISE EXCEPTION '%', words USING ERRCODE = 'insufficient_privilege';
            END;
        END IF;
        IF NOT pg_has_role(current_user, who, 'USAGE') THEN
            BEGIN
                EXECUTE format('GRANT %I TO %I', who, current_user);
            EXCEPTION
                WHEN unique_violation THEN NULL;
                WHEN insufficient_privilege OR invalid_grant_operation THEN
                    RAISE EXCEPTION '%', words USING ERRCODE = 'insufficient_privilege';
            END;
        END IF;
    END LOOP;
    IF EXISTS (SELECT 1 FROM pg_roles
               WHERE rolname = 'postworks_tenant' AND (rolsuper OR rolbypassrls)) THEN
        RAISE EXCEPTION 'the role postworks_tenant would see every tenant''s rows; let an '
            'administrator run: ALTER ROLE postworks_tenant NOSUPERUSER NOBYPASSRLS;'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
END $$;

CREATE TABLE tenants (
    id         uuid   NOT NULL PRIMARY KEY,
    name       text   NOT NULL UNIQUE,
    created_at bigint NOT NULL
);
INSERT INTO tenants (id, name, created_at)
    VALUES ('00000000-0000-0000-0000-000000000001', 'default', 0);
ALTER TABLE users ADD FOREIGN KEY (tenant) REFERENCES tenants (id);
ALTER TABLE api_keys ADD FOREIGN KEY (tenant) REFERENCES tenants (id);

ALTER TABLE jobs
    ADD COLUMN tenant_id uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000001';
ALTER TABLE dead_letters
    ADD COLUMN tenant_id uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000001';
ALTER TABLE redrives
    ADD COLUMN tenant_id uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000001';
ALTER TABLE audit
    ADD COLUMN tenant_id uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000001';
ALTER TABLE connectors
    ADD COLUMN tenant_id uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000001';
ALTER TABLE posts
    ADD COLUMN tenant_id uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000001';
ALTER TABLE publications
    ADD COLUMN tenant_id uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000001';
ALTER TABLE requests
    ADD COLUMN tenant_id uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000001';

-- The tenant stands last, so that who looks for a key of any tenant is served as well.
CREATE UNIQUE INDEX jobs_unique_of_tenant ON jobs (kind, unique_key, tenant_id)
    WHERE unique_key IS NOT NULL AND state IN ('open', 'parked');
DROP INDEX jobs_unique;
ALTER INDEX jobs_unique_of_tenant RENAME TO jobs_unique;
-- An installation of one tenant pays nothing for it.
CREATE INDEX jobs_tenant ON jobs (tenant_id, id)
    WHERE tenant_id <> '00000000-0000-0000-0000-000000000001';
CREATE INDEX dead_letters_tenant ON dead_letters (tenant_id, job_id);
CREATE INDEX audit_tenant ON audit (tenant_id, id);
CREATE INDEX posts_tenant ON posts (tenant_id, id);
ALTER TABLE connectors
    DROP CONSTRAINT connectors_platform_base_url_identifier_key,
    ADD UNIQUE (tenant_id, platform, base_url, identifier);

-- What may be done for a tenant, and on which rows. A later table that holds tenants' rows needs the
-- same: without a grant the role cannot touch it, and a test looks that no grant is without policies.
DO $$
DECLARE
    -- `''` is what a transaction leaves behind where nothing was set before.
    acting text := 'NULLIF(current_setting(''postworks.tenant'', true), '''')::uuid';
    house text := '''00000000-0000-0000-0000-000000000001''';
    one record;
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO postworks_tenant', current_schema());
    FOR one IN SELECT * FROM (VALUES
        ('jobs', 'SELECT, INSERT, UPDATE', NULL, NULL),
        ('dead_letters', 'SELECT, DELETE', NULL, NULL),
        ('redrives', 'SELECT, INSERT, UPDATE', NULL, NULL),
        ('audit', 'SELECT, INSERT, UPDATE', NULL, NULL),
        ('connectors', 'SELECT, INSERT, UPDATE', NULL, NULL),
        ('posts', 'SELECT, INSERT', NULL, NULL),
        ('publications', 'SELECT, INSERT, UPDATE', NULL, NULL),
        ('requests', 'SELECT, INSERT, UPDATE, DELETE', NULL, NULL),
        -- Whose the job or the account is, that they are.
        ('attempts', 'SELECT', 'jobs', 'job_id'),
        ('redriven', 'SELECT, INSERT', 'jobs', 'job_id'),
        ('connector_tokens', 'SELECT, INSERT, UPDATE', 'connectors', 'connector_id')
    ) AS rows_of (name, rights, parent, link) LOOP
        EXECUTE format('GRANT %s ON %I TO postworks_tenant', one.rights, one.name);
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', one.name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', one.name);
        EXECUTE format('CREATE POLICY engine ON %I TO postworks_engine '
            'USING (true) WITH CHECK (true)', one.name);
        IF one.parent IS NULL THEN
            EXECUTE format('CREATE POLICY tenant ON %I TO postworks_tenant '
                'USING (tenant_id = %s) WITH CHECK (tenant_id = %s)', one.name, acting, acting);
            -- A job says itself whose it is.
            IF one.name NOT IN ('jobs', 'dead_letters') THEN
                EXECUTE format('ALTER TABLE %I ALTER COLUMN tenant_id '
                    'SET DEFAULT coalesce(%s, %s)', one.name, acting, house);
            END IF;
        ELSE
            EXECUTE format('CREATE POLICY tenant ON %I TO postworks_tenant '
                'USING (EXISTS (SELECT 1 FROM %I WHERE %I.id = %I))',
                one.name, one.parent, one.parent, one.link);
        END IF;
    END LOOP;
END $$;
