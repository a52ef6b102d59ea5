//! Batches on SQLite: a batch is one JSON text, ids are written in hexadecimal.

use serde::Serialize;
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::batch::{AttemptRow, LetterRow, SettledRow};
use super::generation::{reserved, reserved_until};
use super::keys::{Holder, holder_columns, in_unique_index};
use super::stored::{Fence, Marks, edit_columns};
use crate::job::{JobId, NewJob, Timestamp};

type Answer<T> = Result<T, sqlx::Error>;

/// A batch as JSON: an array with one element a row.
fn json<'a, R, T: Serialize>(rows: &'a [R], of: impl Fn(&'a R) -> T) -> Answer<String> {
    let rows: Vec<T> = rows.iter().map(of).collect();
    serde_json::to_string(&rows).map_err(|error| sqlx::Error::Encode(Box::new(error)))
}

fn hex(id: Uuid) -> String {
    id.simple().to_string()
}

fn ids_json(ids: &[Uuid]) -> Answer<String> {
    json(ids, |id| hex(*id))
}

pub(super) async fn insert(conn: &mut SqliteConnection, jobs: &[&NewJob]) -> Answer<Vec<Uuid>> {
    // "WHERE true" keeps the parser from taking ON for a join's.
    const SQL: &str = "INSERT INTO jobs (id, kind, kind_version, queue, args, failed_attempts, \
             max_attempts, priority_s, unique_key, account, run_at, created_at, expires_at, \
             traceparent, tenant_id, key_until_start, key_until, debounced_until) \
         SELECT unhex(value ->> 0), value ->> 1, value ->> 2, value ->> 3, value ->> 4, \
             value ->> 5, value ->> 6, value ->> 7, value ->> 8, unhex(value ->> 9), \
             value ->> 10, value ->> 11, value ->> 12, value ->> 13, unhex(value ->> 14), \
             value ->> '$[15][0]', value ->> '$[15][1]', value ->> '$[15][2]' \
         FROM json_each($1) WHERE true \
         ON CONFLICT DO NOTHING RETURNING id";
    let rows = json(jobs, |job| {
        let Marks { key_until_start, key_until, debounced_until } = job.uniqueness.into();
        (
            hex(job.id.as_uuid()),
            job.kind.as_str(),
            job.kind_version,
            job.queue.as_str(),
            job.args.as_str(),
            job.failed_attempts,
            job.max_attempts,
            job.priority_s,
            job.unique_key.as_deref(),
            job.account.map(hex),
            job.run_at.as_millis(),
            job.created_at.as_millis(),
            job.expires_at.as_millis(),
            job.trace,
            hex(job.tenant.as_uuid()),
            (key_until_start, key_until, debounced_until),
        )
    })?;
    sqlx::query_scalar(SQL).bind(rows).fetch_all(conn).await
}

pub(super) async fn present(conn: &mut SqliteConnection, ids: &[Uuid]) -> Answer<Vec<Uuid>> {
    const SQL: &str = "SELECT id FROM jobs WHERE id IN (SELECT unhex(value) FROM json_each($1))";
    sqlx::query_scalar(SQL).bind(ids_json(ids)?).fetch_all(conn).await
}

pub(super) async fn holders(
    conn: &mut SqliteConnection,
    keys: &[(Uuid, &str, &str)],
) -> Answer<Vec<Holder>> {
    const SQL: &str = concat!(
        "SELECT ",
        holder_columns!(),
        " FROM (SELECT unhex(value ->> 0) AS tenant_id, value ->> 1 AS kind, \
             value ->> 2 AS unique_key FROM json_each($1)) AS u \
         CROSS JOIN jobs ON jobs.kind = u.kind AND jobs.unique_key = u.unique_key \
             AND jobs.tenant_id = u.tenant_id \
         WHERE ",
        in_unique_index!("jobs")
    );
    sqlx::query_as(SQL)
        .bind(json(keys, |(tenant, kind, key)| (hex(*tenant), *kind, *key))?)
        .fetch_all(conn)
        .await
}

pub(super) async fn lock_holders(conn: &mut SqliteConnection, ids: &[Uuid]) -> Answer<Vec<Holder>> {
    // The only transaction that writes has all the locks there are.
    const SQL: &str = concat!(
        "SELECT ",
        holder_columns!(),
        " FROM jobs WHERE id IN (SELECT unhex(value) FROM json_each($1)) AND ",
        in_unique_index!("jobs")
    );
    sqlx::query_as(SQL).bind(ids_json(ids)?).fetch_all(conn).await
}

pub(super) async fn free_keys(conn: &mut SqliteConnection, ids: &[Uuid]) -> Answer<()> {
    const SQL: &str = "UPDATE jobs SET freed_key = unique_key, unique_key = NULL \
         WHERE id IN (SELECT unhex(value) FROM json_each($1))";
    sqlx::query(SQL).bind(ids_json(ids)?).execute(conn).await.map(|_| ())
}

pub(super) async fn insert_edits(
    conn: &mut SqliteConnection,
    rows: &[(JobId, &NewJob)],
) -> Answer<Vec<Uuid>> {
    const SQL: &str = "INSERT INTO job_edits (id, job_id, tenant_id, at) \
         SELECT unhex(value ->> 0), unhex(value ->> 1), unhex(value ->> 2), value ->> 3 \
         FROM json_each($1) WHERE true ON CONFLICT DO NOTHING RETURNING id";
    let rows = json(rows, |(waiting, job)| {
        let (id, waiting) = (hex(job.id.as_uuid()), hex(waiting.as_uuid()));
        (id, waiting, hex(job.tenant.as_uuid()), job.created_at.as_millis())
    })?;
    sqlx::query_scalar(SQL).bind(rows).fetch_all(conn).await
}

pub(super) async fn edits(conn: &mut SqliteConnection, ids: &[Uuid]) -> Answer<Vec<(Uuid, Uuid)>> {
    const SQL: &str =
        "SELECT id, job_id FROM job_edits WHERE id IN (SELECT unhex(value) FROM json_each($1))";
    sqlx::query_as(SQL).bind(ids_json(ids)?).fetch_all(conn).await
}

pub(super) async fn replace(
    conn: &mut SqliteConnection,
    rows: &[(JobId, &NewJob, Timestamp)],
) -> Answer<Vec<Uuid>> {
    // The broker looks at it no later than when it was due so far.
    const SQL: &str = "UPDATE jobs SET args = u.args, kind_version = u.kind_version, \
             account = u.account, priority_s = u.priority_s, expires_at = u.expires_at, \
             edits = coalesce(jobs.edits, 0) + 1, run_at = max(jobs.run_at, \
                 min(u.run_at, coalesce(jobs.debounced_until, jobs.run_at))) \
         FROM (SELECT unhex(value ->> 0) AS id, value ->> 1 AS args, value ->> 2 AS kind_version, \
             unhex(value ->> 3) AS account, value ->> 4 AS priority_s, value ->> 5 AS expires_at, \
             value ->> 6 AS run_at FROM json_each($1)) AS u \
         WHERE jobs.id = u.id AND jobs.state IN ('open', 'parked') AND jobs.key_until_start \
             AND jobs.token IS NULL \
         RETURNING id";
    let rows = json(rows, |(waiting, job, run_at)| {
        (
            hex(waiting.as_uuid()),
            job.args.as_str(),
            job.kind_version,
            job.account.map(hex),
            job.priority_s,
            job.expires_at.as_millis(),
            run_at.as_millis(),
        )
    })?;
    sqlx::query_scalar(SQL).bind(rows).fetch_all(conn).await
}

pub(super) async fn settle(
    conn: &mut SqliteConnection,
    rows: &[SettledRow],
) -> Answer<Vec<(Uuid, bool)>> {
    const SQL: &str = "UPDATE jobs SET state = u.state, token = u.token, settled = true, crashes = 0, \
             finished_at = u.finished_at, run_at = coalesce(u.run_at, jobs.run_at), \
             failed_attempts = coalesce(u.failed_attempts, jobs.failed_attempts), \
             parked_for = u.parked_for \
         FROM (SELECT unhex(value ->> 0) AS id, value ->> 1 AS token, value ->> 2 AS state, \
             value ->> 3 AS finished_at, value ->> 4 AS run_at, value ->> 5 AS failed_attempts, \
             value ->> 6 AS parked_for FROM json_each($1)) AS u \
         WHERE jobs.id = u.id AND jobs.state IN ('open', 'parked') \
             AND (jobs.token IS NULL OR (jobs.token = u.token AND NOT jobs.settled)) \
         RETURNING id, waited_on";
    let rows = json(rows, |row| {
        (
            hex(row.id),
            row.token,
            row.state,
            row.finished_at,
            row.run_at,
            row.failed_attempts,
            row.parked_for,
        )
    })?;
    sqlx::query_as(SQL).bind(rows).fetch_all(conn).await
}

pub(super) async fn stamp(
    conn: &mut SqliteConnection,
    claims: &[(Uuid, i64)],
    now: i64,
) -> Answer<Vec<(Uuid, i32)>> {
    const SQL: &str = concat!(
        "UPDATE jobs SET token = u.token, settled = false \
         FROM (SELECT unhex(value ->> 0) AS id, value ->> 1 AS token FROM json_each($1)) AS u \
         WHERE jobs.id = u.id AND jobs.state = 'open' AND jobs.run_at <= $2 \
             AND (jobs.token IS NULL OR jobs.token < u.token) AND NOT ",
        reserved!("$2"),
        " RETURNING id, failed_attempts"
    );
    let claims = json(claims, |(id, token)| (hex(*id), *token))?;
    sqlx::query_as(SQL).bind(claims).bind(now).fetch_all(conn).await
}

pub(super) async fn crashed(conn: &mut SqliteConnection, claims: &[(Uuid, i64)]) -> Answer<()> {
    const SQL: &str = "UPDATE jobs SET crashes = jobs.crashes + 1, crashed_token = u.token, \
             crash_withdrawn = false \
         FROM (SELECT unhex(value ->> 0) AS id, value ->> 1 AS token FROM json_each($1)) AS u \
         WHERE jobs.id = u.id AND jobs.state = 'open' \
             AND (jobs.crashed_token IS NULL OR jobs.crashed_token < u.token) \
             AND (jobs.token IS NULL OR jobs.token < u.token \
                 OR (jobs.token = u.token AND NOT jobs.settled))";
    let claims = json(claims, |(id, token)| (hex(*id), *token))?;
    sqlx::query(SQL).bind(claims).execute(conn).await.map(|_| ())
}

pub(super) async fn absolve(conn: &mut SqliteConnection, claims: &[(Uuid, i64)]) -> Answer<()> {
    const SQL: &str = "UPDATE jobs SET crashes = jobs.crashes - 1, crash_withdrawn = true \
         FROM (SELECT unhex(value ->> 0) AS id, value ->> 1 AS token FROM json_each($1)) AS u \
         WHERE jobs.id = u.id AND jobs.crashed_token = u.token AND NOT jobs.crash_withdrawn \
             AND jobs.crashes > 0";
    let claims = json(claims, |(id, token)| (hex(*id), *token))?;
    sqlx::query(SQL).bind(claims).execute(conn).await.map(|_| ())
}

pub(super) async fn fences(conn: &mut SqliteConnection, ids: &[Uuid]) -> Answer<Vec<Fence>> {
    const SQL: &str = concat!(
        "SELECT id, state, token, settled, moved_token, run_at, failed_attempts, crashes, ",
        edit_columns!(),
        ", ",
        reserved_until!(),
        " AS reserved_until FROM jobs WHERE id IN (SELECT unhex(value) FROM json_each($1))"
    );
    sqlx::query_as(SQL).bind(ids_json(ids)?).fetch_all(conn).await
}

pub(super) async fn about(
    conn: &mut SqliteConnection,
    ids: &[Uuid],
) -> Answer<Vec<(Uuid, String, Option<Uuid>)>> {
    const SQL: &str =
        "SELECT id, kind, account FROM jobs WHERE id IN (SELECT unhex(value) FROM json_each($1))";
    sqlx::query_as(SQL).bind(ids_json(ids)?).fetch_all(conn).await
}

pub(super) async fn insert_attempts(
    conn: &mut SqliteConnection,
    rows: &[AttemptRow],
) -> Answer<()> {
    const SQL: &str = "INSERT INTO attempts \
             (job_id, token, n, started_at, ended_at, outcome, error, worker) \
         SELECT unhex(value ->> 0), value ->> 1, value ->> 2, value ->> 3, value ->> 4, \
             value ->> 5, value ->> 6, value ->> 7 \
         FROM json_each($1) WHERE true ON CONFLICT DO NOTHING";
    let rows = json(rows, |row| {
        (
            hex(row.job_id),
            row.token,
            row.n,
            row.started_at,
            row.ended_at,
            row.outcome.as_str(),
            row.error.as_str(),
            row.worker.as_str(),
        )
    })?;
    sqlx::query(SQL).bind(rows).execute(conn).await.map(|_| ())
}

pub(super) async fn insert_letters(conn: &mut SqliteConnection, rows: &[LetterRow]) -> Answer<()> {
    const SQL: &str = "INSERT INTO dead_letters (job_id, kind, queue, category, class, message, \
             fingerprint, attempts, created_at, died_at) \
         SELECT jobs.id, jobs.kind, jobs.queue, value ->> 1, value ->> 2, value ->> 3, \
             value ->> 4, value ->> 5, jobs.created_at, value ->> 6 \
         FROM json_each($1) CROSS JOIN jobs ON jobs.id = unhex(value ->> 0) \
         WHERE true ON CONFLICT DO NOTHING";
    let rows = json(rows, |row| {
        (
            hex(row.job_id),
            row.category,
            row.class.as_str(),
            row.message.as_str(),
            row.fingerprint.as_str(),
            row.attempts,
            row.died_at,
        )
    })?;
    sqlx::query(SQL).bind(rows).execute(conn).await.map(|_| ())
}
