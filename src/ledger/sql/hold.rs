//! Keeps what people want of queues.

use sqlx::FromRow;

use super::SqlLedger;
use super::stored::{nonsense, plain};
use crate::job::{Queue, Timestamp};
use crate::ledger::{AuditEntry, Db, Error, Held, Holder, QueueHold, Wish};
use crate::{on_db, on_tx};

macro_rules! columns {
    () => {
        "queue, revision, applied, paused_at, paused_by, paused_why, forced_at, forced_by, \
         forced_why"
    };
}

#[derive(Debug, FromRow)]
struct StoredHold {
    queue: String,
    revision: i64,
    applied: bool,
    paused_at: Option<i64>,
    paused_by: Option<String>,
    paused_why: Option<String>,
    forced_at: Option<i64>,
    forced_by: Option<String>,
    forced_why: Option<String>,
}

impl TryFrom<StoredHold> for QueueHold {
    type Error = Error;

    fn try_from(row: StoredHold) -> Result<Self, Error> {
        let holder = |at: Option<i64>, by: Option<String>, why| {
            at.map(|at| Holder { at: Timestamp::from_millis(at), by: by.unwrap_or_default(), why })
        };
        Ok(Self {
            queue: Queue::parse(&row.queue).map_err(nonsense)?,
            revision: u64::try_from(row.revision).map_err(nonsense)?,
            applied: row.applied,
            paused: holder(row.paused_at, row.paused_by, row.paused_why),
            forced_open: holder(row.forced_at, row.forced_by, row.forced_why),
        })
    }
}

/// Records a wish and notes it, in one transaction.
pub(super) async fn wish(db: &Db, wish: &Wish, note: &AuditEntry) -> Result<QueueHold, Error> {
    const PAUSE: &str = concat!(
        "INSERT INTO queue_holds (queue, revision, applied, paused_at, paused_by, paused_why) \
         VALUES ($1, 1, false, $2, $3, $4) ON CONFLICT (queue) DO UPDATE SET \
             revision = queue_holds.revision + 1, applied = false, paused_at = $2, \
             paused_by = $3, paused_why = $4 RETURNING ",
        columns!()
    );
    const FORCE: &str = concat!(
        "INSERT INTO queue_holds (queue, revision, applied, forced_at, forced_by, forced_why) \
         VALUES ($1, 1, false, $2, $3, $4) ON CONFLICT (queue) DO UPDATE SET \
             revision = queue_holds.revision + 1, applied = false, forced_at = $2, \
             forced_by = $3, forced_why = $4 RETURNING ",
        columns!()
    );
    let sql = match wish.what {
        Held::Paused => PAUSE,
        Held::BreakerOpen => FORCE,
    };
    let holder = wish.holder.as_ref();
    let mut tx = db.begin().await?;
    let row: StoredHold = on_tx!(&mut tx, conn => {
        sqlx::query_as(sql)
            .bind(wish.queue.as_str())
            .bind(holder.map(|holder| holder.at.as_millis()))
            .bind(holder.map(|holder| plain(&holder.by)))
            .bind(holder.and_then(|holder| holder.why.as_deref()).map(plain))
            .fetch_one(conn)
            .await
    })?;
    SqlLedger::audit_in(&mut tx, note).await?;
    tx.commit().await?;
    row.try_into()
}

/// What people want of each queue that anything was ever wanted of.
pub(super) async fn all(db: &Db) -> Result<Vec<QueueHold>, Error> {
    const SQL: &str = concat!("SELECT ", columns!(), " FROM queue_holds ORDER BY queue");
    let rows: Vec<StoredHold> = on_db!(db, pool => sqlx::query_as(SQL).fetch_all(pool).await)?;
    rows.into_iter().map(QueueHold::try_from).collect()
}

/// The broker has this revision.
pub(super) async fn applied(db: &Db, queue: &Queue, revision: u64) -> Result<(), Error> {
    const SQL: &str = "UPDATE queue_holds SET applied = true WHERE queue = $1 AND revision = $2";
    let revision = i64::try_from(revision).map_err(nonsense)?;
    let mut tx = db.begin().await?;
    on_tx!(&mut tx, conn => {
        sqlx::query(SQL).bind(queue.as_str()).bind(revision).execute(conn).await.map(drop)
    })?;
    tx.commit().await
}
