//! A queue's generation: how often its broker had to be filled anew.

use super::stored::nonsense;
use crate::job::Queue;
use crate::ledger::{Bump, Db, Error};
use crate::{on_db, on_tx};

/// Whether the row of `jobs` is kept for a worker that started it in an earlier generation: that
/// worker may be alive, and about to claim its lease back. A condition of SQL; the argument is the
/// present time as a parameter or column.
///
/// Clocks that differ by more than the reservation void it, rather than keep a job for hours.
/// 2^40 is how many claims a generation has ([`Token::rank`](crate::job::Token::rank)).
macro_rules! reserved {
    ($now:literal) => {
        concat!(
            "EXISTS (SELECT 1 FROM generations WHERE generations.queue = jobs.queue \
             AND NOT jobs.settled AND jobs.token < generations.generation * 1099511627776 \
             AND abs(",
            $now,
            " - generations.opened_at) < generations.reserved_ms)"
        )
    };
}
pub(super) use reserved;

/// What a claim that met a reserved job waits for; NULL if the job is nobody's of an earlier
/// generation.
macro_rules! reserved_until {
    () => {
        "(SELECT opened_at + reserved_ms FROM generations WHERE generations.queue = jobs.queue \
         AND NOT jobs.settled AND jobs.token < generations.generation * 1099511627776)"
    };
}
pub(super) use reserved_until;

/// Who bumped the generation opens the queue within milliseconds. If he died instead, the next
/// one may after this, in milliseconds.
const JUST_NOW_MS: i64 = 500;

/// Bumps the generation, unless somebody else just did.
pub(super) async fn next(db: &Db, queue: &Queue, bump: Bump) -> Result<Option<u32>, Error> {
    // A ledger restored from a backup may be behind the broker, and must overtake it.
    const SQL: &str = "INSERT INTO generations (queue, generation, opened_at, reserved_ms) \
             VALUES ($1, $2 + 1, $3, $4) \
         ON CONFLICT (queue) DO UPDATE SET opened_at = $3, reserved_ms = $4, \
             generation = 1 + CASE \
                 WHEN generations.generation > $2 THEN generations.generation ELSE $2 END \
         WHERE generations.generation <= $2 OR abs($3 - generations.opened_at) >= $5 \
         RETURNING generation";
    let reserved = i64::try_from(bump.reserved.as_millis()).unwrap_or(i64::MAX);
    let mut tx = db.begin().await?;
    let generation: Option<i64> = on_tx!(&mut tx, conn => {
        sqlx::query_scalar(SQL)
            .bind(queue.as_str())
            .bind(i64::from(bump.held.unwrap_or(0)))
            .bind(bump.at.as_millis())
            .bind(reserved)
            .bind(JUST_NOW_MS)
            .fetch_optional(conn)
            .await
    })?;
    tx.commit().await?;
    generation.map(|generation| u32::try_from(generation).map_err(nonsense)).transpose()
}

/// The generation of each queue.
pub(super) async fn all(db: &Db) -> Result<Vec<(Queue, u32)>, Error> {
    const SQL: &str = "SELECT queue, generation FROM generations";
    let rows: Vec<(String, i64)> = on_db!(db, pool => sqlx::query_as(SQL).fetch_all(pool).await)?;
    rows.into_iter()
        .map(|(queue, generation)| {
            let queue = Queue::parse(&queue).map_err(nonsense)?;
            Ok((queue, u32::try_from(generation).map_err(nonsense)?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use crate::job::Token;

    #[test]
    fn the_statements_know_where_a_generation_begins() {
        assert_eq!(Token { generation: 1, sequence: 0 }.rank(), 1_099_511_627_776);
    }
}
