//! What people want of queues, as the ledger remembers it.

use crate::job::{Hold, Queue, Timestamp};

/// What a person asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// The queue.
    pub queue: Queue,
    /// What to hold.
    pub what: Held,
    /// Who holds it from now on, or nobody.
    pub holder: Option<Holder>,
}

/// What can be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// The queue is paused.
    Paused,
    /// Its breaker is open.
    BreakerOpen,
}

/// Who holds a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Since when.
    pub at: Timestamp,
    /// Who: `cli:user@host`, `user:email`, `apikey:id`, or `api` for whoever need not say.
    pub by: String,
    /// The person's own words.
    pub why: Option<String>,
}

/// What people want of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueHold {
    /// The queue.
    pub queue: Queue,
    /// How often that has changed.
    pub revision: u64,
    /// Whether the broker is known to have it.
    pub applied: bool,
    /// Who paused it, if it is paused.
    pub paused: Option<Holder>,
    /// Who opened its breaker, if somebody did.
    pub forced_open: Option<Holder>,
}

impl QueueHold {
    /// What the broker is to know of it.
    pub fn for_broker(&self) -> Hold {
        let Self { revision, paused, forced_open, .. } = self;
        Hold { revision: *revision, paused: paused.is_some(), forced_open: forced_open.is_some() }
    }
}
