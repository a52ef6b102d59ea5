//! Workers, a platform, and jobs that arrive: what the scenarios about jobs share.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{bail, ensure};
use postworks::job::{JobId, Queue};
use postworks::ledger::Bump;
use tokio_util::sync::CancellationToken;

use super::{Draft, Ground, ledger};
use crate::loadtest::moment::Moment;
use crate::loadtest::openloop::{self, Due};
use crate::loadtest::runs::Runs;
use crate::loadtest::schedule::{Arrivals, Shape};
use crate::loadtest::system::{Child, Kind, Platform, System, Work};
use crate::loadtest::tally::{Group, Tally};

/// Jobs that are being enqueued at the same time, at most.
const CALLERS: usize = 256;
/// Between two looks whether something has come about in other processes, which give no sign.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Longest wait until what was enqueued at the start is in the broker, or has run.
const PATIENCE: Duration = Duration::from_secs(60);
/// From due to accepted: the commit.
const ACCEPTED: Group = Group { name: "job accepted", sum: None };

/// Whoever works, and what for.
pub(crate) struct Staff {
    pub(crate) platform: Platform,
    pub(crate) work: Work,
    pub(crate) workers: Vec<Child>,
    pub(crate) runs: Runs,
    /// Jobs that ran to warm everything up.
    pub(crate) warm: u64,
}

impl Staff {
    /// Starts a platform and so many workers of so many places. The token refresh that every account
    /// begins with warms all of it up, and shows what a waiting job takes in Redis.
    ///
    /// # Errors
    /// Something does not start, or it was stopped.
    pub(crate) async fn hire(
        ground: &Ground<'_>,
        system: &System,
        crew: (u32, u32),
        draft: &mut Draft,
    ) -> anyhow::Result<Self> {
        ground.unless_stopped(Self::prepare(ground, system, crew, draft)).await
    }

    async fn prepare(
        ground: &Ground<'_>,
        system: &System,
        (workers, places): (u32, u32),
        draft: &mut Draft,
    ) -> anyhow::Result<Self> {
        let (platform, accounts) = system.platform(ground.profile.system.accounts).await?;
        let work = Work::prepare(&system.node, accounts, ground.seed).await?;
        let runs = Runs::new(Tally::new(Moment::now()));
        let warm = work.accounts() as u64;
        let now = Moment::now();
        open(system, &Work::queue_of(Kind::Refresh)?).await?;
        work.refresh_all(|id| runs.expect(id, Kind::Refresh, now)).await?;
        let mut staff = Self { platform, work, workers: Vec::new(), runs, warm };
        staff.weigh(ground, system, draft).await?;
        for n in 0..workers as usize {
            staff.workers.push(system.worker(n, places, &staff.runs).await?);
        }
        let warmed = until(PATIENCE, &ground.stop, async || staff.runs.open() == 0).await;
        ensure!(warmed, "the workers do not run the first jobs");
        draft.capacity.workers = Some(workers);
        draft.capacity.places = Some(places);
        Ok(staff)
    }

    /// Finds out what a waiting job takes in Redis.
    async fn weigh(
        &self,
        ground: &Ground<'_>,
        system: &System,
        draft: &mut Draft,
    ) -> anyhow::Result<()> {
        let queues = [Work::queue_of(Kind::Refresh)?];
        let pushed = until(PATIENCE, &ground.stop, async || {
            let depths = system.node.broker.depth(&queues).await.unwrap_or_default();
            depths.iter().flatten().map(|depth| depth.ready).sum::<u64>() >= self.warm
        });
        if pushed.await {
            let held = system.place.held().await?;
            #[expect(clippy::cast_precision_loss, reason = "bytes and jobs fit")]
            let each = held.of_jobs as f64 / self.warm.max(1) as f64;
            draft.capacity.redis_bytes_queued = Some(each);
        }
        Ok(())
    }

    /// The workers' process ids.
    pub(crate) fn pids(&self) -> Vec<i32> {
        self.workers.iter().map(Child::pid).collect()
    }

    /// Lets jobs arrive until the shape ends, or `stop`; returns when all are enqueued.
    pub(crate) async fn arrive(
        &self,
        shape: Shape,
        seed: u64,
        begun: Moment,
        tally: &Tally,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        let line = openloop::start(Arrivals::new(shape, seed), begun, stop.clone())?;
        let (work, runs, tally) = (self.work.clone(), self.runs.clone(), tally.clone());
        // The same number is another job with another seed.
        let first = seed << 32;
        openloop::call(&line, vec![(); CALLERS], move |(), due| {
            let (work, runs, tally) = (work.clone(), runs.clone(), tally.clone());
            async move {
                let n = first.wrapping_add(due.n);
                enqueue(&work, &runs, &tally, n, work.kind_of(n), due).await;
            }
        })
        .await
    }

    /// Waits until the ledger says that every job has ended, for so long at most; answers whether they
    /// have.
    pub(crate) async fn ended(
        &self,
        system: &System,
        patience: Duration,
        stop: &CancellationToken,
    ) -> bool {
        let db = system.node.store.db();
        until(patience, stop, async || ledger::all_ended(db).await.unwrap_or(false)).await
    }

    /// Fails if a worker has ended by itself.
    pub(crate) fn must_work(&mut self) -> anyhow::Result<()> {
        let ended = self
            .workers
            .iter_mut()
            .find_map(|worker| worker.has_ended().then(|| worker.last_words()));
        match ended {
            Some(words) => bail!("a worker has ended by itself; it said last:\n{words}"),
            None => Ok(()),
        }
    }

    /// Ends the workers.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) async fn dismiss(self, ground: &Ground<'_>) -> anyhow::Result<()> {
        for worker in self.workers {
            ground.end(worker).await?;
        }
        Ok(())
    }
}

/// Opens a queue, as its first worker would: before that nothing waits in it.
async fn open(system: &System, queue: &Queue) -> anyhow::Result<()> {
    let node = &system.node;
    let bump = Bump { held: None, at: node.clock.now(), reserved: Duration::ZERO };
    if let Some(generation) = node.ledger.next_generation(queue, bump).await? {
        node.broker.open(queue, generation).await?;
    }
    Ok(())
}

/// Enqueues a job that is due, and counts it.
pub(crate) async fn enqueue(work: &Work, runs: &Runs, tally: &Tally, n: u64, kind: Kind, due: Due) {
    tally.asked(due.at);
    let making = Making { runs, id: Mutex::new(None) };
    let known = |id| {
        *making.id() = Some(id);
        runs.expect(id, kind, due.at);
    };
    if work.enqueue(n, kind, known).await.is_ok() {
        making.id().take();
        tally.noted(ACCEPTED, kind.as_str(), due.at, Moment::now());
    } else {
        tally.failed(ACCEPTED, kind.as_str(), 1);
        tally.ended(Moment::now(), false);
    }
}

/// A job that is being made. Dropped before it is, because that failed or nobody waits for it any
/// more, it is forgotten.
struct Making<'a> {
    runs: &'a Runs,
    id: Mutex<Option<JobId>>,
}

impl Making<'_> {
    fn id(&self) -> std::sync::MutexGuard<'_, Option<JobId>> {
        self.id.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        let unmade = self.id().take();
        unmade.into_iter().for_each(|id| self.runs.forget(id));
    }
}

/// Looks until something holds, for so long at most, or until `stop`; answers whether it does.
pub(crate) async fn until(
    patience: Duration,
    stop: &CancellationToken,
    holds: impl AsyncFn() -> bool,
) -> bool {
    let begun = Moment::now();
    loop {
        if holds().await {
            return true;
        }
        if stop.is_cancelled() || Moment::now().since(begun) > patience {
            return false;
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_whose_making_is_given_up_is_not_waited_for() {
        let runs = Runs::new(Tally::new(Moment(0)));
        let id: JobId = "0198f3a0-0000-7000-8000-000000000001".parse().unwrap();
        let making = Making { runs: &runs, id: Mutex::new(Some(id)) };
        runs.expect(id, Kind::Sync, Moment(0));
        assert_eq!(runs.open(), 1);
        drop(making);
        assert_eq!((runs.open(), runs.counts()), (0, (0, 0)));
    }
}
