-- What synchronising and cleaning up remember. Times are milliseconds since 1970 (UTC).

-- Each stream of an account (its posts, their numbers, its profile) has a row.
ALTER TABLE sync_cursors
    -- The newest time that the walk came upon which the high water is of, and the one under way.
    ADD COLUMN high_water_at         bigint,
    ADD COLUMN pending_high_water_at bigint,
    -- The pending high water of the walk that has come past the high water: it reads on for what is
    -- late or was edited.
    ADD COLUMN met                   text,
    -- Not before this, unless somebody asks for the stream by its name.
    ADD COLUMN due_at                bigint,
    -- The job that last came to the stream's end: another run of it leaves the stream alone.
    ADD COLUMN done_by               uuid,
    -- Failures since the stream last came on, and the last one.
    ADD COLUMN failures              bigint NOT NULL DEFAULT 0,
    ADD COLUMN failed_at             bigint,
    ADD COLUMN last_error            text;

-- The newest numbers of a post, and when they are to be read again: never, once it is old.
ALTER TABLE remote_posts
    ADD COLUMN metrics_due_at bigint,
    ADD COLUMN metrics_at     bigint,
    ADD COLUMN likes          bigint,
    ADD COLUMN reposts        bigint,
    ADD COLUMN replies        bigint,
    ADD COLUMN views          bigint;
CREATE INDEX remote_posts_metrics_due ON remote_posts (connector_id, metrics_due_at)
    WHERE metrics_due_at IS NOT NULL;

-- What an account says of itself.
CREATE TABLE remote_profiles (
    connector_id uuid   NOT NULL PRIMARY KEY REFERENCES connectors (id) ON DELETE CASCADE,
    display_name text,
    description  text,
    followers    bigint,
    seen_at      bigint NOT NULL
);

-- Every reading of a post's numbers, a partition a month. No reference to accounts: to drop a partition
-- would lock them.
CREATE TABLE post_metrics (
    tenant_id    uuid   NOT NULL,
    connector_id uuid   NOT NULL,
    remote_id    text   NOT NULL,
    read_at      bigint NOT NULL,
    likes        bigint,
    reposts      bigint,
    replies      bigint,
    views        bigint,
    PRIMARY KEY (connector_id, remote_id, read_at)
) PARTITION BY RANGE (read_at);
-- For the cleanup.
CREATE INDEX post_metrics_read ON post_metrics (read_at);

-- Makes the partition of the month that holds a time, and those of so many months after it, where they
-- are missing; answers how many it made. With the rights of the tables' owner, so that who may not
-- change tables can call it.
CREATE FUNCTION postworks_metrics_months(at_ms bigint, ahead integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    acting text := 'NULLIF(current_setting(''postworks.tenant'', true), '''')::uuid';
    first timestamp := date_trunc('month', to_timestamp(at_ms / 1000.0) AT TIME ZONE 'UTC');
    month timestamp;
    part name;
    made integer := 0;
BEGIN
    IF first < '2000-01-01' OR first >= '2200-01-01' OR ahead NOT BETWEEN 0 AND 24 THEN
        RAISE EXCEPTION 'no month for post_metrics: % and % after it', at_ms, ahead
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    FOR n IN 0..ahead LOOP
        month := first + n * interval '1 month';
        part := 'post_metrics_' || to_char(month, '"y"YYYY"m"MM');
        CONTINUE WHEN to_regclass(part::text) IS NOT NULL;
        -- Of two at once the second waits, and finds it made.
        LOCK TABLE ONLY post_metrics IN SHARE UPDATE EXCLUSIVE MODE;
        CONTINUE WHEN to_regclass(part::text) IS NOT NULL;
        -- Made aside and attached: readers and writers of the other months go on.
        EXECUTE format('CREATE TABLE %I (LIKE post_metrics INCLUDING INDEXES)', part);
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', part);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', part);
        EXECUTE format('CREATE POLICY engine ON %I TO postworks_engine '
            'USING (true) WITH CHECK (true)', part);
        EXECUTE format('CREATE POLICY tenant ON %I TO postworks_tenant '
            'USING (tenant_id = %s)', part, acting);
        EXECUTE format('ALTER TABLE post_metrics ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)',
            part,
            (extract(epoch FROM month AT TIME ZONE 'UTC') * 1000)::bigint,
            (extract(epoch FROM (month + interval '1 month') AT TIME ZONE 'UTC') * 1000)::bigint);
        made := made + 1;
    END LOOP;
    RETURN made;
END $$;

-- Drops the partition of the month that holds a time; answers whether there was one.
CREATE FUNCTION postworks_drop_metrics_month(at_ms bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    part name := 'post_metrics_' || to_char(to_timestamp(at_ms / 1000.0) AT TIME ZONE 'UTC',
        '"y"YYYY"m"MM');
BEGIN
    LOCK TABLE ONLY post_metrics IN SHARE UPDATE EXCLUSIVE MODE;
    IF to_regclass(part::text) IS NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('DROP TABLE %I', part);
    RETURN true;
END $$;

-- What runs with the owner's rights looks nowhere else, and is for the engine alone.
DO $$
DECLARE
    one text;
BEGIN
    FOREACH one IN ARRAY ARRAY['postworks_metrics_months(bigint, integer)',
                               'postworks_drop_metrics_month(bigint)'] LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = %I, pg_temp', one, current_schema());
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', one);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO postworks_engine', one);
    END LOOP;
END $$;

DO $$
DECLARE
    acting text := 'NULLIF(current_setting(''postworks.tenant'', true), '''')::uuid';
    one record;
BEGIN
    FOR one IN SELECT * FROM (VALUES
        ('post_metrics', 'SELECT', NULL, NULL),
        ('remote_profiles', 'SELECT', 'connectors', 'connector_id')
    ) AS rows_of (name, rights, parent, link) LOOP
        EXECUTE format('GRANT %s ON %I TO postworks_tenant', one.rights, one.name);
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', one.name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', one.name);
        EXECUTE format('CREATE POLICY engine ON %I TO postworks_engine '
            'USING (true) WITH CHECK (true)', one.name);
        IF one.parent IS NULL THEN
            EXECUTE format('CREATE POLICY tenant ON %I TO postworks_tenant '
                'USING (tenant_id = %s) WITH CHECK (tenant_id = %s)', one.name, acting, acting);
        ELSE
            EXECUTE format('CREATE POLICY tenant ON %I TO postworks_tenant '
                'USING (EXISTS (SELECT 1 FROM %I WHERE %I.id = %I))',
                one.name, one.parent, one.parent, one.link);
        END IF;
    END LOOP;
END $$;

SELECT postworks_metrics_months((extract(epoch FROM now()) * 1000)::bigint, 2);

-- How long a tenant keeps what is its own, where that differs from the configuration.
CREATE TABLE tenant_retention (
    tenant_id uuid   NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    -- As in the arguments of data_cleanup.
    scope     text   NOT NULL,
    keep_ms   bigint NOT NULL CHECK (keep_ms > 0),
    PRIMARY KEY (tenant_id, scope)
);

-- What a cleanup has deleted so far, or would delete: a row for each scope, of nobody's id, and one for
-- each tenant of whose rows some went. It is written by the transaction that deletes a tenant's rows.
CREATE TABLE cleanup_progress (
    job_id     uuid    NOT NULL,
    scope      text    NOT NULL,
    tenant_id  uuid    NOT NULL,
    gone       bigint  NOT NULL,
    partitions bigint  NOT NULL,
    done       boolean NOT NULL,
    updated_at bigint  NOT NULL,
    PRIMARY KEY (job_id, scope, tenant_id)
);
CREATE INDEX cleanup_progress_updated ON cleanup_progress (updated_at);

DO $$
DECLARE
    acting text := 'NULLIF(current_setting(''postworks.tenant'', true), '''')::uuid';
    one text;
BEGIN
    FOREACH one IN ARRAY ARRAY['tenant_retention', 'cleanup_progress'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', one);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', one);
        EXECUTE format('CREATE POLICY engine ON %I TO postworks_engine '
            'USING (true) WITH CHECK (true)', one);
    END LOOP;
    GRANT SELECT, INSERT, UPDATE, DELETE ON tenant_retention TO postworks_tenant;
    EXECUTE format('CREATE POLICY tenant ON tenant_retention TO postworks_tenant '
        'USING (tenant_id = %s) WITH CHECK (tenant_id = %s)', acting, acting);
    -- Whose the job is, that they are.
    GRANT SELECT ON cleanup_progress TO postworks_tenant;
    CREATE POLICY tenant ON cleanup_progress TO postworks_tenant
        USING (EXISTS (SELECT 1 FROM jobs WHERE jobs.id = job_id));
END $$;

-- A schedule that the program makes by itself: it can be paused, and not removed.
ALTER TABLE schedules ADD COLUMN built_in boolean NOT NULL DEFAULT false;

-- When an account is to be synchronised next; empty until somebody has planned it.
ALTER TABLE connectors ADD COLUMN sync_due_at bigint;
CREATE INDEX connectors_sync_due ON connectors (sync_due_at)
    WHERE sync_due_at IS NOT NULL AND state = 'active';
CREATE INDEX connectors_unplanned ON connectors (id)
    WHERE sync_due_at IS NULL AND state = 'active';
