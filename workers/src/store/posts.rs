//! Posts: texts that may be published on any number of accounts.

use postworks::job::Timestamp;
use postworks::{on_db, on_tx};
use serde::Serialize;
use uuid::Uuid;

use super::{Error, Store, below, page_limit, time};

/// A post.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Post {
    /// Its id.
    pub id: Uuid,
    /// The text.
    pub text: String,
    /// When it was written.
    pub created_at: Timestamp,
}

impl Store {
    /// Keeps a post. Texts with U+0000 are refused, since PostgreSQL cannot hold them.
    pub async fn add_post(&self, text: &str) -> Result<Uuid, Error> {
        const SQL: &str = "INSERT INTO posts (id, text, created_at) VALUES ($1, $2, $3) \
             ON CONFLICT (id) DO NOTHING";
        if text.contains('\0') {
            return Err(Error::field("/text", "must not hold the character U+0000"));
        }
        let id = self.new_id();
        let mut tx = self.db.begin().await?;
        on_tx!(&mut tx, conn => sqlx::query(SQL)
            .bind(id)
            .bind(text)
            .bind(self.now().as_millis())
            .execute(conn)
            .await
            .map(drop))?;
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
        const SQL: &str = "SELECT id, text, created_at FROM posts WHERE id < $1 \
             ORDER BY id DESC LIMIT $2";
        let rows: Vec<(Uuid, String, i64)> = on_db!(&self.db, pool => {
            sqlx::query_as(SQL).bind(below(before)).bind(page_limit(limit)).fetch_all(pool).await
        })?;
        let post = |(id, text, created_at)| Post { id, text, created_at: time(created_at) };
        Ok(rows.into_iter().map(post).collect())
    }
}
