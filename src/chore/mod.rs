//! Chores: what keeps broker and ledger in step. Any node may run any of them, at any time.

mod calm;
mod collected;
mod collector;
mod depth;
mod feed;
mod herald;
mod late;
mod missing;
mod reaper;
mod refill;
mod relay;
mod scheduler;
mod sources;

pub use collected::Collected;
pub use collector::{Collector, Source, SourceError};
pub use depth::{DepthError, depths, waiting};
pub use feed::Feed;
pub use herald::Herald;
pub use late::LateSchedules;
pub use reaper::Reaper;
pub use refill::Refiller;
pub use relay::Relay;
pub use scheduler::Scheduler;
pub use sources::Stores;

use crate::job::JobId;
use crate::ledger;

/// Says which rows were left out since nobody can read them.
fn report_unreadable(rows: &[(JobId, ledger::Error)]) {
    for (id, error) in rows {
        let error = error as &dyn std::error::Error;
        tracing::error!(job.id = %id, error, "the ledger's row of a job cannot be read");
    }
}
