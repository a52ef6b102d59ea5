//! Opens queues whose broker started anew or lost its memory.

use std::sync::Arc;
use std::time::Duration;

use super::calls::Calls;
use crate::broker::{self, Broker};
use crate::clock::SharedClock;
use crate::job::Queue;
use crate::ledger::{Bump, Ledger};

/// Workers notice a new generation within the time between two renewals, and this long they then
/// have to claim their leases back.
const TO_REASSERT: Duration = Duration::from_secs(1);

/// Opens queues in a new generation.
#[derive(Clone)]
pub(super) struct Opener {
    pub(super) broker: Arc<dyn Broker>,
    pub(super) ledger: Arc<dyn Ledger>,
    pub(super) clock: SharedClock,
    /// How often leases are renewed.
    pub(super) renew: Duration,
    /// Told when jobs must be pushed anew from the ledger.
    pub(super) calls: Arc<Calls>,
}

impl Opener {
    /// Opens a queue in a new generation; whatever the broker lost is pushed anew. Answers whether
    /// it is open: not yet, if another reconciler is about to open it.
    pub(super) async fn open(
        &self,
        queue: &Queue,
        held: Option<u32>,
    ) -> Result<bool, broker::Error> {
        let outlived = self.broker.is_outlived();
        let reserved = if outlived { self.renew + TO_REASSERT } else { Duration::ZERO };
        let bump = Bump { held, at: self.clock.now(), reserved };
        let away = |error| broker::Error::Unavailable(Box::new(error));
        let (generation, holds) =
            tokio::join!(self.ledger.next_generation(queue, bump), self.ledger.queue_holds());
        let Some(generation) = generation.map_err(away)? else { return Ok(false) };
        // Before the first claim: a queue that a person stopped stays stopped. What is wanted from
        // now on is told by whoever wants it.
        let holds = holds.map_err(away)?;
        if let Some(hold) = holds.iter().find(|hold| hold.queue == *queue) {
            self.broker.hold(queue, hold.for_broker()).await?;
        }
        self.broker.open(queue, generation).await?;
        tracing::debug!(job.queue = %queue, generation, "queue opened");
        self.calls.refill.notify_one();
        Ok(true)
    }
}
