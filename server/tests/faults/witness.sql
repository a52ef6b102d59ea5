-- Notes every committed change of a job's row, and which process made it: each has a user of its
-- own. It writes with its maker's rights, since those who act for a tenant may not.
CREATE TABLE witness (
    seq         bigserial PRIMARY KEY,
    at_ms       bigint  NOT NULL,
    app         text    NOT NULL,
    job         uuid    NOT NULL,
    old_state   text,
    state       text    NOT NULL,
    old_token   bigint,
    token       bigint,
    old_settled boolean,
    settled     boolean NOT NULL,
    old_failed  integer,
    failed      integer NOT NULL
);
CREATE FUNCTION witness() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO witness (at_ms, app, job, old_state, state, old_token, token, old_settled, settled,
                         old_failed, failed)
    VALUES ((extract(epoch FROM clock_timestamp()) * 1000)::bigint,
            session_user, NEW.id,
            CASE WHEN TG_OP = 'UPDATE' THEN OLD.state END, NEW.state,
            CASE WHEN TG_OP = 'UPDATE' THEN OLD.token END, NEW.token,
            CASE WHEN TG_OP = 'UPDATE' THEN OLD.settled END, NEW.settled,
            CASE WHEN TG_OP = 'UPDATE' THEN OLD.failed_attempts END, NEW.failed_attempts);
    RETURN NULL;
END
$$;
CREATE TRIGGER witness AFTER INSERT OR UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION witness();
