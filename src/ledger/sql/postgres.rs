//! Batches on PostgreSQL: a column is an array.

use sqlx::PgConnection;
use uuid::Uuid;

use super::batch::{AttemptRow, LetterRow, SettledRow};
use super::generation::{reserved, reserved_until};
use super::keys::{Holder, holder_columns, in_unique_index};
use super::stored::{Fence, Marks, edit_columns, number};
use crate::job::{JobId, NewJob, Timestamp, Uniqueness};

type Answer<T> = Result<T, sqlx::Error>;

/// One column of a batch.
fn column<'a, R, T>(rows: &'a [R], of: impl Fn(&'a R) -> T) -> Vec<T> {
    rows.iter().map(of).collect()
}

pub(super) async fn insert(conn: &mut PgConnection, jobs: &[&NewJob]) -> Answer<Vec<Uuid>> {
    macro_rules! sql {
        ($columns:literal, $arrays:literal) => {
            concat!(
                "INSERT INTO jobs (id, kind, kind_version, queue, args, failed_attempts, \
                     max_attempts, priority_s, unique_key, account, run_at, created_at, expires_at, \
                     traceparent, tenant_id",
                $columns,
                ") SELECT * FROM unnest($1::uuid[], $2::text[], $3::int[], $4::text[], $5::text[], \
                     $6::int[], $7::int[], $8::int[], $9::text[], $10::uuid[], $11::bigint[], \
                     $12::bigint[], $13::bigint[], $14::text[], $15::uuid[]",
                $arrays,
                ") ON CONFLICT DO NOTHING RETURNING id"
            )
        };
    }
    // Most jobs have nothing of the last three.
    const PLAIN: &str = sql!("", "");
    const MARKED: &str = sql!(
        ", key_until_start, key_until, debounced_until",
        ", $16::bool[], $17::bigint[], $18::bigint[]"
    );
    let marked = jobs.iter().any(|job| job.uniqueness != Uniqueness::default());
    let query = sqlx::query_scalar(if marked { MARKED } else { PLAIN })
        .bind(column(jobs, |job| job.id.as_uuid()))
        .bind(column(jobs, |job| job.kind.as_str()))
        .bind(column(jobs, |job| i32::from(job.kind_version)))
        .bind(column(jobs, |job| job.queue.as_str()))
        .bind(column(jobs, |job| job.args.as_str()))
        .bind(column(jobs, |job| number(job.failed_attempts)))
        .bind(column(jobs, |job| number(job.max_attempts)))
        .bind(column(jobs, |job| number(job.priority_s)))
        .bind(column(jobs, |job| job.unique_key.as_deref()))
        .bind(column(jobs, |job| job.account))
        .bind(column(jobs, |job| job.run_at.as_millis()))
        .bind(column(jobs, |job| job.created_at.as_millis()))
        .bind(column(jobs, |job| job.expires_at.as_millis()))
        .bind(column(jobs, |job| job.trace.map(String::from)))
        .bind(column(jobs, |job| job.tenant.as_uuid()));
    if !marked {
        return query.fetch_all(conn).await;
    }
    let marks = column(jobs, |job| Marks::from(job.uniqueness));
    query
        .bind(column(&marks, |marks| marks.key_until_start))
        .bind(column(&marks, |marks| marks.key_until))
        .bind(column(&marks, |marks| marks.debounced_until))
        .fetch_all(conn)
        .await
}

pub(super) async fn present(conn: &mut PgConnection, ids: &[Uuid]) -> Answer<Vec<Uuid>> {
    const SQL: &str = "SELECT id FROM jobs WHERE id = ANY($1)";
    sqlx::query_scalar(SQL).bind(ids).fetch_all(conn).await
}

pub(super) async fn holders(
    conn: &mut PgConnection,
    keys: &[(Uuid, &str, &str)],
) -> Answer<Vec<Holder>> {
    const SQL: &str = concat!(
        "SELECT ",
        holder_columns!(),
        " FROM jobs \
         JOIN unnest($1::text[], $2::text[], $3::uuid[]) AS u(kind, unique_key, tenant_id) \
             ON jobs.kind = u.kind AND jobs.unique_key = u.unique_key \
             AND jobs.tenant_id = u.tenant_id \
         WHERE ",
        in_unique_index!("jobs")
    );
    sqlx::query_as(SQL)
        .bind(column(keys, |(_, kind, _)| *kind))
        .bind(column(keys, |(.., key)| *key))
        .bind(column(keys, |(tenant, ..)| *tenant))
        .fetch_all(conn)
        .await
}

pub(super) async fn lock_holders(conn: &mut PgConnection, ids: &[Uuid]) -> Answer<Vec<Holder>> {
    const SQL: &str = concat!(
        "SELECT ",
        holder_columns!(),
        " FROM jobs WHERE id = ANY($1) AND ",
        in_unique_index!("jobs"),
        " ORDER BY id FOR NO KEY UPDATE"
    );
    sqlx::query_as(SQL).bind(ids).fetch_all(conn).await
}

pub(super) async fn free_keys(conn: &mut PgConnection, ids: &[Uuid]) -> Answer<()> {
    const SQL: &str =
        "UPDATE jobs SET freed_key = unique_key, unique_key = NULL WHERE id = ANY($1)";
    sqlx::query(SQL).bind(ids).execute(conn).await.map(|_| ())
}

pub(super) async fn insert_edits(
    conn: &mut PgConnection,
    rows: &[(JobId, &NewJob)],
) -> Answer<Vec<Uuid>> {
    const SQL: &str = "INSERT INTO job_edits (id, job_id, tenant_id, at) \
         SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[]) \
         ON CONFLICT DO NOTHING RETURNING id";
    sqlx::query_scalar(SQL)
        .bind(column(rows, |(_, job)| job.id.as_uuid()))
        .bind(column(rows, |(waiting, _)| waiting.as_uuid()))
        .bind(column(rows, |(_, job)| job.tenant.as_uuid()))
        .bind(column(rows, |(_, job)| job.created_at.as_millis()))
        .fetch_all(conn)
        .await
}

pub(super) async fn edits(conn: &mut PgConnection, ids: &[Uuid]) -> Answer<Vec<(Uuid, Uuid)>> {
    const SQL: &str = "SELECT id, job_id FROM job_edits WHERE id = ANY($1)";
    sqlx::query_as(SQL).bind(ids).fetch_all(conn).await
}

pub(super) async fn replace(
    conn: &mut PgConnection,
    rows: &[(JobId, &NewJob, Timestamp)],
) -> Answer<Vec<Uuid>> {
    // The broker looks at it no later than when it was due so far.
    const SQL: &str = "UPDATE jobs SET args = u.args, kind_version = u.kind_version, \
             account = u.account, priority_s = u.priority_s, expires_at = u.expires_at, \
             edits = coalesce(jobs.edits, 0) + 1, run_at = greatest(jobs.run_at, \
                 least(u.run_at, coalesce(jobs.debounced_until, jobs.run_at))) \
         FROM unnest($1::uuid[], $2::text[], $3::int[], $4::uuid[], $5::int[], $6::bigint[], \
             $7::bigint[]) AS u(id, args, kind_version, account, priority_s, expires_at, run_at) \
         WHERE jobs.id = u.id AND jobs.state IN ('open', 'parked') AND jobs.key_until_start \
             AND jobs.token IS NULL \
         RETURNING jobs.id";
    sqlx::query_scalar(SQL)
        .bind(column(rows, |(waiting, ..)| waiting.as_uuid()))
        .bind(column(rows, |(_, job, _)| job.args.as_str()))
        .bind(column(rows, |(_, job, _)| i32::from(job.kind_version)))
        .bind(column(rows, |(_, job, _)| job.account))
        .bind(column(rows, |(_, job, _)| number(job.priority_s)))
        .bind(column(rows, |(_, job, _)| job.expires_at.as_millis()))
        .bind(column(rows, |(.., run_at)| run_at.as_millis()))
        .fetch_all(conn)
        .await
}

pub(super) async fn settle(
    conn: &mut PgConnection,
    rows: &[SettledRow],
) -> Answer<Vec<(Uuid, bool)>> {
    const SQL: &str = "UPDATE jobs SET state = u.state, token = u.token, settled = true, crashes = 0, \
             finished_at = u.finished_at, run_at = coalesce(u.run_at, jobs.run_at), \
             failed_attempts = coalesce(u.failed_attempts, jobs.failed_attempts), \
             parked_for = u.parked_for \
         FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::bigint[], $5::bigint[], \
             $6::int[], $7::text[]) AS u(id, token, state, finished_at, run_at, \
             failed_attempts, parked_for) \
         WHERE jobs.id = u.id AND jobs.state IN ('open', 'parked') \
             AND (jobs.token IS NULL OR (jobs.token = u.token AND NOT jobs.settled)) \
         RETURNING jobs.id, jobs.waited_on";
    sqlx::query_as(SQL)
        .bind(column(rows, |row| row.id))
        .bind(column(rows, |row| row.token))
        .bind(column(rows, |row| row.state))
        .bind(column(rows, |row| row.finished_at))
        .bind(column(rows, |row| row.run_at))
        .bind(column(rows, |row| row.failed_attempts))
        .bind(column(rows, |row| row.parked_for))
        .fetch_all(conn)
        .await
}

pub(super) async fn stamp(
    conn: &mut PgConnection,
    claims: &[(Uuid, i64)],
    now: i64,
) -> Answer<Vec<(Uuid, i32)>> {
    const SQL: &str = concat!(
        "UPDATE jobs SET token = u.token, settled = false \
         FROM unnest($1::uuid[], $2::bigint[]) AS u(id, token) \
         WHERE jobs.id = u.id AND jobs.state = 'open' AND jobs.run_at <= $3 \
             AND (jobs.token IS NULL OR jobs.token < u.token) AND NOT ",
        reserved!("$3"),
        " RETURNING jobs.id, jobs.failed_attempts"
    );
    sqlx::query_as(SQL)
        .bind(column(claims, |(id, _)| *id))
        .bind(column(claims, |(_, token)| *token))
        .bind(now)
        .fetch_all(conn)
        .await
}

pub(super) async fn crashed(conn: &mut PgConnection, claims: &[(Uuid, i64)]) -> Answer<()> {
    const SQL: &str = "UPDATE jobs SET crashes = jobs.crashes + 1, crashed_token = u.token, \
             crash_withdrawn = false \
         FROM unnest($1::uuid[], $2::bigint[]) AS u(id, token) \
         WHERE jobs.id = u.id AND jobs.state = 'open' \
             AND (jobs.crashed_token IS NULL OR jobs.crashed_token < u.token) \
             AND (jobs.token IS NULL OR jobs.token < u.token \
                 OR (jobs.token = u.token AND NOT jobs.settled))";
    sqlx::query(SQL)
        .bind(column(claims, |(id, _)| *id))
        .bind(column(claims, |(_, token)| *token))
        .execute(conn)
        .await
        .map(|_| ())
}

pub(super) async fn absolve(conn: &mut PgConnection, claims: &[(Uuid, i64)]) -> Answer<()> {
    const SQL: &str = "UPDATE jobs SET crashes = jobs.crashes - 1, crash_withdrawn = true \
         FROM unnest($1::uuid[], $2::bigint[]) AS u(id, token) \
         WHERE jobs.id = u.id AND jobs.crashed_token = u.token AND NOT jobs.crash_withdrawn \
             AND jobs.crashes > 0";
    sqlx::query(SQL)
        .bind(column(claims, |(id, _)| *id))
        .bind(column(claims, |(_, token)| *token))
        .execute(conn)
        .await
        .map(|_| ())
}

pub(super) async fn fences(conn: &mut PgConnection, ids: &[Uuid]) -> Answer<Vec<Fence>> {
    const SQL: &str = concat!(
        "SELECT id, state, token, settled, moved_token, run_at, failed_attempts, crashes, ",
        edit_columns!(),
        ", ",
        reserved_until!(),
        " AS reserved_until FROM jobs WHERE id = ANY($1)"
    );
    sqlx::query_as(SQL).bind(ids).fetch_all(conn).await
}

pub(super) async fn about(
    conn: &mut PgConnection,
    ids: &[Uuid],
) -> Answer<Vec<(Uuid, String, Option<Uuid>)>> {
    const SQL: &str = "SELECT id, kind, account FROM jobs WHERE id = ANY($1)";
    sqlx::query_as(SQL).bind(ids).fetch_all(conn).await
}

pub(super) async fn insert_attempts(conn: &mut PgConnection, rows: &[AttemptRow]) -> Answer<()> {
    const SQL: &str = "INSERT INTO attempts \
             (job_id, token, n, started_at, ended_at, outcome, error, worker) \
         SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::int[], $4::bigint[], $5::bigint[], \
             $6::text[], $7::text[], $8::text[]) \
         ON CONFLICT DO NOTHING";
    sqlx::query(SQL)
        .bind(column(rows, |row| row.job_id))
        .bind(column(rows, |row| row.token))
        .bind(column(rows, |row| row.n))
        .bind(column(rows, |row| row.started_at))
        .bind(column(rows, |row| row.ended_at))
        .bind(column(rows, |row| row.outcome.as_str()))
        .bind(column(rows, |row| row.error.as_str()))
        .bind(column(rows, |row| row.worker.as_str()))
        .execute(conn)
        .await
        .map(|_| ())
}

pub(super) async fn insert_letters(conn: &mut PgConnection, rows: &[LetterRow]) -> Answer<()> {
    const SQL: &str = "INSERT INTO dead_letters (job_id, kind, queue, category, class, message, \
             fingerprint, attempts, created_at, died_at, tenant_id) \
         SELECT jobs.id, jobs.kind, jobs.queue, u.category, u.class, u.message, u.fingerprint, \
             u.attempts, jobs.created_at, u.died_at, jobs.tenant_id \
         FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::int[], \
             $7::bigint[]) AS u(id, category, class, message, fingerprint, attempts, died_at) \
         JOIN jobs ON jobs.id = u.id \
         ON CONFLICT DO NOTHING";
    sqlx::query(SQL)
        .bind(column(rows, |row| row.job_id))
        .bind(column(rows, |row| row.category))
        .bind(column(rows, |row| row.class.as_str()))
        .bind(column(rows, |row| row.message.as_str()))
        .bind(column(rows, |row| row.fingerprint.as_str()))
        .bind(column(rows, |row| row.attempts))
        .bind(column(rows, |row| row.died_at))
        .execute(conn)
        .await
        .map(|_| ())
}
