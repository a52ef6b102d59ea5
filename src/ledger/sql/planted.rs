//! Deliberate bugs of the ledger, for the fault suite: what its fence is there to prevent.

use std::collections::HashMap;

use uuid::Uuid;

use super::batch::SettledRow;
use super::stored::Fence;
use crate::ledger::{Error, Tx};
use crate::{on_tx, planted};

/// Lets every verdict pass: writes its token over that of whoever claimed the job since.
pub(super) async fn tear_down_fence(tx: &mut Tx, rows: &[SettledRow]) -> Result<(), Error> {
    const SQL: &str = "UPDATE jobs SET token = $2, settled = false \
         WHERE id = $1 AND state IN ('open', 'parked')";
    if planted!(AckWithoutToken) {
        for row in rows {
            on_tx!(&mut *tx, conn => sqlx::query(SQL)
                .bind(row.id)
                .bind(row.token)
                .execute(conn)
                .await
                .map(|_| ()))?;
        }
    }
    Ok(())
}

/// Counts the failed attempt of a verdict that was recorded before.
pub(super) async fn count_again(
    tx: &mut Tx,
    rows: &[SettledRow],
    fences: &HashMap<Uuid, Fence>,
) -> Result<(), Error> {
    const SQL: &str = "UPDATE jobs SET failed_attempts = failed_attempts + 1 WHERE id = $1";
    if planted!(CountLostCommitTwice) {
        let repeated = |row: &&SettledRow| {
            fences.get(&row.id).is_some_and(|held| held.settled && held.token == Some(row.token))
        };
        for row in rows.iter().filter(repeated) {
            on_tx!(&mut *tx, conn => {
                sqlx::query(SQL).bind(row.id).execute(conn).await.map(|_| ())
            })?;
        }
    }
    Ok(())
}
