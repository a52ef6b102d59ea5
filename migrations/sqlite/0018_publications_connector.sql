-- An account's publications, for whoever disconnects it.
CREATE INDEX publications_connector ON publications (connector_id, id);
