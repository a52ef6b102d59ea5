//! Posts: what may be published on any number of accounts.

use postworks::job::Timestamp;
use postworks::{on_db, on_tx};
use uuid::Uuid;

use super::media::attach;
use super::{Content, Error, Store, below, page_limit, time};

/// A post.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Post {
    /// Its id.
    pub id: Uuid,
    /// What it holds.
    pub content: Content,
    /// Grows with every change of it, from 1.
    pub revision: i64,
    /// When it was written.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub revised_at: Option<Timestamp>,
}

#[derive(sqlx::FromRow)]
pub(super) struct Row {
    id: Uuid,
    text: String,
    content: Option<String>,
    revision: i64,
    created_at: i64,
    revised_at: Option<i64>,
}

impl TryFrom<Row> for Post {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        Ok(Self {
            id: row.id,
            content: Content::read(row.text, row.content.as_deref())?,
            revision: row.revision,
            created_at: time(row.created_at),
            revised_at: row.revised_at.map(time),
        })
    }
}

impl Store {
    /// Keeps a post of nothing but a text.
    pub async fn add_post(&self, text: &str) -> Result<Uuid, Error> {
        self.add_content(&Content::of_text(text)).await
    }

    /// Keeps a post.
    ///
    /// # Errors
    /// [`Error::Fields`]: it says nothing, or has images that are not there.
    pub async fn add_content(&self, content: &Content) -> Result<Uuid, Error> {
        const SQL: &str = "INSERT INTO posts (id, text, content, created_at) \
             VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO NOTHING";
        if let Some(fault) = content.fault() {
            return Err(Error::Fields(vec![fault]));
        }
        let (id, more) = (self.new_id(), content.more()?);
        let mut tx = self.db.begin().await?;
        on_tx!(&mut tx, conn => sqlx::query(SQL)
            .bind(id)
            .bind(&content.text)
            .bind(more)
            .bind(self.now().as_millis())
            .execute(conn)
            .await
            .map(drop))?;
        attach(&mut tx, id, &content.images).await?;
        tx.commit().await?;
        Ok(id)
    }

    /// Whether there is such a post.
    pub async fn has_post(&self, id: Uuid) -> Result<bool, Error> {
        const SQL: &str = "SELECT COUNT(*) FROM posts WHERE id = $1";
        let count: i64 = on_db!(&self.db, pool => {
            sqlx::query_scalar(SQL).bind(id).fetch_one(pool).await
        })?;
        Ok(count > 0)
    }

    /// Posts, newest first; those older than `before`, the last one of the page before.
    pub async fn posts(&self, before: Option<Uuid>, limit: u32) -> Result<Vec<Post>, Error> {
        const SQL: &str = "SELECT id, text, content, revision, created_at, revised_at FROM posts \
             WHERE id < $1 ORDER BY id DESC LIMIT $2";
        let rows: Vec<Row> = on_db!(&self.db, pool => {
            sqlx::query_as(SQL).bind(below(before)).bind(page_limit(limit)).fetch_all(pool).await
        })?;
        rows.into_iter().map(Post::try_from).collect()
    }
}
