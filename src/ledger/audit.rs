//! What people did by hand, as the ledger remembers it.

use serde::Serialize;
use uuid::Uuid;

use crate::job::Timestamp;

/// An operator's action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditEntry {
    /// A UUID version 7, so that entries sort by time.
    pub id: Uuid,
    /// When it was begun.
    pub at: Timestamp,
    /// Who: `cli:user@host`, `user:email`, `apikey:id`, or `api` for whoever need not say.
    pub actor: String,
    /// What was done, as in `job.cancel`.
    pub action: String,
    /// To what: an id, a filter or a name.
    pub subject: String,
    /// What else there is to know: JSON, or words. Holds no secret.
    pub detail: Option<String>,
    /// The operator's own words.
    pub why: Option<String>,
    /// How many things it changed, or told of.
    pub count: u64,
}

/// Which entries. Newest first.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Only this actor's.
    pub actor: Option<String>,
    /// Only those of this action.
    pub action: Option<String>,
    /// Only those about this.
    pub subject: Option<String>,
    /// Only those begun at this time or later.
    pub since: Option<Timestamp>,
    /// Only those begun before this time.
    pub until: Option<Timestamp>,
    /// Only those older than this id: the last one of the page before.
    pub before: Option<Uuid>,
    /// At most this many.
    pub limit: u32,
}
