//! Posts found on the platforms, and how far the walk that finds them came.
//!
//! A page's posts and the new place of the walk are one transaction, so a walk that crashed goes
//! on at the page it had not finished, and no page is skipped.

use std::collections::HashSet;

use postworks::job::Timestamp;
use postworks::ledger::Tx;
use postworks::{on_db, on_tx};
use uuid::Uuid;

use super::{Error, Store};
use crate::platforms::RemotePost;

/// Rows in one INSERT: five values each, and SQLite takes 32,766 in a statement.
const ROWS_MAX: usize = 500;

/// How far a walk came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cursor {
    /// Where the walk goes on; `None` if none is under way.
    pub page_token: Option<String>,
    /// The newest post of the last walk that reached its end: where the next one stops.
    pub high_water: Option<String>,
    /// The newest post of the walk that is under way.
    pub pending_high_water: Option<String>,
    /// Grows with every change; 0 before the first.
    pub version: i64,
}

type CursorRow = (Option<String>, Option<String>, Option<String>, i64);

impl Store {
    /// How far the walk over a stream of an account came.
    pub async fn cursor(&self, connector_id: Uuid, stream: &str) -> Result<Cursor, Error> {
        const SQL: &str = "SELECT page_token, high_water, pending_high_water, version \
             FROM sync_cursors WHERE connector_id = $1 AND stream = $2";
        let row: Option<CursorRow> = on_db!(&self.db, pool => {
            sqlx::query_as(SQL).bind(connector_id).bind(stream).fetch_optional(pool).await
        })?;
        let cursor = |(page_token, high_water, pending_high_water, version)| Cursor {
            page_token,
            high_water,
            pending_high_water,
            version,
        };
        Ok(row.map(cursor).unwrap_or_default())
    }

    /// Keeps a page's posts and where the walk goes on. `next.version` is the version the walk
    /// read; `false`: another walk has moved on since, and nothing was changed.
    pub async fn keep_page(
        &self,
        connector_id: Uuid,
        stream: &str,
        posts: &[RemotePost],
        next: &Cursor,
    ) -> Result<bool, Error> {
        // One statement for the first page and every other: the first finds no row to conflict
        // with, and a walk that comes second finds a version it did not expect.
        const SQL: &str = "INSERT INTO sync_cursors (connector_id, stream, page_token, \
             high_water, pending_high_water, version, updated_at) \
             VALUES ($1, $2, $3, $4, $5, $6 + 1, $7) ON CONFLICT (connector_id, stream) \
             DO UPDATE SET page_token = $3, high_water = $4, pending_high_water = $5, \
             version = $6 + 1, updated_at = $7 WHERE sync_cursors.version = $6";
        let mut tx = self.db.begin().await?;
        let changed = on_tx!(&mut tx, conn => sqlx::query(SQL)
            .bind(connector_id)
            .bind(stream)
            .bind(&next.page_token)
            .bind(&next.high_water)
            .bind(&next.pending_high_water)
            .bind(next.version)
            .bind(self.now().as_millis())
            .execute(conn)
            .await
            .map(|done| done.rows_affected()))?;
        if changed == 0 {
            return Ok(false);
        }
        // A statement must not touch a row twice, and a platform may list a post twice.
        let mut seen = HashSet::new();
        let posts: Vec<&RemotePost> =
            posts.iter().filter(|post| seen.insert(post.remote_id.as_str())).collect();
        for posts in posts.chunks(ROWS_MAX) {
            self.upsert(&mut tx, connector_id, posts).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    async fn upsert(
        &self,
        tx: &mut Tx,
        connector_id: Uuid,
        posts: &[&RemotePost],
    ) -> Result<(), Error> {
        const INSERT: &str =
            "INSERT INTO remote_posts (connector_id, remote_id, text, created_at, seen_at) ";
        const UPDATE: &str = " ON CONFLICT (connector_id, remote_id) DO UPDATE SET \
             text = excluded.text, created_at = excluded.created_at, seen_at = excluded.seen_at";
        let now = self.now().as_millis();
        Ok(on_tx!(tx, conn => {
            let mut query = sqlx::QueryBuilder::new(INSERT);
            query.push_values(posts, |mut row, post| {
                row.push_bind(connector_id)
                    .push_bind(&post.remote_id)
                    // PostgreSQL cannot hold U+0000, and no platform means anything by it.
                    .push_bind(post.text.replace('\0', ""))
                    .push_bind(post.created_at.map(Timestamp::as_millis))
                    .push_bind(now);
            });
            query.push(UPDATE).build().execute(conn).await.map(drop)
        })?)
    }

    /// How many posts of an account were found.
    pub async fn remote_posts_count(&self, connector_id: Uuid) -> Result<u64, Error> {
        const SQL: &str = "SELECT COUNT(*) FROM remote_posts WHERE connector_id = $1";
        let count: i64 = on_db!(&self.db, pool => {
            sqlx::query_scalar(SQL).bind(connector_id).fetch_one(pool).await
        })?;
        Ok(count.unsigned_abs())
    }
}
