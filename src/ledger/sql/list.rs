//! Reads jobs.

use sqlx::{Database, Encode, QueryBuilder, Type};
use uuid::Uuid;

use super::stored::{StoredAttempt, StoredRow, job_columns};
use crate::job::{JobId, State, Timestamp};
use crate::ledger::{Db, Error, FailedAttempt, JobFilter, JobRow};
use crate::on_db;

const ROWS: &str = concat!(
    "SELECT ",
    job_columns!(),
    ", jobs.state, jobs.finished_at, jobs.parked_for, dead_letters.category, \
     dead_letters.class, dead_letters.message, job_waits.run_at AS own_run_at \
     FROM jobs LEFT JOIN dead_letters ON dead_letters.job_id = jobs.id \
     LEFT JOIN job_waits ON job_waits.job_id = jobs.id WHERE "
);

/// Of a tenant's list this is true anyway, and lets the planner use the index of tenants' jobs, which
/// the house's are not in.
const NOT_OF_HOUSE: &str = "jobs.tenant_id <> '00000000-0000-0000-0000-000000000001'";

/// A job's row.
pub(super) async fn job(db: &Db, id: JobId) -> Result<Option<JobRow>, Error> {
    let row: Option<StoredRow> = on_db!(db, pool => {
        let mut query = QueryBuilder::new(ROWS);
        query.push("jobs.id = ").push_bind(id.as_uuid());
        query.build_query_as().fetch_optional(pool).await
    })?;
    row.map(JobRow::try_from).transpose()
}

/// A job's failed attempts, first to last.
pub(super) async fn attempts(db: &Db, id: JobId) -> Result<Vec<FailedAttempt>, Error> {
    const SQL: &str = "SELECT n, started_at, ended_at, outcome, error, worker FROM attempts \
         WHERE job_id = $1 ORDER BY token";
    let rows: Vec<StoredAttempt> = on_db!(db, pool => {
        sqlx::query_as(SQL).bind(id.as_uuid()).fetch_all(pool).await
    })?;
    Ok(rows.into_iter().map(FailedAttempt::from).collect())
}

/// Lists jobs, newest first.
pub(super) async fn jobs(
    db: &Db,
    filter: &JobFilter,
    now: Timestamp,
) -> Result<Vec<JobRow>, Error> {
    // Only a broker knows what runs.
    if filter.state == Some(State::Running) {
        return Ok(Vec::new());
    }
    let of_house = db.tenant().is_none_or(|tenant| tenant.is_default());
    let rows: Vec<StoredRow> = on_db!(db, pool => {
        let mut query = QueryBuilder::new(ROWS);
        query.push(if of_house { "true" } else { NOT_OF_HOUSE }).push(" AND ");
        narrow(&mut query, filter, now);
        query.build_query_as().fetch_all(pool).await
    })?;
    rows.into_iter().map(JobRow::try_from).collect()
}

fn narrow<DB: Database>(query: &mut QueryBuilder<DB>, filter: &JobFilter, now: Timestamp)
where
    Uuid: for<'q> Encode<'q, DB> + Type<DB>,
    String: for<'q> Encode<'q, DB> + Type<DB>,
    i64: for<'q> Encode<'q, DB> + Type<DB>,
{
    // Spelled out rather than bound, so that the planner sees which partial index serves.
    query.push(match filter.state {
        None | Some(State::Running) => "true",
        Some(State::Delayed | State::Ready) => "jobs.state = 'open'",
        Some(State::Parked) => "jobs.state = 'parked'",
        Some(State::Completed) => "jobs.state = 'completed'",
        Some(State::Dead) => "jobs.state = 'dead'",
        Some(State::Cancelled) => "jobs.state = 'cancelled'",
    });
    match filter.state {
        Some(State::Delayed) => query.push(" AND jobs.run_at > ").push_bind(now.as_millis()),
        Some(State::Ready) => query.push(" AND jobs.run_at <= ").push_bind(now.as_millis()),
        _ => query,
    };
    if let Some(kind) = &filter.kind {
        query.push(" AND jobs.kind = ").push_bind(kind.as_str().to_owned());
    }
    if let Some(queue) = &filter.queue {
        query.push(" AND jobs.queue = ").push_bind(queue.as_str().to_owned());
    }
    if let Some(before) = filter.before {
        query.push(" AND jobs.id < ").push_bind(before.as_uuid());
    }
    query.push(" ORDER BY jobs.id DESC LIMIT ").push_bind(i64::from(filter.limit));
}
