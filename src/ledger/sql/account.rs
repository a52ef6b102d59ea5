//! Ends the jobs of an account that is given up.

use sqlx::QueryBuilder;
use uuid::Uuid;

use super::SqlLedger;
use super::stored::nonsense;
use crate::job::{JobId, Queue, Timestamp};
use crate::ledger::{Error, Tx};
use crate::on_tx;

type Row = (Uuid, String);

impl SqlLedger {
    /// The live jobs among these, and at most `limit` of the account's that are parked or publish
    /// nothing, each with its queue. There is no index of the publishing ones by account: whoever
    /// knows the publications knows their jobs. All stay live until the transaction ends, unless it
    /// ends them itself; those that somebody works on just now are left out.
    pub async fn live_of_account_in(
        tx: &mut Tx,
        account: Uuid,
        ids: &[JobId],
        limit: u32,
    ) -> Result<Vec<(JobId, Queue)>, Error> {
        macro_rules! of_account {
            ($lock:literal) => {
                [
                    concat!(
                        "SELECT id, queue FROM jobs WHERE account = $1 AND account IS NOT NULL \
                         AND kind <> 'post_publication' AND finished_at IS NULL \
                         AND state IN ('open', 'parked') LIMIT $2",
                        $lock
                    ),
                    concat!(
                        "SELECT id, queue FROM jobs WHERE account = $1 AND state = 'parked' \
                         LIMIT $2",
                        $lock
                    ),
                ]
            };
        }
        let (lock, of_account) = match tx {
            Tx::Postgres(_) => (" FOR UPDATE SKIP LOCKED", of_account!(" FOR UPDATE SKIP LOCKED")),
            Tx::Sqlite(_) => ("", of_account!("")),
        };
        let mut rows: Vec<Row> = Vec::new();
        for sql in of_account {
            let found: Vec<Row> = on_tx!(&mut *tx, conn => {
                sqlx::query_as(sql).bind(account).bind(i64::from(limit)).fetch_all(conn).await
            })?;
            rows.extend(found);
        }
        if !ids.is_empty() {
            let found: Vec<Row> = on_tx!(tx, conn => {
                let mut query = QueryBuilder::new(
                    "SELECT id, queue FROM jobs WHERE state IN ('open', 'parked') AND id IN (",
                );
                let mut list = query.separated(", ");
                for id in ids {
                    list.push_bind(id.as_uuid());
                }
                query.push(")").push(lock).build_query_as().fetch_all(conn).await
            })?;
            rows.extend(found);
        }
        // A parked job may have been found twice.
        rows.sort_unstable();
        rows.dedup();
        rows.into_iter()
            .map(|(id, queue)| Ok((JobId::from_uuid(id), Queue::parse(&queue).map_err(nonsense)?)))
            .collect()
    }

    /// Ends live jobs, as a person does.
    pub async fn cancel_in(tx: &mut Tx, ids: &[JobId], now: Timestamp) -> Result<(), Error> {
        const SQL: &str = "UPDATE jobs SET state = 'cancelled', finished_at = $2, \
                 parked_for = NULL \
             WHERE id = $1 AND state IN ('open', 'parked')";
        for id in ids {
            on_tx!(&mut *tx, conn => {
                sqlx::query(SQL)
                    .bind(id.as_uuid())
                    .bind(now.as_millis())
                    .execute(conn)
                    .await
                    .map(drop)
            })?;
        }
        Ok(())
    }
}
