//! Accounts that a platform wants left alone for a while.
//!
//! What this process learns it heeds at once and tells the broker; what others learn it asks the
//! broker for, whenever it claims jobs of accounts. Jobs of a blocked account are put off at no
//! attempt's cost, one after the other, so that the end of a window is no stampede.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use uuid::Uuid;

use crate::broker::Broker;
use crate::clock::SharedClock;
use crate::job::Timestamp;

/// Jobs of one account that wait for the same moment come so far apart.
const SPACING: Duration = Duration::from_millis(250);
/// The broker is told again after these pauses if it cannot be reached.
const TELL_AGAIN: [Duration; 3] =
    [Duration::from_millis(100), Duration::from_secs(1), Duration::from_secs(5)];

/// The blocked accounts that this process knows of; shared by its workers and platform clients.
pub struct Blocks {
    broker: Arc<dyn Broker>,
    clock: SharedClock,
    known: Mutex<HashMap<Uuid, Block>>,
}

struct Block {
    until: Timestamp,
    /// Jobs that were put off behind this block so far.
    put_off: u32,
}

impl Blocks {
    /// Nothing is blocked yet, as far as this process knows.
    pub fn new(broker: Arc<dyn Broker>, clock: SharedClock) -> Arc<Self> {
        Arc::new(Self { broker, clock, known: Mutex::default() })
    }

    /// Blocks an account until then, here at once and for the fleet as soon as the broker knows; a
    /// longer block stays.
    pub fn block(self: &Arc<Self>, account: Uuid, until: Timestamp) {
        if self.note(account, until) {
            tracing::info!(%account, %until, "the platform wants the account left alone");
            tokio::spawn(Arc::clone(self).tell(account, until));
        }
    }

    /// A worker that does not hear of it runs into the window itself, and learns it so.
    async fn tell(self: Arc<Self>, account: Uuid, until: Timestamp) {
        let mut pauses = TELL_AGAIN.into_iter();
        while let Err(error) = self.broker.block(account, until).await {
            let error = &error as &dyn std::error::Error;
            let Some(pause) = pauses.next() else {
                tracing::warn!(%account, error, "other workers do not know of the account's window");
                return;
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Takes note of a block; answers whether it is longer than what was known.
    fn note(&self, account: Uuid, until: Timestamp) -> bool {
        let now = self.clock.now();
        let mut known = self.lock();
        if until <= now || known.get(&account).is_some_and(|block| block.until >= until) {
            return false;
        }
        known.retain(|_, block| block.until > now);
        known.insert(account, Block { until, put_off: 0 });
        true
    }

    /// When a job of the account is to be looked at again; `None` if it may go on now. Each caller
    /// gets a moment of its own, in the order they ask.
    pub(super) fn put_off(&self, account: Option<Uuid>) -> Option<Timestamp> {
        let account = account?;
        let mut known = self.lock();
        let block = known.get_mut(&account)?;
        if block.until <= self.clock.now() {
            known.remove(&account);
            return None;
        }
        let at = block.until.after(SPACING.saturating_mul(block.put_off));
        block.put_off = block.put_off.saturating_add(1);
        Some(at)
    }

    /// What the broker said of an account that was not known to be blocked; answers as
    /// [`put_off`](Self::put_off).
    pub(super) fn learn(&self, account: Uuid, until: Timestamp) -> Option<Timestamp> {
        self.note(account, until);
        self.put_off(Some(account))
    }

    /// Asks the broker about accounts that are not known to be blocked. If it cannot be asked, the
    /// jobs run: the platform says it again.
    pub(super) async fn ask(&self, mut accounts: Vec<Uuid>) {
        accounts.sort_unstable();
        accounts.dedup();
        {
            let known = self.lock();
            accounts.retain(|account| !known.contains_key(account));
        }
        if accounts.is_empty() {
            return;
        }
        match self.broker.blocked(&accounts).await {
            Ok(blocked) => {
                for (account, until) in accounts.into_iter().zip(blocked) {
                    if let Some(until) = until {
                        self.note(account, until);
                    }
                }
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::debug!(error, "cannot ask for blocked accounts now");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, Block>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Blocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blocks").field("known", &self.lock().len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::memory::MemoryBroker;
    use crate::clock::{Clock, ShiftedClock};

    const ANN: Uuid = Uuid::from_u128(1);

    fn process(broker: &MemoryBroker, clock: &Arc<ShiftedClock>) -> Arc<Blocks> {
        Blocks::new(Arc::new(broker.clone()), Arc::clone(clock) as SharedClock)
    }

    #[tokio::test]
    async fn the_jobs_of_an_account_are_put_off_one_after_the_other() {
        let clock = Arc::new(ShiftedClock::default());
        let blocks = process(&MemoryBroker::new(clock.clone()), &clock);
        assert_eq!(blocks.put_off(Some(ANN)), None);
        let until = clock.now().after(Duration::from_secs(60));
        blocks.block(ANN, until);
        blocks.block(ANN, clock.now().after(Duration::from_secs(5)));
        for n in 0..4 {
            assert_eq!(blocks.put_off(Some(ANN)), Some(until.after(SPACING * n)));
        }
        assert_eq!(blocks.put_off(Some(Uuid::from_u128(2))), None);
        assert_eq!(blocks.put_off(None), None);
        clock.advance(Duration::from_secs(61));
        assert_eq!(blocks.put_off(Some(ANN)), None);
    }

    #[tokio::test]
    async fn a_window_that_one_process_learnt_of_is_heeded_by_another() {
        let clock = Arc::new(ShiftedClock::default());
        let broker = MemoryBroker::new(clock.clone());
        let (one, other) = (process(&broker, &clock), process(&broker, &clock));
        let until = clock.now().after(Duration::from_secs(60));
        assert!(one.note(ANN, until));
        Arc::clone(&one).tell(ANN, until).await;
        assert_eq!(other.put_off(Some(ANN)), None, "it has not asked");
        other.ask(vec![ANN, ANN]).await;
        assert_eq!(other.put_off(Some(ANN)), Some(until));
    }
}
