//! Ends jobs by hand, and deletes what ended long ago.

use super::stored::{nonsense, state};
use super::{SqlLedger, dead};
use crate::job::{JobId, Queue, Timestamp};
use crate::ledger::{AuditEntry, Cancel, Db, DeadFilter, Error, Prune, Tx};
use crate::{on_db, on_tx};

/// Ends a live job.
pub(super) async fn cancel(
    db: &Db,
    id: JobId,
    now: Timestamp,
    note: Option<&AuditEntry>,
) -> Result<Cancel, Error> {
    const CANCEL: &str = "UPDATE jobs SET state = 'cancelled', finished_at = $2, \
             parked_for = NULL \
         WHERE id = $1 AND state IN ('open', 'parked') RETURNING queue";
    const LOOK: &str = "SELECT state FROM jobs WHERE id = $1";
    let mut tx = db.begin().await?;
    let queue: Option<String> = on_tx!(&mut tx, conn => {
        sqlx::query_scalar(CANCEL)
            .bind(id.as_uuid())
            .bind(now.as_millis())
            .fetch_optional(conn)
            .await
    })?;
    let answer = match queue {
        Some(queue) => {
            if let Some(note) = note {
                SqlLedger::audit_in(&mut tx, note).await?;
            }
            Cancel::Marked { queue: Queue::parse(&queue).map_err(nonsense)? }
        }
        None => {
            let held: Option<String> = on_tx!(&mut tx, conn => {
                sqlx::query_scalar(LOOK).bind(id.as_uuid()).fetch_optional(conn).await
            })?;
            held.map_or(Ok(Cancel::Unknown), |held| state(&held).map(Cancel::Ended))?
        }
    };
    tx.commit().await?;
    // Others may wait for it; whether any do, whoever tells them looks.
    db.ends().notify_one();
    Ok(answer)
}

/// Ends dead jobs for good.
///
/// They become `cancelled`, the one state that says "ended by a person": `completed` would claim
/// that the work was done, and the cleanup of cancelled jobs takes them in time.
pub(super) async fn discard(
    db: &Db,
    filter: &DeadFilter,
    now: Timestamp,
    note: Option<&AuditEntry>,
) -> Result<u64, Error> {
    const END: &str = "UPDATE jobs SET state = 'cancelled', finished_at = $2 \
         WHERE id = $1 AND state = 'dead'";
    const FORGET: &str = "DELETE FROM dead_letters WHERE job_id = $1";
    let mut tx = db.begin().await?;
    let mut ids = dead::ids(&mut tx, filter).await?;
    // The order in which every other batch locks its rows.
    ids.sort_unstable();
    let mut count = 0;
    for id in ids {
        let ended = on_tx!(&mut tx, conn => sqlx::query(END)
            .bind(id)
            .bind(now.as_millis())
            .execute(conn)
            .await
            .map(|done| done.rows_affected()))?;
        if ended == 1 {
            on_tx!(&mut tx, conn => sqlx::query(FORGET).bind(id).execute(conn).await.map(drop))?;
        }
        count += ended;
    }
    if let Some(note) = note.filter(|_| count > 0) {
        SqlLedger::audit_in(&mut tx, &AuditEntry { count, ..note.clone() }).await?;
    }
    tx.commit().await?;
    db.ends().notify_one();
    Ok(count)
}

/// Deletes rows that ended before a time, or counts them. Attempts and letters go with their job. One
/// whose children were not told of its end stays until they were.
pub(super) async fn prune(
    db: &Db,
    what: Prune,
    before: Timestamp,
    limit: u32,
    dry_run: bool,
) -> Result<u64, Error> {
    let before = before.as_millis();
    if dry_run {
        let count: i64 = on_db!(db, pool => {
            sqlx::query_scalar(count(what)).bind(before).fetch_one(pool).await
        })?;
        return Ok(u64::try_from(count).unwrap_or(0));
    }
    let limit = i64::from(limit);
    let mut tx = db.begin().await?;
    let gone = match &mut tx {
        Tx::Postgres(tx) => {
            let query = sqlx::query(postgres(what)).bind(before).bind(limit);
            query.execute(&mut **tx).await?.rows_affected()
        }
        Tx::Sqlite(tx) => {
            let query = sqlx::query(sqlite(what)).bind(before).bind(limit);
            query.execute(&mut **tx).await?.rows_affected()
        }
    };
    tx.commit().await?;
    Ok(gone)
}

fn count(what: Prune) -> &'static str {
    match what {
        Prune::EndedJobs => {
            "SELECT count(*) FROM jobs \
             WHERE state IN ('completed', 'cancelled') AND finished_at < $1 \
                 AND coalesce(key_until, 0) < $1"
        }
        Prune::Edits => "SELECT count(*) FROM job_edits WHERE at < $1",
        Prune::DeadLetters => "SELECT count(*) FROM dead_letters WHERE died_at < $1",
        Prune::Audit => "SELECT count(*) FROM audit WHERE at < $1",
        Prune::Redrives => {
            "SELECT count(*) FROM redrives WHERE state <> 'running' AND ended_at < $1"
        }
    }
}

/// `SKIP LOCKED` lets several cleanups run side by side. The array makes the planner choose the
/// rows once; a subquery with a limit could be run again for each row.
fn postgres(what: Prune) -> &'static str {
    match what {
        Prune::EndedJobs => {
            "DELETE FROM jobs WHERE id = ANY(ARRAY( \
                 SELECT id FROM jobs \
                 WHERE state IN ('completed', 'cancelled') AND finished_at < $1 AND NOT waited_on \
                     AND coalesce(key_until, 0) < $1 \
                 ORDER BY finished_at LIMIT $2 FOR UPDATE SKIP LOCKED))"
        }
        Prune::DeadLetters => {
            "DELETE FROM jobs WHERE id = ANY(ARRAY( \
                 SELECT jobs.id FROM dead_letters JOIN jobs ON jobs.id = dead_letters.job_id \
                 WHERE dead_letters.died_at < $1 AND jobs.state = 'dead' \
                     AND NOT jobs.waited_on \
                 ORDER BY dead_letters.died_at LIMIT $2 FOR UPDATE OF jobs SKIP LOCKED))"
        }
        Prune::Edits => {
            "DELETE FROM job_edits WHERE id = ANY(ARRAY( \
                 SELECT id FROM job_edits WHERE at < $1 \
                 ORDER BY at LIMIT $2 FOR UPDATE SKIP LOCKED))"
        }
        Prune::Audit => {
            "DELETE FROM audit WHERE id = ANY(ARRAY( \
                 SELECT id FROM audit WHERE at < $1 ORDER BY at LIMIT $2 FOR UPDATE SKIP LOCKED))"
        }
        Prune::Redrives => {
            "DELETE FROM redrives WHERE id = ANY(ARRAY( \
                 SELECT id FROM redrives WHERE state <> 'running' AND ended_at < $1 \
                 ORDER BY ended_at LIMIT $2 FOR UPDATE SKIP LOCKED))"
        }
    }
}

fn sqlite(what: Prune) -> &'static str {
    match what {
        Prune::EndedJobs => {
            "DELETE FROM jobs WHERE id IN ( \
                 SELECT id FROM jobs \
                 WHERE state IN ('completed', 'cancelled') AND finished_at < $1 AND NOT waited_on \
                     AND coalesce(key_until, 0) < $1 \
                 ORDER BY finished_at LIMIT $2)"
        }
        Prune::DeadLetters => {
            "DELETE FROM jobs WHERE id IN ( \
                 SELECT job_id FROM dead_letters JOIN jobs ON jobs.id = job_id \
                 WHERE died_at < $1 AND NOT waited_on ORDER BY died_at LIMIT $2)"
        }
        Prune::Edits => {
            "DELETE FROM job_edits WHERE id IN ( \
                 SELECT id FROM job_edits WHERE at < $1 ORDER BY at LIMIT $2)"
        }
        Prune::Audit => {
            "DELETE FROM audit WHERE id IN ( \
                 SELECT id FROM audit WHERE at < $1 ORDER BY at LIMIT $2)"
        }
        Prune::Redrives => {
            "DELETE FROM redrives WHERE id IN ( \
                 SELECT id FROM redrives WHERE state <> 'running' AND ended_at < $1 \
                 ORDER BY ended_at LIMIT $2)"
        }
    }
}
