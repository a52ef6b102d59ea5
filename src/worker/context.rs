//! What a handler may know of the run it is in.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{EffectSlot, Family, ParentEnd};
use crate::gate::watch::Watch;
use crate::job::{JobError, JobId, Kind, Queue, Tenant, Timestamp, Token, TraceParent, WorkerId};

/// The run a handler is in.
#[derive(Debug, Clone)]
pub struct JobContext {
    /// The job.
    pub id: JobId,
    /// Whose it is: a job that the handler enqueues is theirs, too
    /// ([`Producer::for_tenant`](crate::client::Producer::for_tenant)).
    pub tenant: Tenant,
    /// Its kind.
    pub kind: Kind,
    /// The queue it came from.
    pub queue: Queue,
    /// The number of this attempt; 1 is the first.
    pub attempt: u32,
    /// Attempts in all.
    pub max_attempts: u32,
    /// When the job was enqueued.
    pub created_at: Timestamp,
    /// When the job was to run, as whoever let it run knows: by the broker's clock that has come.
    pub run_at: Timestamp,
    /// The job is of no use after this.
    pub expires_at: Timestamp,
    /// When this attempt is cut off.
    pub deadline: Timestamp,
    /// The trace of whoever enqueued it: a job that the handler enqueues belongs to it, too.
    pub trace: Option<TraceParent>,
    /// The claim's fencing token.
    pub token: Token,
    /// Who runs it.
    pub worker: WorkerId,
    /// Cancelled when the run must end: the worker drains, or the lease was lost. The handler's
    /// future is dropped then; a task that must outlive it has to be spawned.
    pub cancelled: CancellationToken,
    /// Whether the platform may still be called.
    pub breaker: BreakerView,
    /// Where a handler leaves what it knows of its effect, to be recorded when the run is over.
    pub effect: EffectSlot,
    /// The way to the jobs that this one waited for: [`parents`](Self::parents).
    pub family: Family,
}

impl JobContext {
    /// How the jobs ended that this one waited for, in the order of their ids; none if it waited for
    /// none. Asks the ledger.
    ///
    /// # Errors
    /// The ledger cannot be asked now: passed on, it costs no attempt.
    pub async fn parents(&self) -> Result<Vec<ParentEnd>, JobError> {
        self.family.parents(self.id).await
    }
}

/// A run's way to its platform: the breaker of its queue, as this worker knows it, and the time that
/// calls take. By default the breaker never opens.
#[derive(Clone, Default)]
pub struct BreakerView(Option<Arc<Seen>>);

struct Seen {
    watch: Arc<Watch>,
    queue: Queue,
    epoch: u64,
    /// How long the run has waited for the platform, in microseconds; [`NEVER`] if it never called.
    calling: AtomicU64,
    /// How long it waited within calls for something of its own, in microseconds.
    own: AtomicU64,
}

const NEVER: u64 = u64::MAX;

impl BreakerView {
    /// The breaker of a job that was claimed from `queue` in `epoch`.
    pub(super) fn new(watch: &Arc<Watch>, queue: &Queue, epoch: u64) -> Self {
        let (watch, queue) = (Arc::clone(watch), queue.clone());
        Self(Some(Arc::new(Seen {
            watch,
            queue,
            epoch,
            calling: AtomicU64::new(NEVER),
            own: AtomicU64::new(0),
        })))
    }

    /// Whether it has opened since the job was claimed. A handler that has not called the platform
    /// yet had better end, as unavailable: then the attempt does not count.
    pub fn has_opened(&self) -> bool {
        self.0.as_ref().is_some_and(|seen| seen.watch.has_opened_since(&seen.queue, seen.epoch))
    }

    /// Waits for a call to the platform. The breaker then judges the run by the time of its calls
    /// alone, and not by what else it waited for. A handler that never says so is judged by all of
    /// its time.
    pub async fn calling<T>(&self, call: impl Future<Output = T>) -> T {
        let _timer = self.0.as_deref().map(|seen| {
            let _ = seen.calling.compare_exchange(NEVER, 0, Ordering::SeqCst, Ordering::SeqCst);
            Timer::new(&seen.calling)
        });
        call.await
    }

    /// Waits, within a call, for something that the platform has nothing to do with.
    pub async fn not_calling<T>(&self, own: impl Future<Output = T>) -> T {
        let _timer = self.0.as_deref().map(|seen| Timer::new(&seen.own));
        own.await
    }

    /// How long the run has waited for the platform, if its handler says so.
    pub(super) fn called_for(&self) -> Option<Duration> {
        let seen = self.0.as_ref()?;
        let calling = seen.calling.load(Ordering::SeqCst);
        // A call that goes on is not in the sum yet, what it waited for of its own is.
        let micros = calling.saturating_sub(seen.own.load(Ordering::SeqCst));
        (calling != NEVER).then_some(Duration::from_micros(micros))
    }
}

/// Adds its own life to a sum of microseconds, also if what it times is given up.
struct Timer<'a> {
    sum: &'a AtomicU64,
    started: Instant,
}

impl<'a> Timer<'a> {
    fn new(sum: &'a AtomicU64) -> Self {
        Self { sum, started: Instant::now() }
    }
}

impl Drop for Timer<'_> {
    fn drop(&mut self) {
        let micros = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(NEVER / 2);
        self.sum.fetch_add(micros, Ordering::SeqCst);
    }
}

impl fmt::Debug for BreakerView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BreakerView").field("has_opened", &self.has_opened()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::memory::MemoryBroker;
    use crate::clock::SystemClock;
    use crate::gate::breaker::Settings;

    const SECOND: Duration = Duration::from_secs(1);

    fn view() -> BreakerView {
        let broker = Arc::new(MemoryBroker::new(SystemClock::shared()));
        let watch = Watch::new(broker, Settings::default());
        BreakerView::new(&watch, &Queue::parse("post.kite").unwrap(), 0)
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_call_waits_for_that_is_not_the_platforms_is_taken_off() {
        let view = view();
        assert_eq!(view.called_for(), None);
        let call = async {
            tokio::time::sleep(2 * SECOND).await;
            view.not_calling(tokio::time::sleep(30 * SECOND)).await;
            assert_eq!(view.called_for(), Some(Duration::ZERO), "the call goes on");
        };
        view.calling(call).await;
        assert_eq!(view.called_for(), Some(2 * SECOND));
        // One that is given up in the middle of it.
        let endless = view.calling(view.not_calling(std::future::pending::<()>()));
        assert!(tokio::time::timeout(60 * SECOND, endless).await.is_err());
        assert_eq!(view.called_for(), Some(2 * SECOND));
    }
}
