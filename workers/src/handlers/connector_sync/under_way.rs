//! Which streams this process fetches now.
//!
//! Only the version of a stream's place keeps two walks apart, and that tells the one that comes second
//! once it has asked the platform. Of many jobs for one account all but one would ask in vain, and
//! take time and rate limit from the one that gets on. Jobs of one process know of each other before.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use postworks::job::SyncStream;
use uuid::Uuid;

/// Of an account, by its id.
type Stream = (Uuid, SyncStream);

/// The streams that are fetched.
#[derive(Debug, Default)]
pub(super) struct UnderWay(Mutex<HashSet<Stream>>);

/// As long as it lives its stream is fetched by nobody else here.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    of: &'a UnderWay,
    stream: Stream,
}

impl UnderWay {
    /// Takes the stream, unless somebody has it.
    pub(super) fn take(&self, connector_id: Uuid, stream: SyncStream) -> Option<Turn<'_>> {
        let stream = (connector_id, stream);
        let is_free = self.streams().insert(stream);
        is_free.then(|| Turn { of: self, stream })
    }

    fn streams(&self) -> MutexGuard<'_, HashSet<Stream>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.of.streams().remove(&self.stream);
    }
}
