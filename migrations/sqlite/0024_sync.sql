-- What synchronising and cleaning up remember, as in ../postgres, for one tenant and without
-- partitions. Times are milliseconds since 1970 (UTC).

ALTER TABLE sync_cursors ADD COLUMN high_water_at bigint;
ALTER TABLE sync_cursors ADD COLUMN pending_high_water_at bigint;
ALTER TABLE sync_cursors ADD COLUMN met text;
ALTER TABLE sync_cursors ADD COLUMN due_at bigint;
ALTER TABLE sync_cursors ADD COLUMN done_by blob;
ALTER TABLE sync_cursors ADD COLUMN failures bigint NOT NULL DEFAULT 0;
ALTER TABLE sync_cursors ADD COLUMN failed_at bigint;
ALTER TABLE sync_cursors ADD COLUMN last_error text;

ALTER TABLE remote_posts ADD COLUMN metrics_due_at bigint;
ALTER TABLE remote_posts ADD COLUMN metrics_at bigint;
ALTER TABLE remote_posts ADD COLUMN likes bigint;
ALTER TABLE remote_posts ADD COLUMN reposts bigint;
ALTER TABLE remote_posts ADD COLUMN replies bigint;
ALTER TABLE remote_posts ADD COLUMN views bigint;
CREATE INDEX remote_posts_metrics_due ON remote_posts (connector_id, metrics_due_at)
    WHERE metrics_due_at IS NOT NULL;

CREATE TABLE remote_profiles (
    connector_id blob   NOT NULL PRIMARY KEY REFERENCES connectors (id) ON DELETE CASCADE,
    display_name text,
    description  text,
    followers    bigint,
    seen_at      bigint NOT NULL
) WITHOUT ROWID;

CREATE TABLE post_metrics (
    connector_id blob   NOT NULL,
    remote_id    text   NOT NULL,
    read_at      bigint NOT NULL,
    likes        bigint,
    reposts      bigint,
    replies      bigint,
    views        bigint,
    PRIMARY KEY (connector_id, remote_id, read_at)
) WITHOUT ROWID;
CREATE INDEX post_metrics_read ON post_metrics (read_at);

-- How long the tenant keeps what is its own, where that differs from the configuration.
CREATE TABLE tenant_retention (
    tenant_id blob   NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    -- As in the arguments of data_cleanup.
    scope     text   NOT NULL,
    keep_ms   bigint NOT NULL CHECK (keep_ms > 0),
    PRIMARY KEY (tenant_id, scope)
) WITHOUT ROWID;

-- What a cleanup has deleted so far, or would delete.
CREATE TABLE cleanup_progress (
    job_id     blob    NOT NULL,
    scope      text    NOT NULL,
    tenant_id  blob    NOT NULL,
    gone       bigint  NOT NULL,
    partitions bigint  NOT NULL,
    done       boolean NOT NULL,
    updated_at bigint  NOT NULL,
    PRIMARY KEY (job_id, scope, tenant_id)
) WITHOUT ROWID;
CREATE INDEX cleanup_progress_updated ON cleanup_progress (updated_at);

-- A schedule that the program makes by itself: it can be paused, and not removed.
ALTER TABLE schedules ADD COLUMN built_in boolean NOT NULL DEFAULT false;

-- When an account is to be synchronised next; empty until somebody has planned it.
ALTER TABLE connectors ADD COLUMN sync_due_at bigint;
CREATE INDEX connectors_sync_due ON connectors (sync_due_at)
    WHERE sync_due_at IS NOT NULL AND state = 'active';
CREATE INDEX connectors_unplanned ON connectors (id)
    WHERE sync_due_at IS NULL AND state = 'active';
