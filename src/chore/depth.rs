//! How much is in each queue: what the broker holds, and what waits in the ledger only.

use std::time::Duration;

use crate::broker::{self, Broker, Depth};
use crate::job::{Queue, Timestamp};
use crate::ledger::{self, Ledger};
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
    add_backlogs(&mut depths, ledger, queues, now).await?;
    Ok(depths)
}

/// The same, of the queues that the broker can be asked about: a node that is away takes its own along,
/// and no others.
///
/// # Errors
/// As [`depths`].
pub(super) async fn depths_as_far_as_known<'q>(
    broker: &dyn Broker,
    ledger: &dyn Ledger,
    queues: &'q [Queue],
    now: Timestamp,
) -> Result<Vec<(&'q Queue, Depth)>, DepthError> {
    match depths(broker, ledger, queues, now).await {
        Err(DepthError::Broker(broker::Error::NodeAway(_))) => {}
        all => return Ok(queues.iter().zip(all?).collect()),
    }
    let mut known = Vec::with_capacity(queues.len());
    for queue in queues {
        match depths(broker, ledger, std::slice::from_ref(queue), now).await {
            Err(DepthError::Broker(broker::Error::NodeAway(_))) => {}
            one => known.extend(one?.into_iter().map(|depth| (queue, depth))),
        }
    }
    Ok(known)
}

/// How many jobs are due and unclaimed, in all these queues together, and how long the oldest has
/// waited. Counts in the ledger only if the broker holds fewer than `enough`, and only as far as
/// the ledger counts in good time; so there may be more, but not fewer.
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
    let ready = |depths: &[Depth]| depths.iter().map(|depth| depth.ready).sum::<u64>();
    let mut depths = broker.depth(queues).await?;
    if ready(&depths) < enough {
        // Without the ledger, what the broker holds waits all the same.
        let counted = add_backlogs(&mut depths, ledger, queues, now);
        let _ = tokio::time::timeout(COUNT_MAX, counted).await;
    }
    let oldest = depths.iter().map(|depth| depth.oldest_ready_age).max().unwrap_or_default();
    Ok((ready(&depths), oldest))
}

async fn add_backlogs(
    depths: &mut [Depth],
    ledger: &dyn Ledger,
    queues: &[Queue],
    now: Timestamp,
) -> Result<(), ledger::Error> {
    for (queue, depth) in queues.iter().zip(depths).filter(|(_, depth)| depth.beyond) {
        let backlog = ledger.backlog(queue, now, now.after(BROKER_HORIZON)).await?;
        // Jobs that only the broker has are in its figures alone.
        depth.ready = depth.ready.max(backlog.due.saturating_sub(depth.running));
        depth.delayed = depth.delayed.max(backlog.later);
    }
    Ok(())
}
