//! Reads live jobs for brokers: in id order, or in the order of their turns.

use uuid::Uuid;

use super::stored::{StoredJob, job_columns};
use crate::job::{JobId, NewJob, Queue, Timestamp, Turn};
use crate::ledger::{Backlog, Db, Error, Page, Span};
use crate::on_db;

/// A due job's place, as the index spells it.
macro_rules! place {
    () => {
        "run_at - priority_s * 1000"
    };
}

/// The due jobs of a span: $1 queue, $2 now, $3 and $4 from, $5 and $6 until.
///
/// The bounds of the place alone say nothing new; SQLite finds the index by them.
macro_rules! due {
    () => {
        concat!(
            " FROM jobs WHERE queue = $1 AND state = 'open' AND run_at <= $2 AND ",
            place!(),
            " >= $3 AND ",
            place!(),
            " <= $5 AND (",
            place!(),
            ", id) >= ($3, $4) AND (",
            place!(),
            ", id) < ($5, $6) "
        )
    };
}

/// The jobs of a span that are not due yet: as before, and $7 due before.
macro_rules! later {
    () => {
        " FROM jobs WHERE queue = $1 AND state = 'open' AND run_at > created_at \
             AND run_at > $2 AND run_at < $7 AND (run_at, id) >= ($3, $4) \
             AND (run_at, id) < ($5, $6) "
    };
}

/// Binds what [`due!`] and [`later!`] ask for.
macro_rules! of_span {
    ($sql:expr, $span:expr) => {{
        let until = $span.until.unwrap_or(LAST);
        sqlx::query_as($sql)
            .bind($span.queue.as_str())
            .bind($span.now.as_millis())
            .bind($span.from.at_ms)
            .bind($span.from.id.as_uuid())
            .bind(until.at_ms)
            .bind(until.id.as_uuid())
            .bind($span.due_before.as_millis())
    }};
}

/// After every job's turn.
const LAST: Turn = Turn { at_ms: i64::MAX, id: JobId::from_uuid(Uuid::max()) };

/// Live jobs that a broker should hold, in id order.
pub(super) async fn open_jobs(
    db: &Db,
    after: Option<JobId>,
    created_before: Timestamp,
    due_before: Timestamp,
    limit: u32,
) -> Result<Page<JobId>, Error> {
    const SQL: &str = concat!(
        "SELECT ",
        job_columns!(),
        " FROM jobs WHERE state = 'open' AND id > $1 AND created_at < $2 AND run_at < $3 \
         ORDER BY id LIMIT $4"
    );
    let after = after.map_or(Uuid::nil(), JobId::as_uuid);
    let rows: Vec<StoredJob> = on_db!(db, pool => {
        sqlx::query_as(SQL)
            .bind(after)
            .bind(created_before.as_millis())
            .bind(due_before.as_millis())
            .bind(i64::from(limit))
            .fetch_all(pool)
            .await
    })?;
    let next = rows.last().filter(|_| rows.len() >= limit as usize).map(StoredJob::id);
    Ok(page(rows, next))
}

/// The live jobs of a span, in the order of their turns.
pub(super) async fn jobs_in_turn(db: &Db, span: Span<'_>, limit: u32) -> Result<Page<Turn>, Error> {
    const DUE: &str = concat!(
        "SELECT ",
        job_columns!(),
        due!(),
        "AND run_at < $7 ORDER BY ",
        place!(),
        ", id LIMIT $8"
    );
    const LATER: &str =
        concat!("SELECT ", job_columns!(), later!(), "ORDER BY run_at, id LIMIT $8");
    let wanted = limit as usize;
    let mut rows: Vec<StoredJob> = Vec::new();
    if let Some(due) = span.due() {
        rows = on_db!(db, pool => {
            of_span!(DUE, due).bind(i64::from(limit)).fetch_all(pool).await
        })?;
    }
    if let Some(later) = span.later().filter(|_| rows.len() < wanted) {
        let left = i64::try_from(wanted - rows.len()).unwrap_or(i64::MAX);
        let more: Vec<StoredJob> = on_db!(db, pool => {
            of_span!(LATER, later).bind(left).fetch_all(pool).await
        })?;
        rows.extend(more);
    }
    let last = rows.last().filter(|_| rows.len() >= wanted);
    let next = last.map(|row| row.turn(span.now).next());
    Ok(page(rows, next))
}

/// The turn of the job that comes after the first `jobs` of a span.
pub(super) async fn turn_after(
    db: &Db,
    span: Span<'_>,
    jobs: usize,
) -> Result<Option<Turn>, Error> {
    const DUE: &str = concat!(
        "SELECT ",
        place!(),
        ", id",
        due!(),
        "AND run_at < $7 ORDER BY ",
        place!(),
        ", id LIMIT 1 OFFSET $8"
    );
    const LATER: &str =
        concat!("SELECT run_at, id", later!(), "ORDER BY run_at, id LIMIT 1 OFFSET $8");
    // As many as are skipped at most: the rest does not matter.
    const COUNT: &str =
        concat!("SELECT count(*) FROM (SELECT 1", due!(), "AND run_at < $7 LIMIT $8) AS due");
    let mut skipped = i64::try_from(jobs).unwrap_or(i64::MAX);
    let mut found: Option<(i64, Uuid)> = None;
    if let Some(due) = span.due() {
        found = on_db!(db, pool => {
            of_span!(DUE, due).bind(skipped).fetch_optional(pool).await
        })?;
        if found.is_none() && span.later().is_some() {
            let (count,): (i64,) = on_db!(db, pool => {
                of_span!(COUNT, due).bind(skipped).fetch_one(pool).await
            })?;
            skipped -= count;
        }
    }
    if let Some(later) = span.later().filter(|_| found.is_none()) {
        found = on_db!(db, pool => {
            of_span!(LATER, later).bind(skipped).fetch_optional(pool).await
        })?;
    }
    Ok(found.map(|(at_ms, id)| Turn { at_ms, id: JobId::from_uuid(id) }))
}

/// The live jobs that fell due after `since` and come before the end of a span.
pub(super) async fn jobs_overtaking(
    db: &Db,
    span: Span<'_>,
    since: Timestamp,
    limit: u32,
) -> Result<Page<Turn>, Error> {
    const SQL: &str = concat!(
        "SELECT ",
        job_columns!(),
        " FROM jobs WHERE queue = $1 AND state = 'open' AND run_at > created_at \
             AND run_at > $7 AND run_at <= $2 AND priority_s > 0 AND (",
        place!(),
        ", id) >= ($3, $4) AND (",
        place!(),
        ", id) < ($5, $6) ORDER BY ",
        place!(),
        ", id LIMIT $8"
    );
    let span = Span { due_before: since, ..span };
    let rows: Vec<StoredJob> = on_db!(db, pool => {
        of_span!(SQL, span).bind(i64::from(limit)).fetch_all(pool).await
    })?;
    let last = rows.last().filter(|_| rows.len() >= limit as usize);
    let next = last.map(|row| row.turn(span.now).next());
    Ok(page(rows, next))
}

/// Counts a queue's live jobs.
pub(super) async fn backlog(
    db: &Db,
    queue: &Queue,
    now: Timestamp,
    due_before: Timestamp,
) -> Result<Backlog, Error> {
    const SQL: &str = "SELECT count(*) FILTER (WHERE run_at <= $2), \
             count(*) FILTER (WHERE run_at > $2) \
         FROM jobs WHERE queue = $1 AND state = 'open' AND run_at < $3";
    let (due, later): (i64, i64) = on_db!(db, pool => {
        sqlx::query_as(SQL)
            .bind(queue.as_str())
            .bind(now.as_millis())
            .bind(due_before.as_millis())
            .fetch_one(pool)
            .await
    })?;
    let count = |number| u64::try_from(number).unwrap_or(0);
    Ok(Backlog { due: count(due), later: count(later) })
}

/// Rows as jobs. One that cannot be read must not keep the others from their workers.
fn page<At>(rows: Vec<StoredJob>, next: Option<At>) -> Page<At> {
    let mut page = Page { jobs: Vec::with_capacity(rows.len()), unreadable: Vec::new(), next };
    for row in rows {
        let id = row.id();
        match NewJob::try_from(row) {
            Ok(job) => page.jobs.push(job),
            Err(error) => page.unreadable.push((id, error)),
        }
    }
    page
}
