//! The chores that bring jobs from the ledger to the broker.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{Refiller, Relay};
use crate::broker::Broker;
use crate::clock::SharedClock;
use crate::job::Queue;
use crate::ledger::Ledger;
use crate::worker::Calls;

/// A relay and a refiller, which belong together wherever a worker runs: the one finds what the broker
/// never got, the other opens queues and fills their windows.
pub struct Feed {
    /// The record.
    pub ledger: Arc<dyn Ledger>,
    /// What it is brought to.
    pub broker: Arc<dyn Broker>,
    /// Tells the time.
    pub clock: SharedClock,
    /// The workers' calls for a sweep, or for a window to be filled.
    pub calls: Arc<Calls>,
    /// The queues whose windows are looked after; the relay looks after all.
    pub queues: Vec<Queue>,
}

impl Feed {
    /// Starts both on the current runtime, until `stop`.
    pub fn start(self, stop: &CancellationToken) {
        let Self { ledger, broker, clock, calls, queues } = self;
        let relay = Relay {
            ledger: Arc::clone(&ledger),
            broker: Arc::clone(&broker),
            clock: Arc::clone(&clock),
            calls: Arc::clone(&calls),
        };
        tokio::spawn(relay.run(stop.clone()));
        tokio::spawn(Refiller { ledger, broker, clock, queues, calls }.run(stop.clone()));
    }
}
