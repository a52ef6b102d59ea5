//! The terms that a worker works on, besides what it cannot do without.

use std::collections::HashMap;
use std::sync::Arc;

use super::blocks::Blocks;
use super::engine::Worker;
use super::solitude::Solitude;
use super::tempo::Tempo;
use super::watchdog::Pulse;
use crate::gate::breaker;
use crate::gate::quota::Quotas;
use crate::gate::watch::Watch;
use crate::job::Queue;

impl Worker {
    /// Shares what is known of blocked accounts with others of this process.
    #[must_use]
    pub fn heeding(mut self, blocks: &Arc<Blocks>) -> Self {
        self.blocks = Arc::clone(blocks);
        self
    }

    /// Lets its jobs call no faster than these quotas allow; the same for all workers.
    #[must_use]
    pub fn within(mut self, quotas: Quotas) -> Self {
        self.quotas = quotas;
        self
    }

    /// Says how sensitive the breakers of its queues are; the same for all workers.
    #[must_use]
    pub fn with_breakers(mut self, settings: breaker::Settings) -> Self {
        self.watch = Watch::new(Arc::clone(&self.broker), settings);
        self
    }

    /// Runs no more than so many jobs of these queues at the same time, 1 at least; the others
    /// get what their share is.
    #[must_use]
    pub fn limited_to(mut self, slots: HashMap<Queue, usize>) -> Self {
        self.slots = slots;
        self
    }

    /// Says that other workers run in this process, which share `solitude`: a job that may take
    /// the process down runs beside none of theirs.
    #[must_use]
    pub fn beside(mut self, solitude: &Solitude) -> Self {
        self.solitude = solitude.clone();
        self
    }

    /// Tells others of this process how long its runs take.
    #[must_use]
    pub fn timed_by(mut self, tempo: &Arc<Tempo>) -> Self {
        self.tempo = Arc::clone(tempo);
        self
    }

    /// Calls this about twice a second, from the runtime, as long as the runtime runs its tasks:
    /// whoever supervises the process can tell by it that the worker is not stuck.
    #[must_use]
    pub fn pulsing(mut self, pulse: Pulse) -> Self {
        self.pulse = Some(pulse);
        self
    }

    /// Ends the process, with exit code 75, when handlers have blocked all threads of the runtime
    /// for five seconds: nothing else frees them. Without this, its leases expire, and the
    /// process stays as it is.
    #[must_use]
    pub fn exiting_when_stuck(mut self) -> Self {
        self.exits_when_stuck = true;
        self
    }
}
