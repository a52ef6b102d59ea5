//! What a claim is told of its job.

use crate::job::{Edit, State, Timestamp};

/// What a worker learns of a job before it starts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It is this claim's to run.
    Yours {
        /// Attempts that have failed so far, as recorded.
        failed_attempts: u32,
        /// Workers that crashed while they ran it, since a run of it last ended in good order.
        crashes: u32,
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
