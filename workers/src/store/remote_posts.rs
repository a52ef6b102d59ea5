//! Posts found on the platforms.

use std::collections::HashSet;

use postworks::job::{SyncStream, Timestamp};
use postworks::ledger::Tx;
use postworks::{on_db, on_tx};
use uuid::Uuid;

use super::cadence::first_reading;
use super::{Cursor, Error, Store};
use crate::platforms::RemotePost;

/// Rows in one INSERT: six values each, and SQLite takes 32,766 in a statement.
const ROWS_MAX: usize = 500;
/// A row that is as it was found is written again only after this, in milliseconds: it says when the
/// post was last seen, for the cleanup.
const SEEN_AGAIN_MS: i64 = 24 * 3_600_000;

impl Store {
    /// Keeps a page's posts and where the walk goes on. `next.version` is the version the walk
    /// read; `false`: another walk has moved on since, and nothing was changed. `follow` the posts'
    /// numbers, where the platform tells them.
    pub async fn keep_page(
        &self,
        connector_id: Uuid,
        posts: &[RemotePost],
        follow: bool,
        next: &Cursor,
    ) -> Result<bool, Error> {
        let mut tx = self.db.begin().await?;
        if !self.move_on(&mut tx, connector_id, SyncStream::Posts, next).await? {
            return Ok(false);
        }
        // A statement must not touch a row twice, and a platform may list a post twice.
        let mut seen = HashSet::new();
        let posts: Vec<&RemotePost> =
            posts.iter().filter(|post| seen.insert(post.remote_id.as_str())).collect();
        for posts in posts.chunks(ROWS_MAX) {
            self.upsert(&mut tx, connector_id, posts, follow).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    async fn upsert(
        &self,
        tx: &mut Tx,
        connector_id: Uuid,
        posts: &[&RemotePost],
        follow: bool,
    ) -> Result<(), Error> {
        const INSERT: &str = "INSERT INTO remote_posts \
             (connector_id, remote_id, text, created_at, seen_at, metrics_due_at) ";
        const UPDATE: &str = " ON CONFLICT (connector_id, remote_id) DO UPDATE SET \
             text = excluded.text, created_at = excluded.created_at, seen_at = excluded.seen_at \
             WHERE remote_posts.text <> excluded.text \
             OR remote_posts.created_at IS DISTINCT FROM excluded.created_at \
             OR remote_posts.seen_at < excluded.seen_at - ";
        let now = self.now();
        Ok(on_tx!(tx, conn => {
            let mut query = sqlx::QueryBuilder::new(INSERT);
            query.push_values(posts, |mut row, post| {
                let due = first_reading(post.created_at, now).filter(|_| follow);
                row.push_bind(connector_id)
                    .push_bind(&post.remote_id)
                    // PostgreSQL cannot hold U+0000, and no platform means anything by it.
                    .push_bind(post.text.replace('\0', ""))
                    .push_bind(post.created_at.map(Timestamp::as_millis))
                    .push_bind(now.as_millis())
                    .push_bind(due.map(Timestamp::as_millis));
            });
            query.push(UPDATE).push_bind(SEEN_AGAIN_MS).build().execute(conn).await.map(drop)
        })?)
    }

    /// Whether all of these posts were found before.
    pub async fn are_known(&self, connector_id: Uuid, posts: &[RemotePost]) -> Result<bool, Error> {
        let ids: HashSet<&str> = posts.iter().map(|post| post.remote_id.as_str()).collect();
        let known: i64 = on_db!(&self.db, pool => {
            let mut query = sqlx::QueryBuilder::new(
                "SELECT COUNT(*) FROM remote_posts WHERE connector_id = ",
            );
            query.push_bind(connector_id).push(" AND remote_id IN (");
            let mut list = query.separated(", ");
            for id in &ids {
                list.push_bind(*id);
            }
            query.push(")").build_query_scalar().fetch_one(pool).await
        })?;
        Ok(usize::try_from(known) == Ok(ids.len()))
    }

    /// How many posts of an account were found.
    pub async fn remote_posts_count(&self, connector_id: Uuid) -> Result<u64, Error> {
        const SQL: &str = "SELECT COUNT(*) FROM remote_posts WHERE connector_id = $1";
        let count: i64 = on_db!(&self.db, pool => {
            sqlx::query_scalar(SQL).bind(connector_id).fetch_one(pool).await
        })?;
        Ok(count.unsigned_abs())
    }

    /// The posts of an account that were found, by their ids, and their texts; all of them.
    pub async fn remote_texts(&self, connector_id: Uuid) -> Result<Vec<(String, String)>, Error> {
        const SQL: &str =
            "SELECT remote_id, text FROM remote_posts WHERE connector_id = $1 ORDER BY remote_id";
        Ok(on_db!(&self.db, pool => {
            sqlx::query_as(SQL).bind(connector_id).fetch_all(pool).await
        })?)
    }
}
