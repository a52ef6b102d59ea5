//! Chores: what keeps broker and ledger in step. Any node may run any of them, at any time.

mod calm;
mod collector;
mod reaper;
mod relay;

pub use collector::Collector;
pub use reaper::Reaper;
pub use relay::Relay;
