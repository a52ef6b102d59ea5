//! Tells the fleet's breakers how this worker's calls went, and changes them when it is time.
//!
//! Runs are added up here, and sent together: ten commands a second for a busy
//! queue, none for an idle one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::breaker::{Settings, Took};
use crate::broker::{self, Breaker, Broker, Observed, Phase, Position, Tally};
use crate::job::{JobError, Queue, Timestamp};
use crate::telemetry::metrics::BREAKER_TRANSITIONS;

/// Calls are added up for so long. The fleet follows a little later, when it claims.
const EVERY: Duration = Duration::from_millis(100);

/// A worker's view of the fleet's breakers.
pub struct Watch {
    broker: Arc<dyn Broker>,
    settings: Settings,
    seen: Mutex<Seen>,
    noted: Notify,
}

#[derive(Default)]
struct Seen {
    /// Calls that the fleet does not know of yet.
    tallies: HashMap<Queue, Tally>,
    /// The epoch of breakers that are open.
    open: HashMap<Queue, u64>,
    /// When platforms' windows open that shut whole queues.
    shut: HashMap<Queue, Instant>,
}

impl Watch {
    /// Watches breakers that lie in `broker`.
    pub fn new(broker: Arc<dyn Broker>, settings: Settings) -> Arc<Self> {
        Arc::new(Self { broker, settings, seen: Mutex::default(), noted: Notify::new() })
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of how a run ended whose job was claimed in `epoch`.
    pub fn note(&self, queue: &Queue, epoch: u64, result: Result<(), &JobError>, took: Took) {
        let Some(is_bad) = self.settings.is_bad(result, took) else { return };
        let mut seen = self.seen();
        let add = |tally: &mut Tally| {
            if tally.epoch < epoch {
                *tally = Tally { epoch, ..Tally::default() };
            }
            if tally.epoch == epoch {
                tally.calls += 1;
                tally.bad += u32::from(is_bad);
            }
        };
        match seen.tallies.get_mut(queue) {
            Some(tally) => add(tally),
            None => add(seen.tallies.entry(queue.clone()).or_default()),
        }
        drop(seen);
        self.noted.notify_one();
    }

    /// Whether the breaker has opened since a job was claimed in `epoch`, or the queue was shut:
    /// the job had better not start.
    pub fn has_opened_since(&self, queue: &Queue, epoch: u64) -> bool {
        let seen = self.seen();
        let shut = || seen.shut.get(queue).is_some_and(|until| Instant::now() < *until);
        seen.open.get(queue).is_some_and(|opened| *opened > epoch) || shut()
    }

    /// Shuts a queue until then, here at once and for the fleet as soon as the broker knows: its
    /// platform told everybody to wait.
    pub fn shut(self: &Arc<Self>, queue: &Queue, until: Timestamp, now: Timestamp) {
        let opens = Instant::now() + until.since(now);
        let longer = {
            let mut seen = self.seen();
            let known = seen.shut.insert(queue.clone(), opens).filter(|known| *known >= opens);
            if let Some(known) = known {
                seen.shut.insert(queue.clone(), known);
            }
            known.is_none()
        };
        if !longer {
            return;
        }
        tracing::warn!(job.queue = %queue, %until, "the platform told everybody to wait");
        let (watch, queue) = (Arc::clone(self), queue.clone());
        tokio::spawn(async move {
            // Others run into the window themselves, and learn it so.
            if let Err(error) = watch.broker.shut(&queue, until).await {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(job.queue = %queue, error, "other workers do not know of the window");
            }
        });
    }

    /// Takes note of the first probes of a breaker that was open.
    pub fn probing(&self, queue: &Queue) {
        count(queue, Position::HalfOpen);
        tracing::info!(breaker = %queue, "the breaker is half-open: a few calls may try");
    }

    /// Reports until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.noted.notified() => {}
            }
            tokio::time::sleep(EVERY).await;
            let tallies = std::mem::take(&mut self.seen().tallies);
            let reports = tallies.iter().map(|(queue, tally)| self.report(queue, *tally));
            futures_util::future::join_all(reports).await;
        }
    }

    /// What cannot be reported is forgotten: without the broker nothing is claimed either.
    async fn report(&self, queue: &Queue, tally: Tally) {
        if let Err(error) = self.try_report(queue, tally).await {
            tracing::debug!(breaker = %queue, %error, "calls could not be counted");
        }
    }

    async fn try_report(&self, queue: &Queue, tally: Tally) -> Result<(), broker::Error> {
        let seen = self.broker.observe(queue, tally).await?;
        self.learn(queue, &seen.gate.breaker);
        let Some(next) = self.settings.judge(&seen, rand::random()) else { return Ok(()) };
        let epoch = seen.gate.breaker.epoch;
        if self.broker.switch(queue, epoch, next).await? {
            self.learn(queue, &Breaker { epoch: epoch + 1, ..next });
            tell(queue, &seen, &next);
        }
        Ok(())
    }

    fn learn(&self, queue: &Queue, breaker: &Breaker) {
        let mut seen = self.seen();
        match breaker.phase {
            Phase::Opened { .. } => seen.open.insert(queue.clone(), breaker.epoch),
            Phase::Closed | Phase::Closing { .. } => seen.open.remove(queue),
        };
    }
}

/// Logs and counts a change, once in the fleet.
fn tell(queue: &Queue, seen: &Observed, next: &Breaker) {
    let (calls, bad) = (seen.calls, seen.bad);
    match next.phase {
        Phase::Opened { until } => {
            count(queue, Position::Open);
            tracing::warn!(
                breaker = %queue, calls, bad, %until,
                "the breaker opened: nothing is claimed from the queue until then"
            );
        }
        Phase::Closing { .. } | Phase::Closed => {
            count(queue, Position::Closed);
            tracing::info!(breaker = %queue, calls, bad, "the breaker closes");
        }
    }
}

/// Counts a change of a breaker.
pub fn count(breaker: &Queue, to: Position) {
    BREAKER_TRANSITIONS.count(&[breaker.as_str(), to.as_str()]).increment(1);
}
