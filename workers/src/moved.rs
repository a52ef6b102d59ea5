//! A chore: tells the broker of publications that were moved.
//!
//! Whoever moves one tells the broker after the commit. A process may die in between, the broker may
//! be away, and a worker may hold the job at that moment and give it back with its old time. A job
//! that was moved to a later time would be corrected when it is claimed; one that was moved to an
//! earlier time must be put into its new place. Any node may do so, at any time.

use std::time::Duration;

use postworks::client::{self, Producer};
use tokio_util::sync::CancellationToken;

use crate::looking::look_until;
use crate::store::{Error, Store, UNTOLD_MAX, Untold};

/// Between two looks, a tenth more or less.
const EVERY: Duration = Duration::from_secs(5);
/// The same while a worker holds one of them, and soon gives it back.
const WHILE_HELD: Duration = Duration::from_millis(500);

/// Tells the broker of moves.
#[derive(Clone)]
pub struct MovedJobs {
    /// Knows the publications.
    pub store: Store,
    /// Knows ledger and broker.
    pub producer: Producer,
}

/// Why the broker could not be told.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The rows.
    #[error(transparent)]
    Rows(#[from] Error),
    /// Ledger or broker.
    #[error(transparent)]
    Stores(#[from] client::Error),
}

impl MovedJobs {
    /// Looks until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let look =
            || async { Ok::<_, Failure>(if self.look().await? { EVERY } else { WHILE_HELD }) };
        look_until(stop, EVERY, "cannot tell the broker of publications that were moved", look)
            .await;
    }

    /// Looks once; answers whether the broker is told of all moves that were found.
    ///
    /// # Errors
    /// A store's; the others of the queues that can be told were told.
    pub async fn look(&self) -> Result<bool, Failure> {
        let (mut all, mut failure, mut after) = (true, None, None);
        loop {
            let page = self.store.untold(after).await?;
            for untold in &page {
                match self.tell(untold).await {
                    Ok(told) => all &= told,
                    // Of another queue it may be told all the same.
                    Err(Failure::Stores(client::Error::Broker(error))) if !error.is_outage() => {
                        failure = Some(client::Error::Broker(error).into());
                    }
                    Err(error) => return Err(error),
                }
            }
            after = page.last().map(|untold| untold.id);
            if page.len() < UNTOLD_MAX as usize {
                return failure.map_or(Ok(all), Err);
            }
        }
    }

    /// Tells the broker of a move; `false` while a worker holds the job.
    ///
    /// # Errors
    /// A store's; the chore does it later.
    pub async fn tell(&self, untold: &Untold) -> Result<bool, Failure> {
        let Untold { job, queue, .. } = untold;
        if let Some(queue) = queue
            && !self.producer.put_anew(queue, *job).await?
        {
            return Ok(false);
        }
        self.store.told(untold).await?;
        Ok(true)
    }
}
