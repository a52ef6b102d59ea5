//! What a handler may know of the run it is in.

use std::fmt;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::EffectSlot;
use crate::gate::watch::Watch;
use crate::job::{JobId, Kind, Queue, Timestamp, Token, TraceParent, WorkerId};

/// The run a handler is in.
#[derive(Debug, Clone)]
pub struct JobContext {
    /// The job.
    pub id: JobId,
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
}

/// The breaker of a run's queue, as this worker knows it. By default it never opens.
#[derive(Clone, Default)]
pub struct BreakerView(Option<(Arc<Watch>, Queue, u64)>);

impl BreakerView {
    /// The breaker of a job that was claimed from `queue` in `epoch`.
    pub(super) fn new(watch: &Arc<Watch>, queue: &Queue, epoch: u64) -> Self {
        Self(Some((Arc::clone(watch), queue.clone(), epoch)))
    }

    /// Whether it has opened since the job was claimed. A handler that has not called the platform
    /// yet had better end, as unavailable: then the attempt does not count.
    pub fn has_opened(&self) -> bool {
        self.0.as_ref().is_some_and(|(watch, queue, epoch)| watch.has_opened_since(queue, *epoch))
    }
}

impl fmt::Debug for BreakerView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BreakerView").field("has_opened", &self.has_opened()).finish()
    }
}
