//! What a worker learns of a job from the ledger: before it starts it, and when it says what became
//! of it.

use crate::job::{Edit, State, Timestamp};

/// Whether a verdict counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// Recorded, now or by an earlier call whose answer was lost.
    Done,
    /// The job ended otherwise or is somebody else's: nothing was changed.
    Stale,
    /// The job is live, but a person cancelled it while it ran: it is recorded as cancelled.
    Cancelled,
    /// A person moved the job to another time while it ran: nothing was changed.
    Moved,
}

/// What a worker learns of a job before it starts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It is this claim's to run.
    Yours {
        /// Attempts that have failed so far, as recorded.
        failed_attempts: u32,
        /// Workers that crashed while they ran it, since a run of it last ended in good order.
        crashes: u32,
        /// It is of no use after this, as recorded.
        expires_at: Timestamp,
        /// What took the place of its arguments; from here on nothing does any more.
        edit: Option<Box<Edit>>,
    },
    /// It is live, but not due before this, or kept until then for a worker that had started it
    /// before the broker lost its memory.
    NotYet {
        /// When it is.
        until: Timestamp,
        /// What took the place of its arguments so far.
        edit: Option<Box<Edit>>,
    },
    /// It ended; the broker's copy is left over.
    Ended(State),
    /// It is parked in the ledger.
    Parked,
    /// A claim with a greater token has it.
    Superseded,
    /// The ledger knows no such job.
    Unknown,
}
