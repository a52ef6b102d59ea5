//! Runs the jobs in quarantine: those that were under way when a worker crashed, twice.
//!
//! One of them killed it, the others only ran beside. Alone, each shows which it is. A worker that
//! has nothing in hand looks there whenever it claims. If all are busy, one of them, elected, stops
//! claiming, finishes what it has, and does it.

use std::time::Duration;

use tokio::time::Instant;

use super::fetch::Fetcher;
use super::schedule::Schedule;
use super::solitude::Turn;
use crate::broker::{self, Claimed};
use crate::job::Queue;

/// A job waits so long for a worker without work before one with work stops claiming.
const PATIENCE: Duration = Duration::from_secs(2);
/// In so much time one worker of the fleet stops claiming for a queue's sake. Longer than most jobs
/// run, so that a second one is rarely stopped for the same job.
const TERM: Duration = Duration::from_secs(30);
/// A worker that finishes what it has looks so often whether another was faster.
const LOOK: Duration = Duration::from_secs(1);

impl Fetcher {
    /// A claim said whether jobs are in quarantine: sees to it that somebody takes them.
    pub(super) async fn heed_quarantine(
        &mut self,
        queue: &Queue,
        waits: bool,
        schedule: &mut Schedule,
    ) -> Result<(), broker::Error> {
        if !waits {
            self.quarantines.remove(queue);
            return Ok(());
        }
        let now = Instant::now();
        let since = *self.quarantines.entry(queue.clone()).or_insert(now);
        if now < since + PATIENCE {
            schedule.look_at(queue, since + PATIENCE);
            return Ok(());
        }
        self.quarantines.remove(queue);
        schedule.look_at(queue, now + PATIENCE);
        // Only a process that can be alone tries to be.
        if self.solitude.is_out_of_reach() {
            return Ok(());
        }
        if self.broker.elect(&format!("quarantine:{queue}"), TERM).await? {
            self.retreat(queue).await?;
        }
        Ok(())
    }

    /// Claims nothing more until this process has nothing in hand, then takes a job from
    /// quarantine, unless another worker has emptied it meanwhile.
    async fn retreat(&mut self, queue: &Queue) -> Result<(), broker::Error> {
        let Some(turn) = self.solitude.retreat() else { return Ok(()) };
        tracing::info!(job.queue = %queue, "claiming nothing more, to run a quarantined job alone");
        let mut looked = Instant::now();
        while !turn.is_alone() {
            tokio::select! {
                () = self.stop.cancelled() => return Ok(()),
                () = self.inflight.changed() => {}
                // Another worker's jobs may be the last to end, and tell us nothing.
                () = tokio::time::sleep(LOOK / 20) => {}
            }
            if looked.elapsed() >= LOOK {
                looked = Instant::now();
                let claimed = self.broker.claim(queue, &self.worker, 0, self.lease).await?;
                if !claimed.quarantined || self.solitude.is_out_of_reach() {
                    return Ok(());
                }
            }
        }
        let claimed = self.broker.claim_alone(queue, &self.worker, 0, self.lease).await?;
        self.run_alone(claimed, turn).await;
        Ok(())
    }

    /// Carries a quarantined job to its end before anything else is claimed.
    pub(super) async fn run_alone(&mut self, claimed: Claimed, turn: Turn) {
        let held = self.hold(claimed.deliveries);
        self.take(held, claimed.now).await;
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = self.inflight.until(|held| held.len() == 0) => {}
        }
        drop(turn);
    }
}
