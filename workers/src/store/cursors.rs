//! How far each stream of an account came.
//!
//! What a step found and the new place are one transaction, so a walk that crashed goes on at the
//! page it had not finished, and no page is skipped.

use std::collections::HashMap;

use postworks::job::{JobError, SyncStream, Timestamp};
use postworks::ledger::Tx;
use postworks::{on_db, on_tx};
use uuid::Uuid;

use super::{Error, Store, time};

/// How far a stream came. All but `done_by` and `due_at` are of the walk over posts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cursor {
    /// Where the walk goes on; `None` if none is under way.
    pub page_token: Option<String>,
    /// The newest post of the last walk that reached its end: where the next one stops.
    pub high_water: Option<String>,
    /// The newest time that walk came upon, if any.
    pub high_water_at: Option<Timestamp>,
    /// The newest post of the walk that is under way.
    pub pending_high_water: Option<String>,
    /// The newest time that it came upon so far.
    pub pending_high_water_at: Option<Timestamp>,
    /// The pending high water of the walk that has come past the high water.
    pub met: Option<String>,
    /// Not before this, unless somebody asks for the stream.
    pub due_at: Option<Timestamp>,
    /// The job that last came to the stream's end.
    pub done_by: Option<Uuid>,
    /// Grows with every change; 0 before the first.
    pub version: i64,
}

#[derive(sqlx::FromRow)]
struct Row {
    page_token: Option<String>,
    high_water: Option<String>,
    high_water_at: Option<i64>,
    pending_high_water: Option<String>,
    pending_high_water_at: Option<i64>,
    met: Option<String>,
    due_at: Option<i64>,
    done_by: Option<Uuid>,
    version: i64,
}

impl From<Row> for Cursor {
    fn from(row: Row) -> Self {
        Self {
            page_token: row.page_token,
            high_water: row.high_water,
            high_water_at: row.high_water_at.map(time),
            pending_high_water: row.pending_high_water,
            pending_high_water_at: row.pending_high_water_at.map(time),
            met: row.met,
            due_at: row.due_at.map(time),
            done_by: row.done_by,
            version: row.version,
        }
    }
}

/// A stream that fails: it has not come on since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailingStream {
    /// `posts`, `metrics` or `profile`.
    pub stream: String,
    /// How often it failed since it last came on.
    pub failures: u64,
    /// When it last failed.
    pub failed_at: Timestamp,
    /// The class, and what went wrong.
    pub last_error: String,
}

impl Store {
    /// How far a stream of an account came.
    pub async fn cursor(&self, connector_id: Uuid, stream: SyncStream) -> Result<Cursor, Error> {
        const SQL: &str = "SELECT page_token, high_water, high_water_at, pending_high_water, \
             pending_high_water_at, met, due_at, done_by, version \
             FROM sync_cursors WHERE connector_id = $1 AND stream = $2";
        let row: Option<Row> = on_db!(&self.db, pool => sqlx::query_as(SQL)
            .bind(connector_id)
            .bind(stream.as_str())
            .fetch_optional(pool)
            .await)?;
        Ok(row.map(Cursor::from).unwrap_or_default())
    }

    /// Writes where a stream goes on. `next.version` is the version that was read; `false`: somebody
    /// else has moved on since, and nothing was changed.
    pub(super) async fn move_on(
        &self,
        tx: &mut Tx,
        connector_id: Uuid,
        stream: SyncStream,
        next: &Cursor,
    ) -> Result<bool, Error> {
        // One statement for the first step and every other: the first finds no row to conflict
        // with, and who comes second finds a version it did not expect.
        const SQL: &str = "INSERT INTO sync_cursors (connector_id, stream, page_token, \
             high_water, pending_high_water, version, updated_at, high_water_at, \
             pending_high_water_at, met, due_at, done_by) \
             VALUES ($1, $2, $3, $4, $5, $6 + 1, $7, $8, $9, $10, $11, $12) \
             ON CONFLICT (connector_id, stream) DO UPDATE SET page_token = $3, high_water = $4, \
             pending_high_water = $5, version = $6 + 1, updated_at = $7, high_water_at = $8, \
             pending_high_water_at = $9, met = $10, due_at = $11, done_by = $12, \
             failures = 0, failed_at = NULL, last_error = NULL WHERE sync_cursors.version = $6";
        let changed = on_tx!(tx, conn => sqlx::query(SQL)
            .bind(connector_id)
            .bind(stream.as_str())
            .bind(&next.page_token)
            .bind(&next.high_water)
            .bind(&next.pending_high_water)
            .bind(next.version)
            .bind(self.now().as_millis())
            .bind(next.high_water_at.map(Timestamp::as_millis))
            .bind(next.pending_high_water_at.map(Timestamp::as_millis))
            .bind(&next.met)
            .bind(next.due_at.map(Timestamp::as_millis))
            .bind(next.done_by)
            .execute(conn)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(changed > 0)
    }

    /// Notes that a stream failed; where it goes on stays as it is.
    pub async fn note_failure(
        &self,
        connector_id: Uuid,
        stream: SyncStream,
        error: &JobError,
    ) -> Result<(), Error> {
        const SQL: &str = "INSERT INTO sync_cursors (connector_id, stream, version, updated_at, \
             failures, failed_at, last_error) VALUES ($1, $2, 0, $3, 1, $3, $4) \
             ON CONFLICT (connector_id, stream) DO UPDATE SET \
             failures = sync_cursors.failures + 1, failed_at = $3, last_error = $4";
        let words = format!("{}: {}", error.class().as_str(), error.chain()).replace('\0', "");
        let mut tx = self.db.begin().await?;
        on_tx!(&mut tx, conn => sqlx::query(SQL)
            .bind(connector_id)
            .bind(stream.as_str())
            .bind(self.now().as_millis())
            .bind(words)
            .execute(conn)
            .await
            .map(drop))?;
        Ok(tx.commit().await?)
    }

    /// The streams of these accounts that fail.
    pub async fn failing_streams(
        &self,
        accounts: &[Uuid],
    ) -> Result<HashMap<Uuid, Vec<FailingStream>>, Error> {
        let mut failing = HashMap::<_, Vec<_>>::new();
        if accounts.is_empty() {
            return Ok(failing);
        }
        let rows: Vec<(Uuid, String, i64, i64, String)> = on_db!(&self.db, pool => {
            let mut query = sqlx::QueryBuilder::new(
                "SELECT connector_id, stream, failures, failed_at, last_error FROM sync_cursors \
                 WHERE last_error IS NOT NULL AND connector_id IN (",
            );
            let mut list = query.separated(", ");
            for id in accounts {
                list.push_bind(*id);
            }
            query.push(") ORDER BY stream").build_query_as().fetch_all(pool).await
        })?;
        for (id, stream, failures, failed_at, last_error) in rows {
            let (failures, failed_at) = (failures.unsigned_abs(), time(failed_at));
            let stream = FailingStream { stream, failures, failed_at, last_error };
            failing.entry(id).or_default().push(stream);
        }
        Ok(failing)
    }
}
