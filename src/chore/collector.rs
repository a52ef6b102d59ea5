//! The collector: reads how much waits, runs and is dead, for the gauges.
//!
//! Only the API's process runs it: gauges from every worker would add up to a multiple.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ::metrics::gauge;
use tokio_util::sync::CancellationToken;

use super::depth::{DepthError, depths};
use crate::broker::{self, Broker};
use crate::clock::SharedClock;
use crate::job::{Category, Queue};
use crate::ledger::{self, Ledger};
use crate::telemetry::metrics::{BREAKER_STATE, DLQ_JOBS, QUEUE_JOBS, QUEUE_OLDEST_READY_AGE};

/// Half of a usual scrape interval.
const EVERY: Duration = Duration::from_secs(5);

/// Reads the gauges.
pub struct Collector {
    /// What waits and runs.
    pub broker: Arc<dyn Broker>,
    /// What is dead, and what waits beyond the broker's windows.
    pub ledger: Arc<dyn Ledger>,
    /// Tells the time.
    pub clock: SharedClock,
    /// The queues to read.
    pub queues: Vec<Queue>,
}

impl Collector {
    /// Reads until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            // An outage is reported by whoever works; the gauges keep their last values.
            if let Err(error) = self.read_depths().await {
                tracing::debug!(%error, "the queues' gauges are stale");
            }
            if let Err(error) = self.read_gates().await {
                tracing::debug!(%error, "the breakers' gauges are stale");
            }
            if let Err(error) = self.read_ledger().await {
                tracing::debug!(%error, "the dead letters' gauges are stale");
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    async fn read_depths(&self) -> Result<(), DepthError> {
        let (broker, ledger) = (self.broker.as_ref(), self.ledger.as_ref());
        let depths = depths(broker, ledger, &self.queues, self.clock.now()).await?;
        for (queue, depth) in self.queues.iter().zip(depths) {
            let states =
                [("ready", depth.ready), ("delayed", depth.delayed), ("running", depth.running)];
            for (state, jobs) in states {
                gauge!(QUEUE_JOBS, "queue" => queue.to_string(), "state" => state).set(jobs as f64);
            }
            gauge!(QUEUE_OLDEST_READY_AGE, "queue" => queue.to_string())
                .set(depth.oldest_ready_age.as_secs_f64());
        }
        Ok(())
    }

    async fn read_gates(&self) -> Result<(), broker::Error> {
        let (gates, now) = self.broker.gates(&self.queues).await?;
        for (queue, gate) in self.queues.iter().zip(gates) {
            let level = gate.position(now).level();
            gauge!(BREAKER_STATE, "breaker" => queue.to_string()).set(f64::from(level));
        }
        Ok(())
    }

    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    async fn read_ledger(&self) -> Result<(), ledger::Error> {
        let counts: HashMap<(Queue, Category), u64> = self
            .ledger
            .dead_counts()
            .await?
            .into_iter()
            .map(|dead| ((dead.queue, dead.category), dead.count))
            .collect();
        for queue in &self.queues {
            for category in Category::ALL {
                let jobs = counts.get(&(queue.clone(), category)).copied().unwrap_or(0);
                gauge!(DLQ_JOBS, "queue" => queue.to_string(), "category" => category.as_str())
                    .set(jobs as f64);
            }
        }
        Ok(())
    }
}
