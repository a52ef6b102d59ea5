//! Dead letters: which, what they say, and what became of them.

use postworks::job::{Category, JobId, Kind, Queue, Reason, Timestamp};
use serde::{Deserialize, Serialize};

/// Which dead letters to list.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeadQuery {
    /// Only those of this category.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// Only those of this cause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Only those of this queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// Only those of this kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// At most this many, 1 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Where the page before ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// A job that a person must look at.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeadLetterView {
    /// The job.
    pub id: JobId,
    /// Its kind.
    pub kind: Kind,
    /// Its queue.
    pub queue: Queue,
    /// Why it died.
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

/// Which dead letters to act on: those that fit everything that is named.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeadChoice {
    /// These jobs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<JobId>,
    /// Those of this category.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<Category>,
    /// Those of this cause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Those of this queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<Queue>,
    /// Those of this kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
}

/// Dead letters to put back.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeadRetry {
    /// Which.
    #[serde(deserialize_with = "super::object::object")]
    pub filter: DeadChoice,
    /// Only say what would happen.
    #[serde(default)]
    pub dry_run: bool,
    /// Why, for the audit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What became, or would become, of the chosen dead letters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Chosen.
    pub matched: u64,
    /// Put back.
    pub runnable: u64,
    /// Completed: what they were to do is done.
    pub done: u64,
    /// Left alone: perhaps done. Naming the job's id puts it back if the job can find out; else
    /// only a person can tell.
    pub unknown: u64,
    /// Left alone: a live job has their unique key.
    pub superseded: u64,
}

/// The answer to a retry of dead letters.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Planned {
    /// What became of them.
    pub plan: Plan,
}
