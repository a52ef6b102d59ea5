//! Keeps redrives that go on in the background.

use sqlx::{FromRow, QueryBuilder};
use uuid::Uuid;

use super::SqlLedger;
use super::stored::{nonsense, plain};
use crate::job::{JobId, Tenant, Timestamp};
use crate::ledger::{AuditEntry, CauseCount, Db, Error, PutBackOnce, Redrive, RedriveState, Tx};
use crate::{on_db, on_tx};

macro_rules! columns {
    () => {
        "id, actor, subject, why, filter, canary, rate, state, progress, matched, put_back, done, \
         unknown, superseded, started_at, step_at, ended_at, stopped_why, version, tenant_id"
    };
}

#[derive(Debug, FromRow)]
struct Stored {
    id: Uuid,
    actor: String,
    subject: String,
    why: Option<String>,
    filter: String,
    canary: Option<i64>,
    rate: Option<i64>,
    state: String,
    progress: String,
    matched: i64,
    put_back: i64,
    done: i64,
    unknown: i64,
    superseded: i64,
    started_at: i64,
    step_at: i64,
    ended_at: Option<i64>,
    stopped_why: Option<String>,
    version: i64,
    tenant_id: Uuid,
}

/// A word in the column `state` that is none of ours.
#[derive(Debug, thiserror::Error)]
#[error("no state of a redrive: {0}")]
struct NoState(String);

impl TryFrom<Stored> for Redrive {
    type Error = Error;

    fn try_from(row: Stored) -> Result<Self, Error> {
        let state = RedriveState::ALL.into_iter().find(|state| state.as_str() == row.state);
        let number = |number: i64| u32::try_from(number).unwrap_or(u32::MAX);
        Ok(Self {
            id: row.id,
            tenant: Tenant::from_uuid(row.tenant_id),
            actor: row.actor,
            subject: row.subject,
            why: row.why,
            filter: row.filter,
            canary: row.canary.map(number),
            rate: row.rate.map(number),
            state: state.ok_or_else(|| nonsense(NoState(row.state)))?,
            progress: row.progress,
            matched: count(row.matched),
            put_back: count(row.put_back),
            done: count(row.done),
            unknown: count(row.unknown),
            superseded: count(row.superseded),
            started_at: Timestamp::from_millis(row.started_at),
            step_at: Timestamp::from_millis(row.step_at),
            ended_at: row.ended_at.map(Timestamp::from_millis),
            stopped_why: row.stopped_why,
            version: count(row.version),
        })
    }
}

fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn column(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Begins a redrive, with its entry in the audit.
pub(super) async fn start(db: &Db, new: &Redrive, note: &AuditEntry) -> Result<(), Error> {
    const SQL: &str = concat!(
        "INSERT INTO redrives (",
        columns!(),
        ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, \
         $18, $19, $20) ON CONFLICT (id) DO NOTHING"
    );
    let mut tx = db.begin().await?;
    on_tx!(&mut tx, conn => sqlx::query(SQL)
        .bind(new.id)
        .bind(plain(&new.actor))
        .bind(plain(&new.subject))
        .bind(new.why.as_deref().map(plain))
        .bind(&new.filter)
        .bind(new.canary.map(i64::from))
        .bind(new.rate.map(i64::from))
        .bind(new.state.as_str())
        .bind(&new.progress)
        .bind(column(new.matched))
        .bind(column(new.put_back))
        .bind(column(new.done))
        .bind(column(new.unknown))
        .bind(column(new.superseded))
        .bind(new.started_at.as_millis())
        .bind(new.step_at.as_millis())
        .bind(new.ended_at.map(Timestamp::as_millis))
        .bind(new.stopped_why.as_deref().map(plain))
        .bind(column(new.version))
        .bind(new.tenant.as_uuid())
        .execute(conn)
        .await
        .map(drop))?;
    SqlLedger::audit_in(&mut tx, &AuditEntry { count: 0, ..note.clone() }).await?;
    tx.commit().await
}

/// A redrive.
pub(super) async fn one(db: &Db, id: Uuid) -> Result<Option<Redrive>, Error> {
    const SQL: &str = concat!("SELECT ", columns!(), " FROM redrives WHERE id = $1");
    let row: Option<Stored> =
        on_db!(db, pool => sqlx::query_as(SQL).bind(id).fetch_optional(pool).await)?;
    row.map(Redrive::try_from).transpose()
}

/// Lists redrives, newest first.
pub(super) async fn list(
    db: &Db,
    running: bool,
    before: Option<Uuid>,
    limit: u32,
) -> Result<Vec<Redrive>, Error> {
    const ALL: &str =
        concat!("SELECT ", columns!(), " FROM redrives WHERE id < $1 ORDER BY id DESC LIMIT $2");
    const RUNNING: &str = concat!(
        "SELECT ",
        columns!(),
        " FROM redrives WHERE state = 'running' AND id < $1 ORDER BY id DESC LIMIT $2"
    );
    let (sql, before) = (if running { RUNNING } else { ALL }, before.unwrap_or(Uuid::max()));
    let rows: Vec<Stored> = on_db!(db, pool => {
        sqlx::query_as(sql).bind(before).bind(i64::from(limit)).fetch_all(pool).await
    })?;
    rows.into_iter().map(Redrive::try_from).collect()
}

/// Saves how far a redrive came, unless it changed meanwhile; answers whether it was saved.
pub(super) async fn save(db: &Db, row: &Redrive) -> Result<bool, Error> {
    const SQL: &str = "UPDATE redrives SET state = $3, progress = $4, put_back = $5, done = $6, \
         unknown = $7, superseded = $8, step_at = $9, ended_at = $10, stopped_why = $11, \
         version = version + 1 WHERE id = $1 AND version = $2 AND state = 'running'";
    let mut tx = db.begin().await?;
    let saved = on_tx!(&mut tx, conn => sqlx::query(SQL)
        .bind(row.id)
        .bind(column(row.version))
        .bind(row.state.as_str())
        .bind(&row.progress)
        .bind(column(row.put_back))
        .bind(column(row.done))
        .bind(column(row.unknown))
        .bind(column(row.superseded))
        .bind(row.step_at.as_millis())
        .bind(row.ended_at.map(Timestamp::as_millis))
        .bind(row.stopped_why.as_deref().map(plain))
        .execute(conn)
        .await
        .map(|done| done.rows_affected()))?;
    tx.commit().await?;
    Ok(saved == 1)
}

/// Stops a redrive that runs; answers whether one did.
pub(super) async fn stop(db: &Db, id: Uuid, why: &str, note: &AuditEntry) -> Result<bool, Error> {
    const SQL: &str = "UPDATE redrives SET state = 'stopped', ended_at = $2, stopped_why = $3, \
         version = version + 1 WHERE id = $1 AND state = 'running'";
    let mut tx = db.begin().await?;
    let stopped = on_tx!(&mut tx, conn => sqlx::query(SQL)
        .bind(id)
        .bind(note.at.as_millis())
        .bind(plain(why))
        .execute(conn)
        .await
        .map(|done| done.rows_affected()))?;
    if stopped == 1 {
        SqlLedger::audit_in(&mut tx, note).await?;
    }
    tx.commit().await?;
    Ok(stopped == 1)
}

/// What became of the jobs that a redrive put back, cause by cause.
pub(super) async fn causes(db: &Db, id: Uuid) -> Result<Vec<CauseCount>, Error> {
    const SQL: &str = "SELECT r.fingerprint, count(*), \
             count(CASE WHEN jobs.state IN ('open', 'parked') THEN 1 END), \
             count(CASE WHEN d.fingerprint = r.fingerprint THEN 1 END) \
         FROM redriven r JOIN jobs ON jobs.id = r.job_id \
             LEFT JOIN dead_letters d ON d.job_id = r.job_id \
         WHERE r.redrive = $1 GROUP BY r.fingerprint ORDER BY r.fingerprint";
    let rows: Vec<(String, i64, i64, i64)> =
        on_db!(db, pool => sqlx::query_as(SQL).bind(id).fetch_all(pool).await)?;
    let counts = rows.into_iter().map(|(fingerprint, put_back, underway, returned)| CauseCount {
        fingerprint,
        put_back: count(put_back),
        underway: count(underway),
        returned: count(returned),
    });
    Ok(counts.collect())
}

/// Remembers from which deaths jobs are put back. Their letters must still be there.
pub(super) async fn remember(
    tx: &mut Tx,
    jobs: &[Uuid],
    at: Timestamp,
    redrive: Option<Uuid>,
) -> Result<(), Error> {
    if jobs.is_empty() {
        return Ok(());
    }
    on_tx!(tx, conn => {
        let mut query = QueryBuilder::new(
            "INSERT INTO redriven \
                 (job_id, n, at, redrive, died_at, category, fingerprint, message) \
             SELECT d.job_id, (SELECT count(*) + 1 FROM redriven r WHERE r.job_id = d.job_id), ",
        );
        query.push_bind(at.as_millis()).push(", ").push_bind(redrive).push(
            ", d.died_at, d.category, d.fingerprint, d.message \
             FROM dead_letters d WHERE d.job_id IN (",
        );
        let mut places = query.separated(", ");
        for id in jobs {
            places.push_bind(*id);
        }
        query.push(")");
        query.build().execute(conn).await.map(drop)
    })?;
    Ok(())
}

/// When a job was put back, first to last.
pub(super) async fn lineage(db: &Db, id: JobId) -> Result<Vec<PutBackOnce>, Error> {
    const SQL: &str = "SELECT n, at, redrive, died_at, category, fingerprint, message \
         FROM redriven WHERE job_id = $1 ORDER BY n";
    type Row = (i32, i64, Option<Uuid>, i64, String, String, String);
    let rows: Vec<Row> = on_db!(db, pool => {
        sqlx::query_as(SQL).bind(id.as_uuid()).fetch_all(pool).await
    })?;
    rows.into_iter()
        .map(|(n, at, redrive, died_at, category, fingerprint, message)| {
            Ok(PutBackOnce {
                n: u32::try_from(n).unwrap_or(0),
                at: Timestamp::from_millis(at),
                redrive,
                died_at: Timestamp::from_millis(died_at),
                category: category.parse().map_err(nonsense)?,
                fingerprint,
                message,
            })
        })
        .collect()
}
