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
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

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
    /// Asks the relay for a walk.
    pub walk: Arc<Notify>,
}

impl Reconnected {
    /// Looks until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut failing = false;
        loop {
            let pause = EVERY.mul_f64(0.9 + 0.2 * rand::random::<f64>());
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            match self.release().await {
                Ok(released) => {
                    failing = false;
                    if released > 0 {
                        self.walk.notify_one();
                        tracing::info!(
                            released,
                            "jobs were still parked behind accounts that work"
                        );
                    }
                }
                Err(error) => {
                    if !failing {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(error, "cannot look for parked jobs now; trying again");
                    }
                    failing = true;
                }
            }
        }
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
