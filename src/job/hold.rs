//! What people want of queues.

/// What people want of a queue; kept in the ledger, and copied to the broker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hold {
    /// Counts the changes: an older wish does not undo a newer one.
    pub revision: u64,
    /// Nothing is claimed.
    pub paused: bool,
    /// The same, in the breaker's name.
    pub forced_open: bool,
}
