//! What a run knows of the effect it makes, kept where the end of the run cannot reach it.
//!
//! A handler's future is dropped when its time is over, when the worker drains or when the lease
//! is lost, and a store may be away just when a platform has answered. So a handler of an effect
//! leaves its knowledge in its context. Once the run has ended, however it ended, that knowledge
//! is recorded, and only then what becomes of the job. Until the ledger has taken both, the job's
//! lease is renewed.

use std::fmt;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;

use crate::job::{ErrorClass, Reason, Timestamp};
use crate::ledger;

/// What one run knows of its effect.
#[async_trait]
pub trait Effect: Send + Sync + 'static {
    /// The class of a run that is cut off now, by its timeout.
    fn interrupted(&self) -> ErrorClass;

    /// Until when the job is of use, if the effect knows better than what is `recorded` of the job:
    /// sooner while nothing has happened, later once that has to be followed up.
    fn expires_at(&self, recorded: Timestamp) -> Timestamp {
        recorded
    }

    /// The job dies of this; answers the reason in the effect's own words. Called before
    /// [`record`](Self::record), perhaps more than once.
    fn dies_of(&self, reason: Reason) -> Reason {
        reason
    }

    /// Records what the run came to know. Called when the run is over and nothing of it changes
    /// any more; repeated until it succeeds, so it must be harmless to repeat.
    ///
    /// # Errors
    /// After [`ledger::Error::Protocol`] it is not called again: the knowledge is lost.
    async fn record(&self) -> Result<(), ledger::Error>;
}

/// The place for a run's effect.
#[derive(Clone, Default)]
pub struct EffectSlot(Arc<OnceLock<Arc<dyn Effect>>>);

impl EffectSlot {
    /// Leaves the effect here. A run makes one effect at most: later ones are not kept.
    pub fn keep(&self, effect: Arc<dyn Effect>) {
        let _ = self.0.set(effect);
    }

    /// The effect, if the run has left one.
    pub fn get(&self) -> Option<Arc<dyn Effect>> {
        self.0.get().cloned()
    }
}

impl fmt::Debug for EffectSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.get().is_some() { "EffectSlot(kept)" } else { "EffectSlot(empty)" })
    }
}
