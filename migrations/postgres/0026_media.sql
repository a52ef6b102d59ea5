-- What a post holds beside its text: images, a title, a link; its revisions; and posts that answer
-- others. Times are milliseconds since 1970 (UTC). What older programs write is a post of nothing but
-- text, in its first revision.

-- An image. The same bytes are kept once for each tenant.
CREATE TABLE media (
    id        uuid    NOT NULL PRIMARY KEY,
    tenant_id uuid    NOT NULL DEFAULT coalesce(
        NULLIF(current_setting('postworks.tenant', true), '')::uuid,
        '00000000-0000-0000-0000-000000000001'),
    kind      text    NOT NULL CHECK (kind IN ('jpeg', 'png', 'gif', 'webp')),
    sha256    bytea   NOT NULL,
    bytes     bytea   NOT NULL,
    width     bigint  NOT NULL,
    height    bigint  NOT NULL,
    -- When it was last uploaded.
    added_at  bigint  NOT NULL,
    UNIQUE (tenant_id, sha256)
);
-- They are compressed already.
ALTER TABLE media ALTER COLUMN bytes SET STORAGE EXTERNAL;
-- For the cleanup.
CREATE INDEX media_added ON media (added_at);

ALTER TABLE posts
    -- Title, link and images: JSON; empty for a post of nothing but text.
    ADD COLUMN content    text,
    -- Grows with every change.
    ADD COLUMN revision   bigint NOT NULL DEFAULT 1,
    ADD COLUMN revised_at bigint;

-- Images that a post has, or had in an earlier revision: publications that are frozen keep theirs, so
-- none goes before the post does.
CREATE TABLE post_media (
    post_id  uuid NOT NULL REFERENCES posts (id) ON DELETE CASCADE,
    media_id uuid NOT NULL REFERENCES media (id),
    PRIMARY KEY (post_id, media_id)
);
CREATE INDEX post_media_of ON post_media (media_id);

ALTER TABLE publications
    -- With frozen_text: what else of the post is sent, and its revision.
    ADD COLUMN frozen_content  text,
    ADD COLUMN frozen_revision bigint,
    -- The platform's id of the post that this one answers, once that is known.
    ADD COLUMN reply_to        text,
    -- The publication that it answers. No reference: that may go earlier.
    ADD COLUMN in_reply_to     uuid;
CREATE INDEX publications_answers ON publications (in_reply_to) WHERE in_reply_to IS NOT NULL;

GRANT SELECT, INSERT, UPDATE ON media TO postworks_tenant;
GRANT SELECT, INSERT ON post_media TO postworks_tenant;
GRANT UPDATE ON posts TO postworks_tenant;
ALTER TABLE media ENABLE ROW LEVEL SECURITY;
ALTER TABLE media FORCE ROW LEVEL SECURITY;
ALTER TABLE post_media ENABLE ROW LEVEL SECURITY;
ALTER TABLE post_media FORCE ROW LEVEL SECURITY;
CREATE POLICY engine ON media TO postworks_engine USING (true) WITH CHECK (true);
CREATE POLICY engine ON post_media TO postworks_engine USING (true) WITH CHECK (true);
CREATE POLICY tenant ON media TO postworks_tenant
    USING (tenant_id = NULLIF(current_setting('postworks.tenant', true), '')::uuid)
    WITH CHECK (tenant_id = NULLIF(current_setting('postworks.tenant', true), '')::uuid);
-- Whose post and image it is, that they are.
CREATE POLICY tenant ON post_media TO postworks_tenant
    USING (EXISTS (SELECT 1 FROM posts WHERE posts.id = post_id)
        AND EXISTS (SELECT 1 FROM media WHERE media.id = media_id));
