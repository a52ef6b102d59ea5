//! What a record of effects needs of the jobs' rows, in its own transaction.

use super::SqlLedger;
use crate::job::{JobId, Timestamp, Token};
use crate::ledger::{Error, Tx};
use crate::on_tx;

impl SqlLedger {
    /// Whether this claim has the job: it is live, and nobody has stamped it since or said what
    /// becomes of it. If so, that stays true until the transaction ends.
    ///
    /// Asked in the transaction that records an intent, after the intent's own row is locked: a
    /// run that lost its job, or whose job was cancelled, then records none; and a run that takes
    /// the job over sees the intent.
    pub async fn holds_in(tx: &mut Tx, id: JobId, token: Token) -> Result<bool, Error> {
        const SQLITE: &str = "SELECT 1 FROM jobs \
             WHERE id = $1 AND token = $2 AND NOT settled AND state = 'open'";
        const POSTGRES: &str = "SELECT 1 FROM jobs \
             WHERE id = $1 AND token = $2 AND NOT settled AND state = 'open' FOR SHARE";
        let sql = match tx {
            Tx::Postgres(_) => POSTGRES,
            Tx::Sqlite(_) => SQLITE,
        };
        let held: Option<i32> = on_tx!(tx, conn => {
            sqlx::query_scalar(sql)
                .bind(id.as_uuid())
                .bind(token.rank())
                .fetch_optional(conn)
                .await
        })?;
        Ok(held.is_some())
    }

    /// Completes a dead job whose work turned out to be done, and takes its letter away. Answers
    /// whether the job was dead.
    pub async fn complete_dead_in(tx: &mut Tx, id: JobId, at: Timestamp) -> Result<bool, Error> {
        const COMPLETE: &str = "UPDATE jobs SET state = 'completed', finished_at = $2 \
             WHERE id = $1 AND state = 'dead'";
        const FORGET: &str = "DELETE FROM dead_letters WHERE job_id = $1";
        let completed = on_tx!(&mut *tx, conn => {
            sqlx::query(COMPLETE)
                .bind(id.as_uuid())
                .bind(at.as_millis())
                .execute(conn)
                .await
                .map(|done| done.rows_affected())
        })?;
        if completed > 0 {
            on_tx!(tx, conn => {
                sqlx::query(FORGET).bind(id.as_uuid()).execute(conn).await.map(drop)
            })?;
        }
        Ok(completed > 0)
    }
}
