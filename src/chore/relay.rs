//! The relay: pushes what the ledger holds and the broker does not.
//!
//! It looks at every live job that is due soon and old enough that its enqueuer's own push has
//! landed or never will, and pushes it flagged: the broker skips what it holds, and the worker
//! asks the ledger before it starts such a job. The same sweep refills a broker that was restarted,
//! wiped, or is embedded and starts empty.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::broker::{self, Broker};
use crate::client::{FRESH, push_all};
use crate::clock::SharedClock;
use crate::job::Timestamp;
use crate::ledger::{self, Ledger, Unpark};
use crate::worker::BROKER_HORIZON;

/// Time between sweeps when nothing asks for one; doubled while sweeps find nothing, up to the
/// second figure.
const EVERY: Duration = Duration::from_secs(5);
const EVERY_IDLE: Duration = Duration::from_secs(20);
/// After an error.
const RETRY: Duration = Duration::from_millis(500);

/// Pushes what the broker never got.
pub struct Relay {
    /// The record.
    pub ledger: Arc<dyn Ledger>,
    /// What is missing something.
    pub broker: Arc<dyn Broker>,
    /// Tells the time.
    pub clock: SharedClock,
    /// Asks for a sweep over everything at once: the broker may have lost its memory.
    pub refill: Arc<Notify>,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Ledger(#[from] ledger::Error),
    #[error(transparent)]
    Broker(#[from] broker::Error),
}

impl Relay {
    /// Sweeps until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut pause = EVERY;
        let mut asked = true;
        let mut failing = false;
        loop {
            let now = self.clock.now();
            let until = if asked { now } else { now.before(2 * FRESH) };
            match self.sweep(until, now).await {
                Ok(0) => {
                    failing = false;
                    pause = (pause * 2).min(EVERY_IDLE);
                }
                Ok(pushed) => {
                    failing = false;
                    tracing::info!(pushed, "the relay pushed jobs that the broker did not hold");
                    pause = EVERY;
                }
                Err(error) => {
                    if !failing {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(error, "the relay cannot sweep now; trying again");
                    }
                    failing = true;
                    pause = RETRY;
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.refill.notified() => asked = true,
                () = tokio::time::sleep(jittered(pause)) => asked = failing && asked,
            }
        }
    }

    /// Pushes every live job enqueued before `created_before` that is due soon; answers how many
    /// the broker did not hold.
    async fn sweep(&self, created_before: Timestamp, now: Timestamp) -> Result<usize, Error> {
        self.ledger.unpark(Unpark::Due, now).await?;
        let (mut after, mut pushed) = (None, 0);
        loop {
            let limit = u32::try_from(ledger::BATCH_MAX).unwrap_or(u32::MAX);
            let due_before = now.after(BROKER_HORIZON);
            let page = self.ledger.open_jobs(after, created_before, due_before, limit).await?;
            pushed += push_all(self.broker.as_ref(), &page, true).await?;
            if page.len() < ledger::BATCH_MAX {
                return Ok(pushed);
            }
            after = page.last().map(|job| job.id);
        }
    }
}

/// A tenth more or less, so that many nodes do not sweep in step.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(0.9 + 0.2 * rand::random::<f64>())
}
