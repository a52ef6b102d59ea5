-- What platforms need beside a text. As in ../postgres.

-- Where on the account posts go, such as a room, on platforms where that is to be said.
ALTER TABLE connectors ADD COLUMN target text;
-- When it was last signed in: on some platforms a key of an earlier sign-in is not recognised.
ALTER TABLE connectors ADD COLUMN signed_in_at bigint;
-- What the platform holds ready for the post: uploads, a draft, a container. JSON, for its client.
ALTER TABLE publications ADD COLUMN prepared text;
-- Where posts of an account that is being connected are to go, if its owner chose.
ALTER TABLE oauth_states ADD COLUMN target text;
