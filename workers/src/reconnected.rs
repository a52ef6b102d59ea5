//! A chore: releases the jobs that wait for an account which works again.
//!
//! Connecting an account again releases what is parked at that moment. A job that had seen the
//! account before and parks a moment later comes too late for that, and a process may die between
//! the two. Such jobs would wait until they expire, behind an account that nobody has to connect.
//! Any node may look for them, at any time.

use std::sync::Arc;
use std::time::Duration;

use postworks::clock::SharedClock;
use postworks::ledger::{Ledger, Unpark};
use tokio_util::sync::CancellationToken;

use crate::looking::look_until;
use crate::store::{Error, Store};

/// Between two looks, a tenth more or less. What it looks for is rare, and the relay, which pushes
/// what was released, takes as long.
const EVERY: Duration = Duration::from_secs(10);

/// Releases jobs that are parked for a person who has been here.
pub struct Reconnected {
    /// Knows the accounts.
    pub store: Store,
    /// Knows the jobs.
    pub ledger: Arc<dyn Ledger>,
    /// Tells the time.
    pub clock: SharedClock,
}

impl Reconnected {
    /// Looks until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let look = || async {
            let released = self.release().await?;
            if released > 0 {
                tracing::info!(released, "jobs were still parked behind accounts that work");
            }
            Ok::<_, Error>(EVERY)
        };
        look_until(stop, EVERY, "cannot look for parked jobs now", look).await;
    }

    /// Looks once; answers how many jobs were released.
    pub async fn release(&self) -> Result<u64, Error> {
        let mut released = 0;
        for account in self.store.reconnected().await? {
            released += self.ledger.unpark(Unpark::Account(account), self.clock.now()).await?;
        }
        Ok(released)
    }
}
