//! The reaper: gives the jobs of vanished workers to others.
//!
//! Two speeds. A worker that holds leases and has no connection is noticed at the next look, and
//! loses them if it has not come back [`GONE`] later: within a second in all. It has crashed, and
//! the record counts that for each of its jobs before any of them is due again. A worker that is
//! connected but silent loses its leases when they expire, which counts nothing: it may be frozen,
//! cut off, or have never got the answer to its claim. Taking a lease back from a worker that lives
//! after all is wasteful, never wrong: its outcome is refused as stale.
//!
//! When nobody is to be trusted, nobody loses anything: [`Calm`] says when.
//!
//! Every node runs one. While nothing is leased a look is one command; while something is, the
//! nodes share the work: one of them looks in each [`TERM`], whoever comes first, so that no node
//! that dies takes the office with it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::calm::Calm;
use crate::broker::{self, Broker, Lease, Pulse, Reap};
use crate::job::{JobId, Queue, Token, WorkerId};
use crate::ledger::{self, Ledger};
use crate::telemetry::metrics::JOBS_RECLAIMED;

/// How often each node looks while something is leased. With [`GONE`], and the claim that follows,
/// it stays well below a second.
const LOOK: Duration = Duration::from_millis(250);
/// How often while nothing is: an idle worker stays below two commands a second in all, and what
/// is claimed between two looks is seen by one more, and sooner the more workers there are.
const LOOK_IDLE: Duration = Duration::from_millis(1_100);
/// After an error. Soon, since a worker whose places are all taken sends little else, and who has
/// no connection looks dead.
const RETRY: Duration = Duration::from_millis(100);
/// A look by one node is enough for so long; shorter than [`LOOK`], so that one node alone always
/// looks.
const TERM: Duration = Duration::from_millis(200);
/// A worker that has no connection for this long is gone. One whose connections were cut is back
/// in a tenth of a second.
const GONE: Duration = Duration::from_millis(300);
/// Longest that the record may keep a vanished worker's jobs from running elsewhere.
const COUNTING_MAX: Duration = Duration::from_secs(2);

/// Takes leases back.
pub struct Reaper {
    /// Who holds the leases.
    pub broker: Arc<dyn Broker>,
    /// Where crashes are counted.
    pub ledger: Arc<dyn Ledger>,
    /// The queues to look at.
    pub queues: Vec<Queue>,
    /// How long a lease lasts.
    pub lease: Duration,
    /// How often leases are renewed.
    pub renew: Duration,
}

impl Reaper {
    /// Looks until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut calm = Calm::new(self.lease, self.renew, Instant::now());
        loop {
            // Whoever claims or settles reports an outage.
            let pause = match self.look(&mut calm).await {
                Ok(true) => LOOK,
                Ok(false) => LOOK_IDLE,
                Err(_) => RETRY,
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Answers whether anything is leased.
    async fn look(&self, calm: &mut Calm) -> Result<bool, broker::Error> {
        if !self.broker.leased(&self.queues).await? {
            return Ok(false);
        }
        // Every node looks at the clock each time, also if another does the rest.
        let pulse = self.pulse(calm).await?;
        if !self.broker.elect("reaper", TERM).await? {
            return Ok(true);
        }
        if calm.trusts_connections(&pulse) {
            for worker in self.gone().await? {
                let taken = self.reap_crashed(&worker).await?;
                tracing::warn!(%worker, jobs = taken, "a worker vanished; its jobs run again");
            }
        }
        if calm.trusts_deadlines(&pulse, Instant::now()) {
            let mut taken = 0;
            for queue in &self.queues {
                // By the time that was looked at: the clock may jump right now.
                taken += self.reap(queue, Reap::ExpiredBy(pulse.now)).await?;
            }
            if taken > 0 {
                tracing::warn!(jobs = taken, "leases expired; their jobs run again");
            }
        }
        Ok(true)
    }

    async fn pulse(&self, calm: &mut Calm) -> Result<Pulse, broker::Error> {
        let asked = Instant::now();
        let pulse = self.broker.pulse().await?;
        if let Some(jump) = calm.notice(&pulse, asked, Instant::now()) {
            tracing::warn!(
                ?jump,
                "the broker's clock jumped; no lease expires until all are renewed"
            );
        }
        Ok(pulse)
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

    /// Counts a crash for each job of a worker, and gives them to others. In this order: a job that
    /// kills must not be among its neighbours again before its second crash is known.
    async fn reap_crashed(&self, worker: &WorkerId) -> Result<usize, broker::Error> {
        let mut taken = 0;
        for queue in &self.queues {
            let held = self.on_queue(queue, self.broker.held(queue, worker).await)?;
            let held = held.unwrap_or_default();
            if held.is_empty() {
                continue;
            }
            self.count(&held).await;
            taken += self.reap(queue, Reap::Worker(worker)).await?;
        }
        Ok(taken)
    }

    /// Jobs do not wait for a record that cannot be reached: a crash that is not counted does less
    /// harm than one whose jobs do not run.
    async fn count(&self, held: &[Lease]) {
        let claims: Vec<(JobId, Token)> =
            held.iter().map(|lease| (lease.id, lease.token)).collect();
        for batch in claims.chunks(ledger::BATCH_MAX) {
            match tokio::time::timeout(COUNTING_MAX, self.ledger.crashed(batch)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, jobs = batch.len(), "a crash could not be counted");
                }
                Err(_) => tracing::warn!(jobs = batch.len(), "counting a crash took too long"),
            }
        }
    }

    async fn reap(&self, queue: &Queue, whose: Reap<'_>) -> Result<usize, broker::Error> {
        let mut taken = 0;
        loop {
            let reaped = self.on_queue(queue, self.broker.reap(queue, whose).await)?;
            let reaped = reaped.map_or(0, |ids| ids.len());
            taken += reaped;
            if reaped < broker::BATCH_MAX {
                break;
            }
        }
        JOBS_RECLAIMED.count(&[]).increment(taken as u64);
        Ok(taken)
    }

    /// Broken keys of one queue must not leave the others' jobs with the dead.
    fn on_queue<T>(
        &self,
        queue: &Queue,
        answer: Result<T, broker::Error>,
    ) -> Result<Option<T>, broker::Error> {
        match answer {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if error.is_outage() => Err(error),
            Err(error) => {
                error.log_of(queue, "cannot take leases back here");
                Ok(None)
            }
        }
    }
}
