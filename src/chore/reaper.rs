//! The reaper: gives the jobs of vanished workers to others.
//!
//! Two speeds. A worker that holds leases and has no connection is noticed at the next look, and
//! loses them if it has not come back [`GONE`] later: within a second in all. A worker that is
//! connected but silent loses its leases when they expire. Taking a lease back from a worker that
//! lives after all is wasteful, never wrong: its outcome is refused as stale.
//!
//! Every node runs one. While nothing is leased a look is one command; while something is, the
//! nodes share the work: one of them looks in each [`TERM`], whoever comes first, so that no node
//! that dies takes the office with it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use ::metrics::counter;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::broker::{self, Broker, Reap};
use crate::job::{Queue, WorkerId};
use crate::telemetry::metrics::JOBS_RECLAIMED;

/// How often each node looks. With [`GONE`] it stays below a second, and an idle worker below two
/// commands a second in all.
const LOOK: Duration = Duration::from_millis(650);
/// A look by one node is enough for so long; shorter than [`LOOK`], so that one node alone always
/// looks.
const TERM: Duration = Duration::from_millis(500);
/// A worker that has no connection for this long is gone. One whose connections were cut is back
/// in a tenth of a second.
const GONE: Duration = Duration::from_millis(300);
/// How often expired leases are looked for.
const EXPIRED: Duration = Duration::from_secs(1);
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

impl Reaper {
    /// Looks until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut trust_from = Instant::now();
        loop {
            if self.look(Instant::now() >= trust_from).await.is_err() {
                // Whoever claims or settles reports the outage.
                trust_from = Instant::now() + SETTLE_DOWN;
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    async fn look(&self, trusts_connections: bool) -> Result<(), broker::Error> {
        if !self.broker.leased(&self.queues).await? || !self.broker.elect("reaper", TERM).await? {
            return Ok(());
        }
        if trusts_connections {
            for worker in self.gone().await? {
                let taken = self.reap_all(Reap::Worker(&worker)).await?;
                tracing::warn!(%worker, jobs = taken, "a worker vanished; its jobs run again");
            }
        }
        if self.broker.elect("expired", EXPIRED).await? {
            let taken = self.reap_all(Reap::Expired).await?;
            if taken > 0 {
                tracing::warn!(jobs = taken, "leases expired; their jobs run again");
            }
        }
        Ok(())
    }

    /// The workers that held leases without a connection twice in a row.
    async fn gone(&self) -> Result<HashSet<WorkerId>, broker::Error> {
        let before = self.broker.vanished(&self.queues).await?;
        if before.is_empty() {
            return Ok(before);
        }
        tokio::time::sleep(GONE).await;
        let mut still = self.broker.vanished(&self.queues).await?;
        still.retain(|worker| before.contains(worker));
        Ok(still)
    }

    async fn reap_all(&self, whose: Reap<'_>) -> Result<usize, broker::Error> {
        let mut taken = 0;
        for queue in &self.queues {
            loop {
                let reaped = match self.broker.reap(queue, whose).await {
                    Ok(ids) => ids.len(),
                    Err(error) if error.is_outage() => return Err(error),
                    // Broken keys of one queue must not leave the others' jobs with the dead.
                    Err(error) => {
                        let error = &error as &dyn std::error::Error;
                        tracing::error!(job.queue = %queue, error, "cannot take leases back here");
                        0
                    }
                };
                taken += reaped;
                if reaped < broker::BATCH_MAX {
                    break;
                }
            }
        }
        counter!(JOBS_RECLAIMED).increment(taken as u64);
        Ok(taken)
    }
}
