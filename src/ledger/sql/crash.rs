//! Counts the workers that crashed while they ran a job.
//!
//! A claim is counted once, whoever reports it however often, and taken back once: tokens rise, so
//! the last one that was counted is all that must be remembered.

use super::batch;
use crate::job::{JobId, Token};
use crate::ledger::{Db, Error};

/// Counts crashes of claims that are the latest of their live jobs and have no verdict.
pub(super) async fn count(db: &Db, claims: &[(JobId, Token)]) -> Result<(), Error> {
    let rows = rows(claims);
    if rows.is_empty() {
        return Ok(());
    }
    let mut tx = db.begin().await?;
    batch::crashed(&mut tx, &rows).await?;
    tx.commit().await
}

/// Takes back the counts of these claims.
pub(super) async fn take_back(db: &Db, claims: &[(JobId, Token)]) -> Result<(), Error> {
    let rows = rows(claims);
    if rows.is_empty() {
        return Ok(());
    }
    let mut tx = db.begin().await?;
    batch::absolve(&mut tx, &rows).await?;
    tx.commit().await
}

/// Sorted, since two batches that share jobs must lock them in the same order, and each job once,
/// with its latest claim: an update takes one row for each.
fn rows(claims: &[(JobId, Token)]) -> Vec<(uuid::Uuid, i64)> {
    let mut rows: Vec<_> = claims.iter().map(|(id, token)| (id.as_uuid(), token.rank())).collect();
    rows.sort_unstable_by_key(|&(id, rank)| (id, std::cmp::Reverse(rank)));
    rows.dedup_by_key(|(id, _)| *id);
    rows
}
