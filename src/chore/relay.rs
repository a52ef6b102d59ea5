//! The relay: pushes what the ledger holds and the broker does not.
//!
//! A push is missed when its process dies between commit and push, or the broker was away; so what
//! is missing is mostly young. Each sweep looks at the live jobs of the last minute, old enough that
//! their enqueuer's own push has landed or never will, and at some older ones in rotation, and
//! pushes them flagged: the broker skips what it holds, and the worker asks the ledger before it
//! starts such a job. When the broker was restarted, wiped, or is embedded and starts empty, a
//! sweep over everything refills it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::broker::{self, Broker};
use crate::client::{FRESH, push_all};
use crate::clock::SharedClock;
use crate::job::{JobId, Timestamp};
use crate::ledger::{self, Ledger, Unpark};
use crate::worker::BROKER_HORIZON;

/// Time between sweeps when nothing asks for one; doubled while sweeps find nothing, up to the
/// second figure.
const EVERY: Duration = Duration::from_secs(5);
const EVERY_IDLE: Duration = Duration::from_secs(20);
/// Jobs younger than this are looked at in every sweep.
const YOUNG: Duration = Duration::from_secs(60);
/// Pages of young and of older jobs in one sweep: with a million waiting, a sweep still costs a
/// few dozen calls, and everything is looked at within the hour before it falls due.
const YOUNG_PAGES: usize = 20;
const OLDER_PAGES: usize = 5;
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

/// What the relay remembers between sweeps.
#[derive(Default)]
struct Rotation {
    /// The last of the older jobs that was looked at.
    older: Option<JobId>,
}

impl Relay {
    /// Sweeps until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut rotation = Rotation::default();
        let mut pause = EVERY;
        let mut asked = false;
        let mut failing = false;
        loop {
            match self.sweep(asked, &mut rotation).await {
                Ok(pushed) => {
                    failing = false;
                    asked = false;
                    pause = if pushed > 0 { EVERY } else { (pause * 2).min(EVERY_IDLE) };
                    if pushed > 0 {
                        tracing::info!(pushed, "pushed jobs that the broker did not hold");
                    }
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
                () = tokio::time::sleep(jittered(pause)) => {}
            }
        }
    }

    /// Pushes live jobs that are due soon: all of them if `everything`, else the young and some of
    /// the older. Answers how many the broker did not hold.
    async fn sweep(&self, everything: bool, rotation: &mut Rotation) -> Result<usize, Error> {
        let now = self.clock.now();
        self.ledger.unpark(Unpark::Due, now).await?;
        if everything {
            let (pushed, _) = self.pages(None, now, usize::MAX).await?;
            return Ok(pushed);
        }
        // Ids sort by the time they were made.
        let young = Some(JobId::at(now.before(YOUNG), [0; 10]));
        let (young, _) = self.pages(young, now.before(2 * FRESH), YOUNG_PAGES).await?;
        let (older, last) = self.pages(rotation.older, now.before(YOUNG), OLDER_PAGES).await?;
        rotation.older = last;
        Ok(young + older)
    }

    /// Pushes up to `pages` pages of live jobs after `after`, enqueued before `created_before`.
    /// Answers how many the broker did not hold, and where to go on; `None` at the end.
    async fn pages(
        &self,
        mut after: Option<JobId>,
        created_before: Timestamp,
        pages: usize,
    ) -> Result<(usize, Option<JobId>), Error> {
        let due_before = self.clock.now().after(BROKER_HORIZON);
        let limit = u32::try_from(ledger::BATCH_MAX).unwrap_or(u32::MAX);
        let mut pushed = 0;
        for _ in 0..pages {
            let page = self.ledger.open_jobs(after, created_before, due_before, limit).await?;
            pushed += push_all(self.broker.as_ref(), &page, true).await?;
            if page.len() < ledger::BATCH_MAX {
                return Ok((pushed, None));
            }
            after = page.last().map(|job| job.id);
        }
        Ok((pushed, after))
    }
}

/// A tenth more or less, so that many nodes do not sweep in step.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(0.9 + 0.2 * rand::random::<f64>())
}
