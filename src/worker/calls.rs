//! How workers call for jobs that the ledger has and the broker does not.

use tokio::sync::Notify;

/// Calls from workers to the chores of their process.
#[derive(Debug, Default)]
pub struct Calls {
    /// A window is half empty, or a broker may have lost its memory: for the refiller.
    pub refill: Notify,
    /// Jobs live again that no broker was told of: for the relay, which looks everywhere.
    pub sweep: Notify,
}
