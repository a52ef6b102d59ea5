-- What a post holds beside its text: images, a title, a link; its revisions; and posts that answer
-- others. As in ../postgres. Times are milliseconds since 1970 (UTC).

-- An image. The same bytes are kept once.
CREATE TABLE media (
    id        blob   NOT NULL PRIMARY KEY,
    tenant_id blob   NOT NULL DEFAULT x'00000000000000000000000000000001',
    kind      text   NOT NULL CHECK (kind IN ('jpeg', 'png', 'gif', 'webp')),
    sha256    blob   NOT NULL,
    width     bigint NOT NULL,
    height    bigint NOT NULL,
    -- When it was last uploaded.
    added_at  bigint NOT NULL,
    -- Last, so that the others are read without it.
    bytes     blob   NOT NULL,
    UNIQUE (tenant_id, sha256)
);
CREATE INDEX media_added ON media (added_at);

-- Title, link and images: JSON; empty for a post of nothing but text.
ALTER TABLE posts ADD COLUMN content    text;
-- Grows with every change.
ALTER TABLE posts ADD COLUMN revision   bigint NOT NULL DEFAULT 1;
ALTER TABLE posts ADD COLUMN revised_at bigint;

-- Images that a post has, or had in an earlier revision.
CREATE TABLE post_media (
    post_id  blob NOT NULL REFERENCES posts (id) ON DELETE CASCADE,
    media_id blob NOT NULL REFERENCES media (id),
    PRIMARY KEY (post_id, media_id)
) WITHOUT ROWID;
CREATE INDEX post_media_of ON post_media (media_id);

-- With frozen_text: what else of the post is sent, and its revision.
ALTER TABLE publications ADD COLUMN frozen_content  text;
ALTER TABLE publications ADD COLUMN frozen_revision bigint;
-- The platform's id of the post that this one answers, once that is known.
ALTER TABLE publications ADD COLUMN reply_to        text;
-- The publication that it answers. No reference: that may go earlier.
ALTER TABLE publications ADD COLUMN in_reply_to     blob;
CREATE INDEX publications_answers ON publications (in_reply_to) WHERE in_reply_to IS NOT NULL;
