//! Jobs that wait for a person to connect their account again: for how long, and how that ends. And
//! how it ends for those whose parents take too long.

use std::collections::HashMap;

use sqlx::FromRow;
use uuid::Uuid;

use super::batch::{self, LetterRow};
use super::family::{BEYOND_MS, PARENTS};
use super::stored::{nonsense, plain};
use crate::job::{Category, ErrorClass, Kind, Reason, SnoozeReason, Timestamp};
use crate::ledger::fingerprint::fingerprint;
use crate::ledger::{Error, Next, Tx, Verdict};
use crate::on_tx;
use crate::telemetry::metrics::DEAD_LETTERED;

/// Most jobs that one look ends.
const BATCH: i64 = 500;

/// Makes parked jobs last as long as their verdicts say. Only the first one since a person was here
/// counts: a job that looks again and again must not wait for ever.
pub(super) async fn keep(tx: &mut Tx, counted: &[&Verdict]) -> Result<(), Error> {
    const SQL: &str = "UPDATE jobs SET kept_until = coalesce(kept_until, $2), \
             expires_at = CASE WHEN expires_at < coalesce(kept_until, $2) \
                 THEN coalesce(kept_until, $2) ELSE expires_at END \
         WHERE id = $1";
    for verdict in counted {
        let Next::Parked { kept_until: Some(until), .. } = &verdict.then else { continue };
        on_tx!(&mut *tx, conn => {
            sqlx::query(SQL)
                .bind(verdict.id.as_uuid())
                .bind(until.as_millis())
                .execute(conn)
                .await
                .map(drop)
        })?;
    }
    Ok(())
}

/// How many jobs were ended, by queue, kind and category.
pub(super) type Ended = HashMap<(String, String, Category), u64>;

/// What jobs wait for in vain, how long before the time that their rows name they are ended, and
/// where they are filed then.
const IN_VAIN: [(&str, i64, Category); 2] = [
    (SnoozeReason::NeedsReauth.as_str(), 0, Category::Auth),
    (PARENTS, BEYOND_MS, Category::Expired),
];

#[derive(Debug, FromRow)]
struct Overdue {
    id: Uuid,
    queue: String,
    kind: String,
    account: Option<Uuid>,
    failed_attempts: i32,
    expires_at: i64,
}

/// Ends the jobs that waited until they expired: for a person, and then they are one group of dead
/// letters an account, or for their parents. Left to a worker, each would only be found too old, or
/// would even run without its parents. Answers how many they were.
pub(super) async fn end(tx: &mut Tx, now: Timestamp) -> Result<Ended, Error> {
    let mut ended = Ended::new();
    for (parked_for, ahead_ms, category) in IN_VAIN {
        let due = now.as_millis().saturating_add(ahead_ms);
        for (queue, kind) in end_those(tx, now, parked_for, due, category).await? {
            *ended.entry((queue, kind, category)).or_default() += 1;
        }
    }
    Ok(ended)
}

/// Ends those that wait for this; answers the queue and kind of each.
async fn end_those(
    tx: &mut Tx,
    now: Timestamp,
    parked_for: &'static str,
    due: i64,
    category: Category,
) -> Result<Vec<(String, String)>, Error> {
    macro_rules! overdue {
        ($lock:literal) => {
            concat!(
                "SELECT id, queue, kind, account, failed_attempts, expires_at FROM jobs \
                 WHERE state = 'parked' AND parked_for = $1 AND run_at <= $2 \
                     AND expires_at <= $3 ORDER BY id LIMIT $4",
                $lock
            )
        };
    }
    const END: &str = "UPDATE jobs SET state = 'dead', finished_at = $2, parked_for = NULL \
         WHERE id = $1 AND state = 'parked'";
    let sql = match tx {
        Tx::Postgres(_) => overdue!(" FOR UPDATE SKIP LOCKED"),
        Tx::Sqlite(_) => overdue!(""),
    };
    let rows: Vec<Overdue> = on_tx!(&mut *tx, conn => {
        sqlx::query_as(sql)
            .bind(parked_for)
            .bind(due)
            .bind(now.as_millis())
            .bind(BATCH)
            .fetch_all(conn)
            .await
    })?;
    let mut letters = Vec::with_capacity(rows.len());
    let mut ended = Vec::with_capacity(rows.len());
    for row in rows {
        on_tx!(&mut *tx, conn => {
            sqlx::query(END).bind(row.id).bind(now.as_millis()).execute(conn).await.map(drop)
        })?;
        letters.push(letter(&row, category, now)?);
        ended.push((row.queue, row.kind));
    }
    if !letters.is_empty() {
        batch::insert_letters(tx, &letters).await?;
    }
    Ok(ended)
}

/// Says what was ended, once that is certain.
pub(super) fn tell(ended: &Ended) {
    for ((queue, kind, category), jobs) in ended {
        DEAD_LETTERED.count(&[queue, kind, category.as_str()]).increment(*jobs);
        let what = match category {
            Category::Auth => "their accounts to be connected again",
            _ => "their parents",
        };
        tracing::warn!(queue, jobs, "jobs waited for {what}, and are dead letters now");
    }
}

fn letter(row: &Overdue, category: Category, now: Timestamp) -> Result<LetterRow, Error> {
    let account = row.account.map_or_else(String::new, |id| format!(" {id}"));
    let until = Timestamp::from_millis(row.expires_at);
    let (class, message) = match category {
        Category::Auth => (
            ErrorClass::AuthRevoked.as_str(),
            format!(
                "its account{account} must be connected again, and nobody did so until {until}"
            ),
        ),
        _ => (category.as_str(), format!("expired at {until}, before its parents had ended")),
    };
    let reason = Reason { category, class: class.to_owned(), message };
    let kind = Kind::parse(&row.kind).map_err(nonsense)?;
    Ok(LetterRow {
        job_id: row.id,
        category: reason.category.as_str(),
        fingerprint: fingerprint(&kind, row.account, &reason),
        class: plain(&reason.class),
        message: plain(&reason.message),
        attempts: row.failed_attempts,
        died_at: now.as_millis(),
    })
}
