//! How much is in each queue: what the broker holds, and what waits in the ledger only.

use crate::broker::{self, Broker, Depth};
use crate::job::{Queue, Timestamp};
use crate::ledger::{self, Ledger};
use crate::worker::BROKER_HORIZON;

/// Why the queues' depths cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum DepthError {
    /// The broker.
    #[error(transparent)]
    Broker(#[from] broker::Error),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] ledger::Error),
}

/// How much is in each queue.
///
/// A queue with more jobs than its window is counted in the ledger, which takes a fifth of a
/// second for a million.
///
/// # Errors
/// Broker or ledger do not answer.
pub async fn depths(
    broker: &dyn Broker,
    ledger: &dyn Ledger,
    queues: &[Queue],
    now: Timestamp,
) -> Result<Vec<Depth>, DepthError> {
    let mut depths = broker.depth(queues).await?;
    for (queue, depth) in queues.iter().zip(&mut depths).filter(|(_, depth)| depth.beyond) {
        let backlog = ledger.backlog(queue, now, now.after(BROKER_HORIZON)).await?;
        // Jobs that only the broker has are in its figures alone.
        depth.ready = depth.ready.max(backlog.due.saturating_sub(depth.running));
        depth.delayed = depth.delayed.max(backlog.later);
    }
    Ok(depths)
}
