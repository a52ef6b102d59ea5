//! Puts a job whose time was changed in the ledger into its new place in the broker.

use super::{Error, Producer, push};
use crate::broker::{Pushed, Removed};
use crate::job::{JobId, Queue, State};
use crate::worker::BROKER_HORIZON;

/// How often a place is found taken by somebody who pushed the job meanwhile.
const ROUNDS: usize = 5;

impl Producer {
    /// Takes a waiting job out of the broker and puts it in again as the ledger has it now; answers
    /// whether the broker has it right, or need not have it. Not while a worker holds it: what he
    /// says of it at the end may still be its old time, so ask again.
    ///
    /// The ledger is read after the removal, and what is found there afterwards is removed again. So
    /// of callers for two changes at once, the one of the later change leaves nothing older behind.
    ///
    /// # Errors
    /// A store's; then the job is absent or where it was, and asking again puts it right.
    pub async fn put_anew(&self, queue: &Queue, id: JobId) -> Result<bool, Error> {
        for _ in 0..ROUNDS {
            if self.broker.remove(queue, id).await? == Removed::Running {
                return Ok(false);
            }
            let Some(row) = self.ledger.job(id).await? else { return Ok(true) };
            // The relay brings in time what is due later; what is parked has left its queue.
            let horizon = self.clock.now().after(BROKER_HORIZON);
            if row.state != State::Ready || row.job.run_at >= horizon {
                return Ok(true);
            }
            let pushed = self.broker.push(queue, &[push(&row.job, true)?]).await?;
            if pushed != [Pushed::Held] {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
