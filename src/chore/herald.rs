//! The herald: tells children that their parents ended, and the broker of those that may run now.
//!
//! Any node may, at any time, and all do: the ledger sees to it that a child is told of each end once.
//! Who settles a job that others wait for wakes the herald of its own process; for what ended
//! elsewhere each looks once a second, which asks nothing of the broker.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::client::Producer;
use crate::clock::SharedClock;
use crate::ledger::{Error, Families};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);
/// After an error, and while others have all there is to tell under their hands.
const RETRY: Duration = Duration::from_millis(100);
/// Ends that are told in a transaction.
const BATCH: u32 = 100;

/// Tells children of their parents' ends.
pub struct Herald {
    /// Knows who waits for whom.
    pub families: Families,
    /// Tells the broker.
    pub producer: Producer,
    /// Tells the time.
    pub clock: SharedClock,
}

impl Herald {
    /// Looks until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let (mut pause, mut failing) = (Duration::ZERO, false);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.families.ends().notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
            let looked = self.look().await;
            if let Err(error) = &looked
                && !failing
            {
                let error = error as &dyn std::error::Error;
                tracing::warn!(error, "cannot tell jobs that their parents ended; trying again");
            }
            failing = looked.is_err();
            pause = looked.unwrap_or(RETRY);
        }
    }

    /// Tells all there is to tell; answers when to look again.
    ///
    /// # Errors
    /// The ledger cannot be asked now. If it is not known whether it let jobs go, and it did, the
    /// relay pushes them.
    pub async fn look(&self) -> Result<Duration, Error> {
        loop {
            let told = self.families.tell(self.clock.now(), BATCH).await?;
            self.producer.dispatch_again(told.live);
            if told.found == 0 {
                return Ok(EVERY);
            }
            if told.told == 0 && told.done == 0 {
                return Ok(RETRY);
            }
        }
    }
}
