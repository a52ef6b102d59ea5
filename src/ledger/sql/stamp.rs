//! The fence against the past: a claim's token, written over smaller ones.

use std::collections::HashMap;

use uuid::Uuid;

use super::batch;
use super::stored::{Fence, state};
use crate::job::{JobId, State, Timestamp, Token};
use crate::ledger::{Db, Error, Standing};

/// Writes claims' tokens over smaller ones; answers what each claimer must know, in order.
pub(super) async fn stamp(
    db: &Db,
    claims: &[(JobId, Token)],
    now: Timestamp,
) -> Result<Vec<Standing>, Error> {
    if claims.is_empty() {
        return Ok(Vec::new());
    }
    let mut greatest: HashMap<Uuid, i64> = HashMap::with_capacity(claims.len());
    for (id, token) in claims {
        let held = greatest.entry(id.as_uuid()).or_insert(token.rank());
        *held = token.rank().max(*held);
    }
    let mut rows: Vec<(Uuid, i64)> = greatest.into_iter().collect();
    // Two batches that share jobs must lock them in the same order.
    rows.sort_unstable();

    let mut tx = db.begin().await?;
    batch::stamp(&mut tx, &rows, now.as_millis()).await?;
    let ids: Vec<Uuid> = rows.iter().map(|(id, _)| *id).collect();
    let fences = batch::fences(&mut tx, &ids).await?;
    tx.commit().await?;
    let fences: HashMap<Uuid, Fence> = fences.into_iter().map(|row| (row.id, row)).collect();
    claims.iter().map(|(id, token)| standing(fences.get(&id.as_uuid()), *token, now)).collect()
}

/// What a claim may do, from the row as it is after the stamping.
fn standing(fence: Option<&Fence>, token: Token, now: Timestamp) -> Result<Standing, Error> {
    let Some(fence) = fence else { return Ok(Standing::Unknown) };
    let rank = token.rank();
    Ok(match state(&fence.state)? {
        State::Parked => Standing::Parked,
        ended if ended.has_ended() => Standing::Ended(ended),
        _ if fence.token == Some(rank) && !fence.settled => Standing::Yours {
            failed_attempts: fence.failed_attempts(),
            crashes: fence.crashes(),
            expires_at: Timestamp::from_millis(fence.expires_at),
            edit: fence.edit()?,
        },
        _ if fence.token >= Some(rank) => Standing::Superseded,
        // The token was not written: the job is not due, or kept for another worker.
        _ => {
            let run_at = Timestamp::from_millis(fence.run_at);
            let kept = fence.reserved_until.map(Timestamp::from_millis);
            let until = kept.filter(|_| run_at <= now).unwrap_or(run_at);
            Standing::NotYet { until, edit: fence.edit()? }
        }
    })
}

/// Whether a verdict of these claims would count now, in order.
pub(super) async fn holds(db: &Db, claims: &[(JobId, Token)]) -> Result<Vec<bool>, Error> {
    if claims.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<Uuid> = claims.iter().map(|(id, _)| id.as_uuid()).collect();
    let mut tx = db.begin().await?;
    let fences = batch::fences(&mut tx, &ids).await?;
    tx.commit().await?;
    let fences: HashMap<Uuid, Fence> = fences.into_iter().map(|row| (row.id, row)).collect();
    claims
        .iter()
        .map(|(id, token)| {
            let Some(fence) = fences.get(&id.as_uuid()) else { return Ok(false) };
            let mine = fence.token == Some(token.rank()) && !fence.settled;
            Ok(!state(&fence.state)?.has_ended() && (fence.token.is_none() || mine))
        })
        .collect()
}
