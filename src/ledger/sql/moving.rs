//! Moves jobs to another time, in the transaction of whoever's rows call for it.
//!
//! A move takes the job out of the hands of whoever runs it: his claim counts as settled, so that
//! neither an intent nor a verdict of his is recorded afterwards. The next claim has a greater token,
//! and learns the new time when it is stamped.

use sqlx::FromRow;
use uuid::Uuid;

use super::SqlLedger;
use super::stored::{nonsense, state};
use crate::job::{JobId, Queue, State, Timestamp, Token};
use crate::ledger::{Error, Tx};
use crate::on_tx;

/// What a job's times are to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobMove {
    /// When it is due; `None` leaves that as it is.
    pub run_at: Option<Timestamp>,
    /// It is of no use after this.
    pub expires_at: Timestamp,
}

/// What became of a move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobMoved {
    /// It waits for its new time, in this queue.
    Moved(Queue),
    /// It has ended: nothing was changed.
    Ended(State),
    /// There is no such job.
    Unknown,
}

#[derive(Debug, FromRow)]
struct Times {
    state: String,
    queue: String,
    run_at: i64,
    kept_until: Option<i64>,
}

impl SqlLedger {
    /// Moves a live job. One that is parked stays so, and is looked at when it expires at the latest;
    /// how long it is kept for a person is left as it is.
    ///
    /// # Errors
    /// After an error the transaction must be rolled back.
    pub async fn move_in(tx: &mut Tx, id: JobId, to: JobMove) -> Result<JobMoved, Error> {
        const SQLITE: &str = "SELECT state, queue, run_at, kept_until FROM jobs WHERE id = $1";
        const POSTGRES: &str =
            "SELECT state, queue, run_at, kept_until FROM jobs WHERE id = $1 FOR UPDATE";
        const MOVE: &str = "UPDATE jobs SET run_at = $2, expires_at = $3, settled = true, \
                 moved_token = CASE WHEN settled THEN moved_token ELSE token END \
             WHERE id = $1";
        let sql = match tx {
            Tx::Postgres(_) => POSTGRES,
            Tx::Sqlite(_) => SQLITE,
        };
        let found: Option<Times> = on_tx!(&mut *tx, conn => {
            sqlx::query_as(sql).bind(id.as_uuid()).fetch_optional(conn).await
        })?;
        let Some(held) = found else { return Ok(JobMoved::Unknown) };
        let mut expires_at = to.expires_at.as_millis();
        let run_at = match state(&held.state)? {
            ended if ended.has_ended() => return Ok(JobMoved::Ended(ended)),
            State::Parked => {
                let look = held.run_at.min(expires_at);
                expires_at = expires_at.max(held.kept_until.unwrap_or(expires_at));
                look
            }
            _ => to.run_at.map_or(held.run_at, Timestamp::as_millis).min(expires_at),
        };
        on_tx!(tx, conn => sqlx::query(MOVE)
            .bind(id.as_uuid())
            .bind(run_at)
            .bind(expires_at)
            .execute(conn)
            .await
            .map(drop))?;
        Ok(JobMoved::Moved(Queue::parse(&held.queue).map_err(nonsense)?))
    }

    /// Lets a job be of use until then, if this claim has it; answers whether it has. That stays true
    /// until the transaction ends, as with [`holds_in`](Self::holds_in).
    pub async fn expires_in(
        tx: &mut Tx,
        id: JobId,
        token: Token,
        at: Timestamp,
    ) -> Result<bool, Error> {
        const SQL: &str = "UPDATE jobs SET expires_at = $3 \
             WHERE id = $1 AND token = $2 AND NOT settled AND state = 'open' RETURNING id";
        let held: Option<Uuid> = on_tx!(tx, conn => {
            sqlx::query_scalar(SQL)
                .bind(id.as_uuid())
                .bind(token.rank())
                .bind(at.as_millis())
                .fetch_optional(conn)
                .await
        })?;
        Ok(held.is_some())
    }
}
