//! Keeps schedules.

use std::time::Duration;

use sqlx::FromRow;
use uuid::Uuid;

use super::SqlLedger;
use super::stored::{nonsense, number, plain};
use crate::job::schedule::{Missed, Overlap};
use crate::job::{JobId, Kind, Queue, Tenant, Timestamp};
use crate::ledger::{
    Added, AuditEntry, Class, Db, Error, Fire, Holder, SCHEDULES_MAX, Schedule, Schedules, Tx,
    until_sure,
};
use crate::{on_db, on_tx};

/// The columns of a [`StoredSchedule`].
macro_rules! schedule_columns {
    () => {
        "schedules.id, schedules.tenant_id, schedules.name, schedules.cron, schedules.zone, \
         schedules.kind, schedules.args, schedules.queue, schedules.account, \
         schedules.priority_s, schedules.max_attempts, schedules.missed, schedules.overlap, \
         schedules.jitter_ms, schedules.created_at, schedules.next_at, schedules.paused_at, \
         schedules.paused_by, schedules.paused_why, schedules.fires, schedules.built_in"
    };
}
pub(super) use schedule_columns;

#[derive(Debug, FromRow)]
pub(super) struct StoredSchedule {
    id: Uuid,
    tenant_id: Uuid,
    name: String,
    cron: String,
    zone: String,
    kind: String,
    args: String,
    queue: String,
    account: Option<Uuid>,
    priority_s: i32,
    max_attempts: Option<i32>,
    missed: String,
    overlap: String,
    jitter_ms: i64,
    created_at: i64,
    next_at: Option<i64>,
    paused_at: Option<i64>,
    paused_by: Option<String>,
    paused_why: Option<String>,
    fires: i64,
    built_in: bool,
}

/// A word in a column that is none of ours.
#[derive(Debug, thiserror::Error)]
#[error("no policy of a schedule: {0}")]
struct NoPolicy(String);

impl TryFrom<StoredSchedule> for Schedule {
    type Error = Error;

    fn try_from(row: StoredSchedule) -> Result<Self, Error> {
        let missed = Missed::ALL.into_iter().find(|policy| policy.as_str() == row.missed);
        let overlap = Overlap::ALL.into_iter().find(|policy| policy.as_str() == row.overlap);
        let count = |number: i32| u32::try_from(number).unwrap_or(0);
        let (by, why) = (row.paused_by.unwrap_or_default(), row.paused_why);
        Ok(Self {
            id: row.id,
            tenant: Tenant::from_uuid(row.tenant_id),
            name: row.name,
            cron: row.cron,
            zone: row.zone,
            kind: Kind::parse(&row.kind).map_err(nonsense)?,
            args: row.args,
            queue: Queue::parse(&row.queue).map_err(nonsense)?,
            account: row.account,
            priority_s: count(row.priority_s),
            max_attempts: row.max_attempts.map(count),
            missed: missed.ok_or_else(|| nonsense(NoPolicy(row.missed)))?,
            overlap: overlap.ok_or_else(|| nonsense(NoPolicy(row.overlap)))?,
            jitter: Duration::from_millis(u64::try_from(row.jitter_ms).unwrap_or(0)),
            created_at: Timestamp::from_millis(row.created_at),
            next_at: row.next_at.map(Timestamp::from_millis),
            paused: row.paused_at.map(|at| Holder { at: Timestamp::from_millis(at), by, why }),
            fires: u64::try_from(row.fires).unwrap_or(0),
            built_in: row.built_in,
        })
    }
}

impl Schedules {
    /// Schedules in this database, whose tables must be there ([`Db::migrate`]).
    pub fn new(db: Db) -> Self {
        Self { db }
    }

    pub(super) async fn timed<T>(
        &self,
        class: Class,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.db.meter().measure(class, call).await
    }

    /// Adds a schedule, and notes it. May be repeated.
    ///
    /// # Errors
    /// The database's.
    pub async fn add(&self, new: &Schedule, note: &AuditEntry) -> Result<Added, Error> {
        self.timed(Class::Admin, until_sure(|| self.try_add(new, note))).await
    }

    async fn try_add(&self, new: &Schedule, note: &AuditEntry) -> Result<Added, Error> {
        const COUNT: &str = "SELECT count(*) FROM schedules WHERE tenant_id = $1";
        const THERE: &str = "SELECT count(*) FROM schedules WHERE id = $1";
        let mut tx = self.db.begin().await?;
        let there: i64 = on_tx!(&mut tx, conn => {
            sqlx::query_scalar(COUNT).bind(new.tenant.as_uuid()).fetch_one(conn).await
        })?;
        if there >= i64::from(SCHEDULES_MAX) {
            return Ok(Added::TooMany);
        }
        if !insert_schedule(&mut tx, new).await? {
            // By this very call, if the answer to an earlier commit got lost.
            let ours: i64 = on_tx!(&mut tx, conn => {
                sqlx::query_scalar(THERE).bind(new.id).fetch_one(conn).await
            })?;
            return Ok(if ours == 1 { Added::Now } else { Added::NameTaken });
        }
        SqlLedger::audit_in(&mut tx, note).await?;
        tx.commit().await?;
        Ok(Added::Now)
    }

    /// A schedule.
    ///
    /// # Errors
    /// The database's.
    pub async fn one(&self, id: Uuid) -> Result<Option<Schedule>, Error> {
        const SQL: &str = concat!("SELECT ", schedule_columns!(), " FROM schedules WHERE id = $1");
        let read = async {
            let row: Option<StoredSchedule> = on_db!(&self.db, pool => {
                sqlx::query_as(SQL).bind(id).fetch_optional(pool).await
            })?;
            row.map(Schedule::try_from).transpose()
        };
        self.timed(Class::Read, read).await
    }

    /// A tenant's schedules, the newest first: all, or that of this name; those older than `before`.
    ///
    /// # Errors
    /// The database's.
    pub async fn list(
        &self,
        tenant: Tenant,
        name: Option<&str>,
        before: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<Schedule>, Error> {
        const SQL: &str = concat!(
            "SELECT ",
            schedule_columns!(),
            " FROM schedules WHERE tenant_id = $1 AND id < $2 AND ($3 = '' OR name = $3) \
             ORDER BY id DESC LIMIT $4"
        );
        let read = async {
            let rows: Vec<StoredSchedule> = on_db!(&self.db, pool => {
                sqlx::query_as(SQL)
                    .bind(tenant.as_uuid())
                    .bind(before.unwrap_or(Uuid::max()))
                    .bind(plain(name.unwrap_or_default()))
                    .bind(i64::from(limit))
                    .fetch_all(pool)
                    .await
            })?;
            rows.into_iter().map(Schedule::try_from).collect()
        };
        self.timed(Class::Read, read).await
    }

    /// The newest fires of a schedule, the newest first.
    ///
    /// # Errors
    /// The database's.
    pub async fn fires(&self, schedule: Uuid, limit: u32) -> Result<Vec<Fire>, Error> {
        const SQL: &str = "SELECT fire_at, made_at, job_id, by_hand FROM schedule_fires \
             WHERE schedule_id = $1 ORDER BY fire_at DESC LIMIT $2";
        type Row = (i64, i64, Option<Uuid>, bool);
        let read = async {
            let rows: Vec<Row> = on_db!(&self.db, pool => {
                sqlx::query_as(SQL).bind(schedule).bind(i64::from(limit)).fetch_all(pool).await
            })?;
            let fire = |(at, made_at, job, by_hand): Row| Fire {
                at: Timestamp::from_millis(at),
                made_at: Timestamp::from_millis(made_at),
                job: job.map(JobId::from_uuid),
                by_hand,
            };
            Ok(rows.into_iter().map(fire).collect())
        };
        self.timed(Class::Read, read).await
    }

    /// Pauses a schedule, or lets it go on with `next_at`, and notes it; answers whether it is there.
    ///
    /// # Errors
    /// The database's.
    pub async fn hold(
        &self,
        schedule: Uuid,
        holder: Option<&Holder>,
        next_at: Option<Timestamp>,
        note: &AuditEntry,
    ) -> Result<bool, Error> {
        let hold = async {
            let mut tx = self.db.begin().await?;
            let held = write_hold(&mut tx, schedule, holder, next_at).await?;
            if held {
                SqlLedger::audit_in(&mut tx, note).await?;
            }
            tx.commit().await?;
            Ok(held)
        };
        self.timed(Class::Admin, hold).await
    }

    /// Removes a schedule, and notes it; its jobs stay. Answers whether it was there: a built-in one
    /// stays.
    ///
    /// # Errors
    /// The database's.
    pub async fn remove(&self, schedule: Uuid, note: &AuditEntry) -> Result<bool, Error> {
        const SQL: &str = "DELETE FROM schedules WHERE id = $1 AND NOT built_in";
        let remove = async {
            let mut tx = self.db.begin().await?;
            let gone = on_tx!(&mut tx, conn => {
                sqlx::query(SQL).bind(schedule).execute(conn).await.map(|done| done.rows_affected())
            })?;
            if gone > 0 {
                SqlLedger::audit_in(&mut tx, note).await?;
            }
            tx.commit().await?;
            Ok(gone > 0)
        };
        self.timed(Class::Admin, remove).await
    }
}

/// Writes a schedule, unless its id or name is there; answers whether it was written.
pub(super) async fn insert_schedule(tx: &mut Tx, new: &Schedule) -> Result<bool, Error> {
    const SQL: &str = "INSERT INTO schedules (id, tenant_id, name, cron, zone, kind, args, \
             queue, account, priority_s, max_attempts, missed, overlap, jitter_ms, \
             created_at, next_at, fires, built_in) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, 0, $17) \
         ON CONFLICT DO NOTHING";
    let added = on_tx!(tx, conn => sqlx::query(SQL)
        .bind(new.id)
        .bind(new.tenant.as_uuid())
        .bind(&new.name)
        .bind(&new.cron)
        .bind(&new.zone)
        .bind(new.kind.as_str())
        .bind(&new.args)
        .bind(new.queue.as_str())
        .bind(new.account)
        .bind(number(new.priority_s))
        .bind(new.max_attempts.map(number))
        .bind(new.missed.as_str())
        .bind(new.overlap.as_str())
        .bind(i64::try_from(new.jitter.as_millis()).unwrap_or(i64::MAX))
        .bind(new.created_at.as_millis())
        .bind(new.next_at.map(Timestamp::as_millis))
        .bind(new.built_in)
        .execute(conn)
        .await
        .map(|done| done.rows_affected()))?;
    Ok(added > 0)
}

/// Pauses a schedule, or lets it go on; answers whether it is there.
pub(super) async fn write_hold(
    tx: &mut Tx,
    schedule: Uuid,
    holder: Option<&Holder>,
    next_at: Option<Timestamp>,
) -> Result<bool, Error> {
    const SQL: &str = "UPDATE schedules SET paused_at = $2, paused_by = $3, paused_why = $4, \
         next_at = $5 WHERE id = $1";
    let held = on_tx!(tx, conn => sqlx::query(SQL)
        .bind(schedule)
        .bind(holder.map(|holder| holder.at.as_millis()))
        .bind(holder.map(|holder| plain(&holder.by)))
        .bind(holder.and_then(|holder| holder.why.as_deref()).map(plain))
        .bind(next_at.map(Timestamp::as_millis))
        .execute(conn)
        .await
        .map(|done| done.rows_affected()))?;
    Ok(held > 0)
}
