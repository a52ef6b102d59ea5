//! The bounded window that a broker holds of each queue: those jobs whose [`Turn`] comes first.
//!
//! A queue with more jobs has two marks, each of them a turn:
//!
//! - the *gap*: every job whose turn comes before it is held; from it on, the ledger may have jobs
//!   that the broker does not hold. Without one, everything is held that is due soon.
//! - the *cutoff*: a push of a job whose turn is not before it is left to the ledger, so that the
//!   window stays bounded and nobody overtakes those who wait in the ledger. Never before the gap.
//!
//! Who finds the window full puts the last jobs out and lowers both marks. A *refill* raises them:
//! first the cutoff, so that jobs committed from then on come by their own pushes; then the
//! ledger is read between the two marks, which has every job committed before; then the gap is
//! moved up to the cutoff.
//!
//! Running jobs and those in quarantine are in no window.

use crate::job::Turn;

/// Jobs that wait in a queue's window unless told otherwise.
pub const WINDOW: usize = 50_000;

/// What may wait in the ledger only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Beyond {
    /// Nothing that is due soon.
    #[default]
    Nothing,
    /// Some jobs, behind those of the window.
    More,
    /// The same, and the window is half empty: time for a refill.
    Low,
}

/// A refill that was begun: what is to be brought from the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refill {
    /// Names this refill to the broker; each has a name of its own.
    pub round: String,
    /// The gap: from this turn on.
    pub from: Turn,
    /// About so many jobs.
    pub room: usize,
}
