-- An account's publications, for whoever disconnects it.
--
-- By itself, since it takes long where there are many: meanwhile publications are read, and wait to be
-- written, and nothing else waits. Jobs that publish try again by themselves.
CREATE INDEX publications_connector ON publications (connector_id, id);
