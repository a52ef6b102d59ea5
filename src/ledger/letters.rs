//! What the ledger says of dead jobs, and how they are put back.

use std::time::Duration;

use serde::Serialize;
use uuid::Uuid;

use super::AuditEntry;
use crate::job::{Category, JobId, Kind, NewJob, Queue, Reason, Timestamp};

/// A job a person must look at.
#[derive(Debug, Clone, Serialize)]
pub struct DeadLetter {
    /// The job.
    pub id: JobId,
    /// Its kind.
    pub kind: Kind,
    /// Its queue.
    pub queue: Queue,
    /// Why.
    pub reason: Reason,
    /// Groups letters of the same cause.
    pub fingerprint: String,
    /// Attempts made.
    pub attempts: u32,
    /// When it was enqueued.
    pub created_at: Timestamp,
    /// When it died.
    pub died_at: Timestamp,
}

/// Which dead letters. Newest first.
#[derive(Debug, Clone, Default)]
pub struct DeadFilter {
    /// Only these jobs, if any are named.
    pub ids: Vec<JobId>,
    /// Only those of this category.
    pub category: Option<Category>,
    /// Only those of this cause.
    pub fingerprint: Option<String>,
    /// Only those of this queue.
    pub queue: Option<Queue>,
    /// Only those of this kind.
    pub kind: Option<Kind>,
    /// Only those of this account.
    pub account: Option<Uuid>,
    /// Only those that died at this time or later.
    pub died_after: Option<Timestamp>,
    /// Only those that died before this time.
    pub died_before: Option<Timestamp>,
    /// Without those that this redrive has put back already.
    pub untouched_by: Option<Uuid>,
    /// Only those older than this id: the last one of the page before.
    pub before: Option<JobId>,
    /// At most this many.
    pub limit: u32,
}

/// What became of putting dead letters back.
#[derive(Debug, Clone, Default)]
pub struct Redriven {
    /// Put back, with all attempts before them; to be pushed.
    pub jobs: Vec<NewJob>,
    /// Left alone: a live job has their unique key.
    pub superseded: Vec<JobId>,
}

/// What a dead job was about, and what has been done about that since it died.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadSubject {
    /// The job.
    pub id: JobId,
    /// Its kind.
    pub kind: Kind,
    /// Its arguments: JSON.
    pub args: String,
    /// The unique key it held.
    pub unique_key: Option<String>,
    /// The account, if any job of the kind does what an earlier one for the account left.
    pub account: Option<Uuid>,
    /// A live job that has its key now: with that, it cannot be put back.
    pub key_holder: Option<JobId>,
    /// A job that made it needless: one of its key, or for its account, that lives or has
    /// completed since it died.
    pub superseded_by: Option<JobId>,
}

/// How many dead letters there are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadCount {
    /// In this queue.
    pub queue: Queue,
    /// Of this category.
    pub category: Category,
    /// So many.
    pub count: u64,
    /// The oldest died then.
    pub oldest_died_at: Timestamp,
}

/// How dead letters are put back.
#[derive(Debug, Clone, Copy)]
pub struct PutBack<'a> {
    /// They are due now.
    pub now: Timestamp,
    /// They expire so much later.
    pub renewed_for: Duration,
    /// The action to note with it; its count is set.
    pub note: Option<&'a AuditEntry>,
    /// The redrive that does it.
    pub redrive: Option<Uuid>,
    /// What they are put back with, instead of what they had; for a single job.
    pub edited: Option<&'a Edited>,
}

/// A job's new arguments and what follows from them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edited {
    /// The arguments: JSON.
    pub args: String,
    /// The version of their form.
    pub kind_version: u16,
    /// The queue they belong in.
    pub queue: Queue,
    /// The account they are about.
    pub account: Option<Uuid>,
}

/// Dead letters of one cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadGroup {
    /// The cause.
    pub fingerprint: String,
    /// So many.
    pub count: u64,
    /// Their kind.
    pub kind: Kind,
    /// Why the youngest of them is dead.
    pub reason: Reason,
    /// When the first of them died.
    pub first_died_at: Timestamp,
    /// When the last of them died.
    pub last_died_at: Timestamp,
    /// The youngest of them.
    pub example: JobId,
}
