//! How jobs end by hand, and rows by age.

use crate::job::{Queue, State};

/// What became of a cancellation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cancel {
    /// The ledger knows no such job.
    Unknown,
    /// It had ended before.
    Ended(State),
    /// Recorded: it will not start any more. If a worker runs it now, the worker is told.
    Marked {
        /// The queue to remove it from.
        queue: Queue,
    },
}

/// What a cleanup deletes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prune {
    /// Completed and cancelled jobs, unless they hold their unique keys still.
    EndedJobs,
    /// What is remembered of requests that replaced a job's arguments, by when they came.
    Edits,
    /// Dead jobs and their letters.
    DeadLetters,
    /// What operators did, by when they began.
    Audit,
    /// Redrives that have ended.
    Redrives,
}
