//! What comes between a lease that its holder did not finish and a request with the same tokens.
//!
//! The holder may be dead. It may also be alive with new tokens that the database did not take,
//! because it was away for everybody: then the lease has run out, and whoever is first when the
//! database is back decides. A request with the old tokens would revoke the account on a platform
//! with strict rotation. So the holder goes first: his commit needs the version alone, and the
//! successor sends only after the database was there for longer than he waits between two tries.

use std::time::{Duration, Instant};

use postworks::job::JobError;

use super::keep::{self, is_outage};
use super::lease::Lease;
use super::refresh::Holder;
use crate::store::Held;

/// Between two looks. A shorter outage may pass unseen.
pub(super) const EVERY: Duration = Duration::from_millis(500);
/// Looks in a row that must find the database there and nothing changed.
const LOOKS: u32 = 8;
/// A database that comes and goes for so long is left to the next job.
const GIVE_UP: Duration = Duration::from_secs(60);

const _: () = assert!(
    EVERY.saturating_mul(LOOKS - 1).as_millis() > keep::LONGEST_GAP.as_millis(),
    "a holder that lives tries at least once between the first look and the last"
);

/// The looks so far.
#[derive(Debug, Default)]
pub(super) struct Looks(u32);

impl Looks {
    /// Counts a look, `EVERY` after the one before: whether the database was `there`. Answers
    /// whether these are enough. Looks are counted and not time, since whoever stood still in
    /// between has seen nothing.
    pub(super) fn count(&mut self, there: bool) -> bool {
        self.0 = if there { self.0 + 1 } else { 0 };
        self.0 >= LOOKS
    }
}

impl Holder {
    /// Takes a lease that ran out unfinished, and gives its holder time to keep what he may have.
    /// `None`: he did, or somebody else was first.
    pub(super) async fn take_over(&self) -> Result<Option<(Held, Lease)>, JobError> {
        let give_up = Instant::now() + GIVE_UP;
        let mut looks = Looks::default();
        loop {
            let found = self.try_acquire(Lease::from(self.now(), Instant::now())).await;
            let there = match &found {
                Ok(Some(_)) => true,
                Ok(None) => return Ok(None),
                Err(error) if is_outage(error) && Instant::now() < give_up => false,
                Err(_) => return found.map_err(|error| self.fault(error)),
            };
            if looks.count(there) {
                return found.map_err(|error| self.fault(error));
            }
            if self.inner.drains() {
                return self.leave_unfinished().await;
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Gives the lease back as it was found, so that nobody need wait for its end.
    async fn leave_unfinished(&self) -> Result<Option<(Held, Lease)>, JobError> {
        let ended = Lease::ended(self.now(), Instant::now());
        self.try_acquire(ended).await.map(|_| None).map_err(|error| self.fault(error))
    }
}
