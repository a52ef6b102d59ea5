//! The relay: pushes what the ledger holds and the broker does not.
//!
//! It walks over the live jobs that are due soon and old enough that their enqueuer's own push has
//! landed or never will, asks the broker which of them it does not hold, and pushes those flagged,
//! so that the worker asks the ledger before it starts such a job. What has no place in its
//! queue's window is left to the refiller.
//!
//! The walk goes on all the time, a bounded number of jobs at a time, and of several nodes with a
//! long backlog one walks at a time, so that it costs no more than a short one. Only a walk that
//! somebody called for knows no pause.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::missing::missing;
use super::report_unreadable;
use crate::broker::{self, Broker};
use crate::client::{FRESH, push_each};
use crate::clock::SharedClock;
use crate::job::{JobId, NewJob, Timestamp};
use crate::ledger::{self, Ledger, Unpark};
use crate::telemetry::metrics::RELAY_PUSHED;
use crate::worker::{BROKER_HORIZON, Calls};

/// Time between walks when nothing asks for one; doubled while they find nothing, up to the
/// second figure.
const EVERY: Duration = Duration::from_secs(5);
const EVERY_IDLE: Duration = Duration::from_secs(20);
/// A walk pauses after so many pages of jobs, for so long: ten thousand jobs a second, which
/// takes a tenth of one connection's time.
const PAGES_MAX: usize = 20;
const BREATH: Duration = Duration::from_secs(2);
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
    /// Calls for a sweep over everything at once.
    pub calls: Arc<Calls>,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Ledger(#[from] ledger::Error),
    #[error(transparent)]
    Broker(#[from] broker::Error),
}

/// How far a walk goes, and where it is.
struct Walk {
    /// The last job looked at; `None` at the start.
    after: Option<JobId>,
    /// Everything, now, whatever it costs.
    asked: bool,
    /// Jobs pushed since the start.
    pushed: usize,
}

impl Walk {
    fn new(asked: bool) -> Self {
        Self { after: None, asked, pushed: 0 }
    }
}

impl Relay {
    /// Walks until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut pause = EVERY;
        let mut failing = false;
        let mut walk = Walk::new(false);
        loop {
            let wait = match self.go_on(&mut walk).await {
                Ok(true) => {
                    failing = false;
                    pause = if walk.pushed > 0 { EVERY } else { (pause * 2).min(EVERY_IDLE) };
                    if walk.pushed > 0 {
                        let pushed = walk.pushed;
                        tracing::info!(pushed, "pushed jobs that the broker did not hold");
                    }
                    walk = Walk::new(false);
                    jittered(pause)
                }
                Ok(false) => {
                    failing = false;
                    jittered(BREATH)
                }
                Err(error) => {
                    if !failing {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(error, "the relay cannot sweep now; trying again");
                    }
                    failing = true;
                    RETRY
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.calls.sweep.notified() => walk = Walk::new(true),
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Walks on, to the end if it was asked for; answers whether the end was reached.
    async fn go_on(&self, walk: &mut Walk) -> Result<bool, Error> {
        let now = self.clock.now();
        if walk.after.is_none() {
            self.ledger.unpark(Unpark::Due, now).await?;
            self.apply_holds().await?;
        }
        // What is younger may still be pushed by its enqueuer.
        let created_before = if walk.asked { now } else { now.before(2 * FRESH) };
        let due_before = now.after(BROKER_HORIZON);
        let limit = u32::try_from(ledger::BATCH_MAX).unwrap_or(u32::MAX);
        let mut pages = 0;
        while walk.asked || pages < PAGES_MAX {
            let page = self.ledger.open_jobs(walk.after, created_before, due_before, limit).await?;
            let ends = page.next.is_none();
            let first = pages == 0 && !walk.asked;
            if first && !ends && !self.broker.elect("relay", BREATH.mul_f64(0.8)).await? {
                return Ok(false);
            }
            report_unreadable(&page.unreadable);
            walk.pushed += self.push_missing(&page.jobs, now).await?;
            if ends {
                return Ok(true);
            }
            walk.after = page.next;
            pages += 1;
        }
        Ok(false)
    }

    /// Tells the broker what people want of queues, if it could not be told at once.
    async fn apply_holds(&self) -> Result<(), Error> {
        for hold in self.ledger.queue_holds().await?.iter().filter(|hold| !hold.applied) {
            match self.broker.hold(&hold.queue, hold.for_broker()).await {
                Ok(()) => self.ledger.hold_applied(&hold.queue, hold.revision).await?,
                Err(error) if error.is_outage() => return Err(error.into()),
                // It is told before the first claim, when the queue is opened, or next time.
                Err(error) => error.log_of(&hold.queue, "cannot say what is wanted of this queue"),
            }
        }
        Ok(())
    }

    /// Pushes what the broker should hold and does not; answers how many jobs that were.
    async fn push_missing(&self, jobs: &[NewJob], now: Timestamp) -> Result<usize, Error> {
        if crate::planted!(ForgetRefill) {
            return Ok(0);
        }
        let missing = missing(self.broker.as_ref(), jobs, now).await?;
        let missing: Vec<NewJob> = missing.into_iter().cloned().collect();
        let (count, failure) = push_each(self.broker.as_ref(), &missing, true).await;
        match failure {
            Some((_, error)) if error.is_outage() => return Err(error.into()),
            // It must not keep the sweep from the others; what it lacks is found again.
            Some((queue, error)) => error.log_of(queue, "cannot push what this queue lacks"),
            None => {}
        }
        let pushed = count.added;
        if pushed > 0 {
            RELAY_PUSHED.count(&[]).increment(pushed as u64);
        }
        Ok(pushed)
    }
}

/// A tenth more or less, so that many nodes do not sweep in step.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(0.9 + 0.2 * rand::random::<f64>())
}
