//! The two numbers that fence out the past: a claim's token and a queue's generation.

use std::collections::HashMap;

use uuid::Uuid;

use super::batch;
use super::stored::{Fence, nonsense, state};
use crate::job::{JobId, Queue, State, Timestamp, Token};
use crate::ledger::{Db, Error, Standing};
use crate::on_tx;

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
    claims.iter().map(|(id, token)| standing(fences.get(&id.as_uuid()), *token)).collect()
}

/// What a claim may do, from the row as it is after the stamping.
fn standing(fence: Option<&Fence>, token: Token) -> Result<Standing, Error> {
    let Some(fence) = fence else { return Ok(Standing::Unknown) };
    let rank = token.rank();
    Ok(match state(&fence.state)? {
        State::Parked => Standing::Parked,
        ended if ended.has_ended() => Standing::Ended(ended),
        _ if fence.token == Some(rank) && !fence.settled => {
            Standing::Yours { failed_attempts: fence.failed_attempts(), crashes: fence.crashes() }
        }
        _ if fence.token >= Some(rank) => Standing::Superseded,
        // The token was not written, so the job was not due.
        _ => Standing::NotYet(Timestamp::from_millis(fence.run_at)),
    })
}

/// The queue's next generation: greater than every one before and than `held`.
pub(super) async fn next_generation(
    db: &Db,
    queue: &Queue,
    held: Option<u32>,
) -> Result<u32, Error> {
    const SQL: &str = "INSERT INTO generations (queue, generation) VALUES ($1, $2 + 1) \
         ON CONFLICT (queue) DO UPDATE SET generation = 1 + CASE \
             WHEN generations.generation > $2 THEN generations.generation ELSE $2 END \
         RETURNING generation";
    let held = i64::from(held.unwrap_or(0));
    let mut tx = db.begin().await?;
    let generation: i64 = on_tx!(&mut tx, conn => {
        sqlx::query_scalar(SQL).bind(queue.as_str()).bind(held).fetch_one(conn).await
    })?;
    tx.commit().await?;
    u32::try_from(generation).map_err(nonsense)
}
