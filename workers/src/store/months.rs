//! The partitions of `post_metrics`, a month each. The embedded database has none.

use std::sync::atomic::Ordering;

use postworks::job::{CleanupScope, JobId, Tenant, Timestamp};
use postworks::ledger::{Db, Tx};
use postworks::{on_db, on_tx};
use uuid::Uuid;

use super::{Error, Store, Swept, time};

/// So many months after the present one have partitions.
const AHEAD: i32 = 2;
/// How long a process relies on what it made ready, in milliseconds: less than a month by far.
const READY_MS: i64 = 24 * 3_600_000;

/// A month of readings that has a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Month {
    /// Its first moment.
    pub starts: Timestamp,
    /// The next one's.
    pub ends: Timestamp,
}

impl Store {
    /// Sees to it that readings of this time, and of the next months, have their partitions. Any number
    /// of nodes may, at once.
    pub async fn ready_for(&self, at: Timestamp) -> Result<(), Error> {
        const SQL: &str = "SELECT postworks_metrics_months($1, $2)";
        let Db::Postgres(_) = &self.db else { return Ok(()) };
        let ready = self.months_ready.load(Ordering::Relaxed);
        if (ready..ready.saturating_add(READY_MS)).contains(&at.as_millis()) {
            return Ok(());
        }
        let mut tx = self.db.begin().await?;
        on_tx!(&mut tx, conn => {
            sqlx::query(SQL).bind(at.as_millis()).bind(AHEAD).execute(conn).await.map(drop)
        })?;
        tx.commit().await?;
        self.months_ready.store(at.as_millis(), Ordering::Relaxed);
        Ok(())
    }

    /// The months of readings that ended until `before`, the oldest first.
    pub async fn months_before(&self, before: Timestamp) -> Result<Vec<Month>, Error> {
        // A partition says in its name which month it holds: post_metrics_y2026m11.
        const SQL: &str = "SELECT (extract(epoch FROM starts) * 1000)::bigint, \
                 (extract(epoch FROM ends) * 1000)::bigint FROM \
             (SELECT make_timestamptz(y, m, 1, 0, 0, 0, 'UTC') AS starts, \
                 make_timestamptz(y + m / 12, m % 12 + 1, 1, 0, 0, 0, 'UTC') AS ends FROM \
             (SELECT substring(c.relname from 'y(\\d{4})m')::int AS y, \
                 substring(c.relname from 'm(\\d{2})$')::int AS m \
             FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid \
             WHERE i.inhparent = 'post_metrics'::regclass) AS named) AS months \
             WHERE (extract(epoch FROM ends) * 1000)::bigint <= $1 ORDER BY 1";
        let Db::Postgres(_) = &self.db else { return Ok(Vec::new()) };
        let rows: Vec<(i64, i64)> = on_db!(&self.db, pool => {
            sqlx::query_as(SQL).bind(before.as_millis()).fetch_all(pool).await
        })?;
        let month = |(starts, ends)| Month { starts: time(starts), ends: time(ends) };
        Ok(rows.into_iter().map(month).collect())
    }

    /// The readings of a month, of each tenant.
    pub async fn count_month(&self, month: Month) -> Result<Swept, Error> {
        let mut tx = self.db.begin().await?;
        let counted = count_month_in(&mut tx, month).await?;
        tx.rollback().await?;
        Ok(counted)
    }

    /// Drops a month of readings, and notes it as that job's progress; answers what went.
    pub async fn drop_month(&self, month: Month, job: JobId) -> Result<Swept, Error> {
        const SQL: &str = "SELECT postworks_drop_metrics_month($1)";
        // Before the count, so that of two who drop a month neither holds what the other needs.
        const LOCK: &str = "LOCK TABLE ONLY post_metrics IN SHARE UPDATE EXCLUSIVE MODE";
        let mut tx = self.db.begin().await?;
        let Tx::Postgres(conn) = &mut tx else { return Ok(Swept::default()) };
        sqlx::query(LOCK).execute(&mut **conn).await?;
        let mut swept = count_month_in(&mut tx, month).await?;
        let Tx::Postgres(conn) = &mut tx else { return Ok(Swept::default()) };
        let dropped: bool =
            sqlx::query_scalar(SQL).bind(month.starts.as_millis()).fetch_one(&mut **conn).await?;
        if !dropped {
            // Another cleanup has.
            swept = Swept::default();
        }
        self.note_swept_in(&mut tx, job, CleanupScope::Metrics, &swept, false).await?;
        tx.commit().await?;
        Ok(swept)
    }
}

async fn count_month_in(tx: &mut Tx, month: Month) -> Result<Swept, Error> {
    const SQL: &str = "SELECT tenant_id, COUNT(*) FROM post_metrics \
         WHERE read_at >= $1 AND read_at < $2 GROUP BY tenant_id";
    let rows: Vec<(Uuid, i64)> = on_tx!(tx, conn => sqlx::query_as(SQL)
        .bind(month.starts.as_millis())
        .bind(month.ends.as_millis())
        .fetch_all(conn)
        .await)?;
    let mut swept = Swept { partitions: 1, ..Swept::default() };
    for (tenant, count) in rows {
        swept.rows += count.unsigned_abs();
        swept.tenants.insert(Tenant::from_uuid(tenant), count.unsigned_abs());
    }
    Ok(swept)
}
