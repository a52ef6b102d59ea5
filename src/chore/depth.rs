//! How much is in each queue: what the broker holds, and what waits in the ledger only.

use std::time::Duration;

use crate::broker::{self, Broker, Depth};
use crate::job::{Queue, Timestamp};
use crate::ledger::{self, Backlog, Ledger};
use crate::worker::BROKER_HORIZON;

/// Longest that [`waiting`] lets the ledger count: some million jobs.
const COUNT_MAX: Duration = Duration::from_secs(1);

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

/// How much is in each queue; `None` for one that the broker cannot be asked about, since the node
/// that holds it is away.
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
) -> Result<Vec<Option<Depth>>, DepthError> {
    let mut depths = broker.depth(queues).await?;
    for (queue, depth) in queues.iter().zip(&mut depths) {
        if let Some(depth) = depth.as_mut().filter(|depth| depth.beyond) {
            add(&backlog(ledger, queue, now).await?, depth);
        }
    }
    Ok(depths)
}

/// How many jobs are due and unclaimed, in all these queues together, and how long the oldest has
/// waited. Counts in the ledger only if the broker holds fewer than `enough`, and only as far as
/// the ledger counts in good time; so there may be more, but not fewer, except for jobs that run in
/// a queue whose node is away: nobody can tell them from those that wait.
///
/// # Errors
/// The broker does not answer.
pub async fn waiting(
    broker: &dyn Broker,
    ledger: &dyn Ledger,
    queues: &[Queue],
    now: Timestamp,
    enough: u64,
) -> Result<(u64, Duration), broker::Error> {
    let depths = broker.depth(queues).await?;
    let known = || depths.iter().flatten();
    let mut ready: Vec<u64> =
        depths.iter().map(|depth| depth.map_or(0, |depth| depth.ready)).collect();
    if ready.iter().sum::<u64>() < enough {
        let counted = async {
            for ((queue, depth), ready) in queues.iter().zip(&depths).zip(&mut ready) {
                if depth.is_some_and(|depth| !depth.beyond) {
                    continue;
                }
                let mut depth = depth.unwrap_or_default();
                add(&backlog(ledger, queue, now).await?, &mut depth);
                *ready = depth.ready;
            }
            Ok::<(), ledger::Error>(())
        };
        // Without the ledger, what the broker holds waits all the same.
        let _ = tokio::time::timeout(COUNT_MAX, counted).await;
    }
    let oldest = known().map(|depth| depth.oldest_ready_age).max().unwrap_or_default();
    Ok((ready.iter().sum(), oldest))
}

async fn backlog(
    ledger: &dyn Ledger,
    queue: &Queue,
    now: Timestamp,
) -> Result<Backlog, ledger::Error> {
    ledger.backlog(queue, now, now.after(BROKER_HORIZON)).await
}

/// Jobs that only the broker has are in its figures alone.
fn add(backlog: &Backlog, depth: &mut Depth) {
    depth.ready = depth.ready.max(backlog.due.saturating_sub(depth.running));
    depth.delayed = depth.delayed.max(backlog.later);
}
