//! The relay: pushes what the ledger holds and the broker does not.
//!
//! It walks over the live jobs that are due soon and old enough that their enqueuer's own push has
//! landed or never will, asks the broker which of them it does not hold, and pushes those flagged,
//! so that the worker asks the ledger before it starts such a job. What has no place in a queue's
//! window is left to the refiller.
//!
//! The walk goes on all the time, a bounded number of jobs at a time, and of several nodes with a
//! long backlog one walks at a time, so that it costs no more than a short one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::report_unreadable;
use crate::broker::{self, Broker};
use crate::client::{FRESH, push_all};
use crate::clock::SharedClock;
use crate::job::{JobId, NewJob, Queue, Timestamp, Turn};
use crate::ledger::{self, Ledger, Unpark};
use crate::worker::BROKER_HORIZON;

/// Time between walks; doubled while they find nothing, up to the second figure.
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
    /// Asks for a walk now: jobs of the ledger are live again.
    pub walk: Arc<Notify>,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Ledger(#[from] ledger::Error),
    #[error(transparent)]
    Broker(#[from] broker::Error),
}

/// Where a walk is.
#[derive(Default)]
struct Walk {
    /// The last job looked at; `None` at the start.
    after: Option<JobId>,
    /// Jobs pushed since the start.
    pushed: usize,
}

impl Relay {
    /// Walks until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut pause = EVERY;
        let mut failing = false;
        let mut walk = Walk::default();
        loop {
            let wait = match self.go_on(&mut walk).await {
                Ok(true) => {
                    failing = false;
                    pause = if walk.pushed > 0 { EVERY } else { (pause * 2).min(EVERY_IDLE) };
                    if walk.pushed > 0 {
                        let pushed = walk.pushed;
                        tracing::info!(pushed, "pushed jobs that the broker did not hold");
                    }
                    walk = Walk::default();
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
                () = self.walk.notified() => walk = Walk::default(),
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Walks on; answers whether the end was reached.
    async fn go_on(&self, walk: &mut Walk) -> Result<bool, Error> {
        let now = self.clock.now();
        if walk.after.is_none() {
            self.ledger.unpark(Unpark::Due, now).await?;
        }
        // What is younger may still be pushed by its enqueuer.
        let created_before = now.before(2 * FRESH);
        let due_before = now.after(BROKER_HORIZON);
        let limit = u32::try_from(ledger::BATCH_MAX).unwrap_or(u32::MAX);
        for pages in 0..PAGES_MAX {
            let page = self.ledger.open_jobs(walk.after, created_before, due_before, limit).await?;
            let more = page.next.is_some();
            if pages == 0 && more && !self.broker.elect("relay", BREATH.mul_f64(0.8)).await? {
                return Ok(false);
            }
            report_unreadable(&page.unreadable);
            walk.pushed += self.push_missing(&page.jobs, now).await?;
            if !more {
                return Ok(true);
            }
            walk.after = page.next;
        }
        Ok(false)
    }

    /// Pushes what the broker should hold and does not; answers how many jobs that were.
    async fn push_missing(&self, jobs: &[NewJob], now: Timestamp) -> Result<usize, Error> {
        if crate::planted!(ForgetRefill) {
            return Ok(0);
        }
        let mut by_queue: HashMap<&Queue, Vec<&NewJob>> = HashMap::new();
        for job in jobs {
            by_queue.entry(&job.queue).or_default().push(job);
        }
        let mut missing = Vec::new();
        for (queue, jobs) in by_queue {
            match self.missing(queue, jobs, now).await {
                Err(error) if error.is_outage() => return Err(error.into()),
                // Broken keys of one queue must not keep the others' jobs from their workers.
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(job.queue = %queue, error, "cannot see what this queue holds");
                }
                Ok(jobs) => missing.extend(jobs.into_iter().cloned()),
            }
        }
        Ok(push_all(self.broker.as_ref(), &missing, true).await?.added)
    }

    /// The jobs of a queue that have a place in its window and are not there.
    async fn missing<'a>(
        &self,
        queue: &Queue,
        mut jobs: Vec<&'a NewJob>,
        now: Timestamp,
    ) -> Result<Vec<&'a NewJob>, broker::Error> {
        let cutoffs = self.broker.cutoffs(std::slice::from_ref(queue)).await?;
        if let Some(cutoff) = cutoffs.into_iter().next().flatten() {
            jobs.retain(|job| Turn::of(job.id, job.run_at, job.priority_s, now) < cutoff);
        }
        let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
        let places = self.broker.find(queue, &ids).await?;
        let absent = jobs.into_iter().zip(places).filter(|(_, place)| place.is_none());
        Ok(absent.map(|(job, _)| job).collect())
    }
}

/// A tenth more or less, so that many nodes do not sweep in step.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(0.9 + 0.2 * rand::random::<f64>())
}
