//! Which accounts this process synchronises now.
//!
//! Only the version of a stream's place keeps two jobs apart, and that tells the one that comes second
//! once it has asked the platform. Of many jobs for one account all but one would ask in vain, and
//! take time and rate limit from the one that gets on. Jobs of one process know of each other before.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

/// The accounts that are synchronised, by their ids.
#[derive(Debug, Default)]
pub(super) struct UnderWay(Mutex<HashSet<Uuid>>);

/// As long as it lives its account is synchronised by nobody else here.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    of: &'a UnderWay,
    connector_id: Uuid,
}

impl UnderWay {
    /// Takes the account, unless somebody has it.
    pub(super) fn take(&self, connector_id: Uuid) -> Option<Turn<'_>> {
        let is_free = self.accounts().insert(connector_id);
        is_free.then(|| Turn { of: self, connector_id })
    }

    fn accounts(&self) -> MutexGuard<'_, HashSet<Uuid>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.of.accounts().remove(&self.connector_id);
    }
}
