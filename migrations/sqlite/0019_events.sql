-- What happened to accounts, for whoever wants to be told; accounts that are disconnected; jobs that
-- wait for a person: as in ../postgres, for one tenant.
CREATE TABLE events (
    id      blob   NOT NULL PRIMARY KEY,
    -- What happened, as in `connector.needs_reauth`.
    type    text   NOT NULL,
    -- The id of what it happened to.
    subject blob   NOT NULL,
    at      bigint NOT NULL,
    -- What else there is to know: JSON.
    detail  text   NOT NULL
) WITHOUT ROWID;
CREATE INDEX events_at ON events (at);

ALTER TABLE connectors ADD COLUMN disconnected_at bigint;
CREATE INDEX connectors_disconnected ON connectors (id) WHERE disconnected_at IS NOT NULL;

ALTER TABLE jobs ADD COLUMN kept_until bigint;
