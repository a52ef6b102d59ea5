-- Who did what by hand, and why: a row for every operator action.
CREATE TABLE audit (
    id      uuid   NOT NULL PRIMARY KEY,
    at      bigint NOT NULL,
    -- `cli:user@host`, or `api`.
    actor   text   NOT NULL,
    -- What was done, as in `job.cancel`.
    action  text   NOT NULL,
    -- To what: an id, a filter or a name.
    subject text   NOT NULL,
    -- What else there is to know: JSON, or words.
    detail  text,
    -- The operator's own words.
    why     text,
    -- How many things it changed. Grows while an action of several steps goes on.
    count   bigint NOT NULL
);
CREATE INDEX audit_at ON audit (at);
