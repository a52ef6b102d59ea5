//! What a publication sends is fixed at its first attempt: the same at every later one, whatever
//! becomes of the post.

use std::sync::Arc;

use postworks::job::Timestamp;
use postworks::ledger::Tx;
use postworks::on_tx;
use url::Url;
use uuid::Uuid;

use super::{Content, Error, Store, time};
use crate::platforms::{Originals, Outgoing};

/// What is sent, the same at every attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frozen {
    /// What the post held then.
    pub content: Content,
    /// Which of the post's revisions that was.
    pub revision: i64,
    /// The platform's id of the post that it answers.
    pub reply_to: Option<String>,
    /// That it answers a publication whose post the platform does not have, as far as is known:
    /// without it, it must not be sent.
    pub unanswerable: Option<Uuid>,
    /// The time the post shows.
    pub at: Timestamp,
}

#[derive(sqlx::FromRow)]
struct Row {
    frozen_text: String,
    frozen_content: Option<String>,
    frozen_revision: i64,
    frozen_at: i64,
    reply_to: Option<String>,
    in_reply_to: Option<Uuid>,
}

/// The post is held while it is read: whoever changes it either comes first, and is seen here, or
/// comes after, and sees what is frozen.
macro_rules! freeze {
    ($hold:literal) => {
        concat!(
            "WITH post AS (SELECT text, content, revision FROM posts \
                 WHERE id = (SELECT post_id FROM publications WHERE id = $1)",
            $hold,
            ") UPDATE publications SET frozen_at = COALESCE(frozen_at, $2), \
             frozen_content = CASE WHEN frozen_text IS NULL THEN post.content \
                 ELSE frozen_content END, \
             frozen_revision = CASE WHEN frozen_text IS NULL THEN post.revision \
                 ELSE COALESCE(frozen_revision, 1) END, \
             frozen_text = COALESCE(frozen_text, post.text), \
             reply_to = COALESCE(reply_to, (SELECT answered.remote_id FROM publications answered \
                 WHERE answered.id = publications.in_reply_to AND answered.state = 'published')) \
             FROM post WHERE publications.id = $1 \
             RETURNING frozen_text, frozen_content, frozen_revision, frozen_at, reply_to, \
                 in_reply_to"
        )
    };
}

impl Store {
    /// Fixes what is sent, at the first call; answers the same at every later one. What a publication
    /// answers is fixed once that is on the platform.
    pub async fn freeze(&self, id: Uuid) -> Result<Frozen, Error> {
        let mut tx = self.db.begin().await?;
        let sql = match &tx {
            Tx::Postgres(_) => freeze!(" FOR SHARE"),
            Tx::Sqlite(_) => freeze!(""),
        };
        let row: Row = on_tx!(&mut tx, conn => sqlx::query_as(sql)
            .bind(id)
            .bind(self.now().as_millis())
            .fetch_one(conn)
            .await)?;
        tx.commit().await?;
        Ok(Frozen {
            content: Content::read(row.frozen_text, row.frozen_content.as_deref())?,
            revision: row.frozen_revision,
            unanswerable: row.in_reply_to.filter(|_| row.reply_to.is_none()),
            reply_to: row.reply_to,
            at: time(row.frozen_at),
        })
    }

    /// What is frozen as the platform gets it: with its images, and where the platform finds these if
    /// this instance is found at `public`.
    pub async fn outgoing(
        &self,
        publication_id: Uuid,
        frozen: Frozen,
        public: Option<&Url>,
        keeper: &Arc<dyn Originals>,
    ) -> Result<Outgoing, Error> {
        let Content { text, title, link, images } = frozen.content;
        Ok(Outgoing {
            publication_id,
            text,
            title,
            link,
            images: self.images(&images, public, keeper).await?,
            reply_to: frozen.reply_to,
            created_at: frozen.at,
        })
    }
}
