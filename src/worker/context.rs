//! What a handler may know of the run it is in.

use tokio_util::sync::CancellationToken;

use super::EffectSlot;
use crate::job::{JobId, Kind, Queue, Timestamp, Token, WorkerId};

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
    /// The claim's fencing token.
    pub token: Token,
    /// Who runs it.
    pub worker: WorkerId,
    /// Cancelled when the run must end: the worker drains, or the lease was lost. The handler's
    /// future is dropped then; a task that must outlive it has to be spawned.
    pub cancelled: CancellationToken,
    /// Where a handler leaves what it knows of its effect, to be recorded when the run is over.
    pub effect: EffectSlot,
}
