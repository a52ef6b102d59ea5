//! Claims leases back that the broker lost: it was wiped, or brought back from an older copy.
//!
//! Whoever suspects it names the queue: the renewer, which misses leases or finds the queue closed,
//! and the fetcher, which opened it or sees a new generation. Here the leases are asked for once
//! more, and for each that is missing there are three cases:
//!
//! - It is of the present generation: it was taken back, and its run is cancelled.
//! - The ledger says that the job is not this run's any more: the same.
//! - Else the run goes on. Its lease is written again, unless a later claim holds the job now.
//!   Whoever claimed it must ask the ledger, which lets either him or this run have it; the next
//!   look, a moment later, finds out which.
//!
//! On the worker's own runtime, since it waits for the ledger, which renewals must not do.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::inflight::{HeldJob, InFlight};
use super::open::Opener;
use super::run::Run;
use crate::broker::{self, Broker, Lease, Reasserted, Reassertion, Settlement, Then};
use crate::job::{Durability, JobId, Queue, Token, WorkerId};
use crate::ledger::{self, Ledger};

/// Between two looks while something is undecided or a store is away, at first and at most.
const AGAIN_MIN: Duration = Duration::from_millis(100);
const AGAIN_MAX: Duration = Duration::from_secs(1);

/// Claims leases back.
pub(super) struct Reasserter {
    pub(super) broker: Arc<dyn Broker>,
    pub(super) ledger: Arc<dyn Ledger>,
    pub(super) inflight: Arc<InFlight>,
    pub(super) opener: Opener,
    pub(super) worker: WorkerId,
    /// A lease lasts this long.
    pub(super) lease: Duration,
    /// Queues that may have lost leases.
    pub(super) doubts: mpsc::UnboundedReceiver<Queue>,
    pub(super) stop: CancellationToken,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Ledger(#[from] ledger::Error),
    #[error(transparent)]
    Broker(#[from] broker::Error),
}

impl Reasserter {
    /// Looks at doubtful queues until `stop`.
    pub(super) async fn run(mut self) {
        let mut doubtful: HashSet<Queue> = HashSet::new();
        let mut again = AGAIN_MIN;
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                Some(queue) = self.doubts.recv() => { doubtful.insert(queue); }
                () = tokio::time::sleep(again), if !doubtful.is_empty() => {}
            }
            while let Ok(queue) = self.doubts.try_recv() {
                doubtful.insert(queue);
            }
            let mut undecided = HashSet::new();
            for queue in doubtful {
                match self.look(&queue).await {
                    Ok(true) => {}
                    Ok(false) => {
                        undecided.insert(queue);
                    }
                    Err(error) => {
                        let error = &error as &dyn std::error::Error;
                        tracing::debug!(job.queue = %queue, error, "cannot claim leases back now");
                        undecided.insert(queue);
                    }
                }
            }
            again = if undecided.is_empty() { AGAIN_MIN } else { (again * 2).min(AGAIN_MAX) };
            doubtful = undecided;
        }
    }

    /// Decides about every lease of a queue that is missing; answers whether all are decided.
    async fn look(&self, queue: &Queue) -> Result<bool, Error> {
        let mut decided = true;
        for batch in self.inflight.held_in(queue).chunks(broker::BATCH_MAX) {
            decided &= self.look_at(queue, batch).await?;
        }
        Ok(decided)
    }

    async fn look_at(&self, queue: &Queue, jobs: &[HeldJob]) -> Result<bool, Error> {
        let leases: Vec<Lease> = jobs.iter().map(|job| job.lease.clone()).collect();
        let renewed = self.broker.renew(queue, &leases, self.lease).await?;
        let Some(generation) = renewed.generation else {
            self.open(queue).await?;
            return Ok(false);
        };
        let missing = jobs.iter().zip(renewed.held).filter(|(_, held)| !held).map(|(job, _)| job);
        let (wiped, taken): (Vec<&HeldJob>, Vec<&HeldJob>) =
            missing.partition(|job| job.lease.token.generation < generation);
        self.inflight.lost(taken.into_iter().map(|job| &job.lease));
        // One that has not been admitted yet has not started: it is decided once it does.
        let admitted = wiped.iter().all(|job| job.run.is_some());
        let runs: Vec<&Arc<Run>> = wiped.into_iter().filter_map(|job| job.run.as_ref()).collect();
        let ours = self.still_ours(runs).await?;
        Ok(self.reassert(queue, &ours).await? && admitted)
    }

    /// Leaves only runs that the ledger still knows as their jobs' holders; cancels the others.
    async fn still_ours<'a>(&self, runs: Vec<&'a Arc<Run>>) -> Result<Vec<&'a Arc<Run>>, Error> {
        let recorded = |run: &Run| run.envelope.durability == Durability::Ledger;
        let claims: Vec<(JobId, Token)> = runs
            .iter()
            .filter(|run| recorded(run))
            .map(|run| (run.lease.id, run.lease.token))
            .collect();
        let mut held = self.ledger.holds(&claims).await?.into_iter();
        let (ours, lost): (Vec<_>, Vec<_>) =
            runs.into_iter().partition(|run| !recorded(run) || held.next() == Some(true));
        self.inflight.lost(lost.into_iter().map(|run| &run.lease));
        Ok(ours)
    }

    /// Writes the leases of these runs; answers whether none is in a later claim's hands.
    async fn reassert(&self, queue: &Queue, runs: &[&Arc<Run>]) -> Result<bool, Error> {
        if runs.is_empty() {
            return Ok(true);
        }
        let jobs: Vec<Reassertion> = runs
            .iter()
            .map(|run| Reassertion { lease: &run.lease, envelope: &run.envelope })
            .collect();
        let answers = self.broker.reassert(queue, &jobs, self.lease).await?;
        let (held, taken): (Vec<_>, Vec<_>) =
            runs.iter().zip(answers).partition(|(_, answer)| *answer == Reasserted::Held);
        if !held.is_empty() {
            let leases = held.len();
            tracing::info!(job.queue = %queue, leases, "claimed back leases that the broker lost");
        }
        self.give_back_settled(queue, held.into_iter().map(|(run, _)| *run)).await?;
        let (undecided, lost): (Vec<_>, Vec<_>) = taken
            .into_iter()
            .map(|(run, _)| *run)
            .partition(|run| run.envelope.durability == Durability::Ledger);
        // The ledger knows nothing of such a job: whoever has the lease has it.
        self.inflight.lost(lost.into_iter().map(|run| &run.lease));
        Ok(undecided.is_empty())
    }

    /// A run that was settled while its lease was being written will not end it: the next claim
    /// learns from the ledger what became of the job.
    async fn give_back_settled(
        &self,
        queue: &Queue,
        runs: impl Iterator<Item = &Arc<Run>>,
    ) -> Result<(), Error> {
        let settled: Vec<Settlement> = runs
            .filter(|run| !self.inflight.holds(&run.lease))
            .map(|run| Settlement { lease: run.lease.clone(), then: Then::Back })
            .collect();
        if !settled.is_empty() {
            self.broker.settle(queue, &settled).await?;
        }
        Ok(())
    }

    /// Opens a queue that nobody has opened yet; a claim of nothing tells what it still holds.
    async fn open(&self, queue: &Queue) -> Result<(), Error> {
        match self.broker.claim(queue, &self.worker, 0, self.lease).await {
            Err(broker::Error::NeedsGeneration { queue, held }) => {
                self.opener.open(&queue, held).await?;
                Ok(())
            }
            Err(error) => Err(error.into()),
            Ok(_) => Ok(()),
        }
    }
}
