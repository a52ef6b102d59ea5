//! The reaper: gives the jobs of vanished workers to others.
//!
//! Two speeds. A worker whose connections are gone is noticed within [`LOOK`] and its leases are
//! taken back once it stayed away for [`GONE`]; a worker that is connected but silent loses its
//! leases when they expire. Taking a lease back from a worker that lives after all is wasteful,
//! never wrong: its outcome is refused as stale.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use ::metrics::counter;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::broker::{self, Broker, Reap};
use crate::job::{Queue, WorkerId};
use crate::telemetry::metrics::JOBS_RECLAIMED;

/// How often the list of connected workers is read.
const LOOK: Duration = Duration::from_millis(500);
/// A worker that is not connected for this long is gone.
const GONE: Duration = Duration::from_millis(400);
/// How often expired leases are looked for.
const EXPIRED: Duration = Duration::from_secs(3);
/// After the broker could not be reached, nobody is taken for gone for this long: everybody
/// lost the connection then.
const SETTLE_DOWN: Duration = Duration::from_secs(10);

/// Takes leases back.
pub struct Reaper {
    /// Who holds the leases.
    pub broker: Arc<dyn Broker>,
    /// The queues to look at.
    pub queues: Vec<Queue>,
}

/// What the reaper remembers between looks.
struct Memory {
    connected: HashSet<WorkerId>,
    missing: HashMap<WorkerId, Instant>,
    trust_from: Instant,
    next_expired: Instant,
}

impl Reaper {
    /// Looks until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut memory = Memory {
            connected: HashSet::new(),
            missing: HashMap::new(),
            trust_from: Instant::now(),
            next_expired: Instant::now(),
        };
        loop {
            if self.look(&mut memory).await.is_err() {
                // Whoever claims or settles reports the outage.
                memory.connected.clear();
                memory.missing.clear();
                memory.trust_from = Instant::now() + SETTLE_DOWN;
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    async fn look(&self, memory: &mut Memory) -> Result<(), broker::Error> {
        let now = Instant::now();
        let connected = self.broker.connected().await?;
        for worker in memory.connected.difference(&connected) {
            memory.missing.entry(worker.clone()).or_insert(now);
        }
        memory.missing.retain(|worker, _| !connected.contains(worker));
        memory.connected = connected;
        if now >= memory.trust_from {
            for worker in memory.gone(now) {
                let taken = self.reap_all(Reap::Worker(&worker)).await?;
                tracing::warn!(%worker, jobs = taken, "a worker vanished; its jobs run again");
                memory.missing.remove(&worker);
            }
        }
        if now >= memory.next_expired {
            memory.next_expired = now + EXPIRED;
            let taken = self.reap_all(Reap::Expired).await?;
            if taken > 0 {
                tracing::warn!(jobs = taken, "leases expired; their jobs run again");
            }
        }
        Ok(())
    }

    async fn reap_all(&self, whose: Reap<'_>) -> Result<usize, broker::Error> {
        let mut taken = 0;
        for queue in &self.queues {
            loop {
                let ids = self.broker.reap(queue, whose).await?;
                taken += ids.len();
                if ids.len() < broker::BATCH_MAX {
                    break;
                }
            }
        }
        counter!(JOBS_RECLAIMED).increment(taken as u64);
        Ok(taken)
    }
}

impl Memory {
    fn gone(&self, now: Instant) -> Vec<WorkerId> {
        self.missing
            .iter()
            .filter(|(_, since)| now.duration_since(**since) >= GONE)
            .map(|(worker, _)| worker.clone())
            .collect()
    }
}
