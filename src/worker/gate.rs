//! Where a worker says that a whole queue must wait.

use crate::job::{Queue, Timestamp};

/// Closes queues whose platform has had enough of us, whatever the account.
///
/// A worker without one snoozes each job that meets the limit, and goes on with the others.
pub trait QueueGate: Send + Sync + 'static {
    /// Nothing of the queue is to be claimed before `until`. Called once for every answer of the
    /// platform that says so, and must not block; a longer closure is to stay.
    fn close_queue_until(&self, queue: &Queue, until: Timestamp);
}
