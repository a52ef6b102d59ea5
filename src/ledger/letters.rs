//! What the ledger says of dead jobs, and how they are put back.

use std::time::Duration;

use serde::Serialize;

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

/// How many dead letters there are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadCount {
    /// In this queue.
    pub queue: Queue,
    /// Of this category.
    pub category: Category,
    /// So many.
    pub count: u64,
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
}
