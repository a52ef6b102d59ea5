//! What is sent and what comes back, as the API writes it. Unknown fields of answers are left alone,
//! for a newer API to be understood.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::client::Enqueued;
use crate::job::family::{OnFailure, Parent};
use crate::job::{JobId, Kind, Queue, Reason, Request, State, Timestamp, UniqueUntil};

/// A job to enqueue.
#[derive(Debug, Serialize)]
pub(super) struct Asked<'a> {
    kind: &'a str,
    args: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delay_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unique_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unique_until: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unique_for_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    debounce_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_delay_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_attempts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "<[Parent]>::is_empty")]
    after: &'a [Parent],
    #[serde(skip_serializing_if = "Option::is_none")]
    on_failure: Option<OnFailure>,
}

impl<'a> From<&'a Request> for Asked<'a> {
    fn from(request: &'a Request) -> Self {
        let policy = &request.policy;
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self {
            kind: &request.kind,
            args: &request.args,
            run_at: policy.run_at,
            delay_ms: policy.delay.map(millis),
            unique_key: policy.unique_key.as_deref(),
            unique_until: policy.unique_until.map(UniqueUntil::as_str),
            unique_for_ms: policy.unique_for.map(millis),
            debounce_ms: policy.debounce.map(millis),
            max_delay_ms: policy.max_delay.map(millis),
            priority: policy.priority_s,
            max_attempts: policy.max_attempts,
            expires_at: policy.expires_at,
            name: policy.name.as_deref(),
            after: &policy.after,
            on_failure: policy.on_failure,
        }
    }
}

/// Jobs to enqueue, all or none.
#[derive(Debug, Serialize)]
pub(super) struct AskedBulk<'a> {
    pub(super) jobs: Vec<Asked<'a>>,
}

/// The accepted jobs of a bulk.
#[derive(Debug, Deserialize)]
pub(super) struct AcceptedBulk {
    pub(super) jobs: Vec<Enqueued>,
}

/// An accepted job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Accepted {
    /// The job's id; that of the job that holds the same unique key if there was one.
    pub id: JobId,
    /// Its state when the request was answered for the first time.
    pub state: State,
    /// Whether the job was made.
    pub created: bool,
    /// Whether it was not, and its arguments are now those of the one that waits.
    #[serde(default)]
    pub replaced: bool,
}

/// A job as the API shows it.
#[derive(Debug, Clone, Deserialize)]
pub struct JobStatus {
    /// The job.
    pub id: JobId,
    /// Its kind.
    pub kind: Kind,
    /// Its queue.
    pub queue: Queue,
    /// Where it is in its life.
    pub state: State,
    /// Its arguments.
    pub args: Box<RawValue>,
    /// The number of its last attempt; 0 before the first.
    pub attempt: u32,
    /// Attempts in all.
    pub max_attempts: u32,
    /// When it may run, or might have.
    pub run_at: Timestamp,
    /// When it was enqueued.
    pub created_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// It is of no use after this.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
    /// Its unique key.
    #[serde(default)]
    pub unique_key: Option<String>,
    /// Why it is dead.
    pub reason: Option<Reason>,
    /// What a parked job waits for.
    #[serde(default)]
    pub parked_for: Option<String>,
    /// The trace of whoever enqueued it.
    #[serde(default)]
    pub trace_id: Option<String>,
    /// The jobs that it waits for, or waited for.
    #[serde(default)]
    pub parents: Vec<ParentStatus>,
    /// Its attempts, first to last.
    #[serde(default)]
    pub attempts: Vec<Attempt>,
}

/// A job that another one waits for, or waited for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ParentStatus {
    /// Which job.
    pub id: JobId,
    /// Its kind.
    pub kind: Kind,
    /// How it ended, as the one that waited was told; until then where it stands, as far as the ledger
    /// knows: `Ready` stands for running, too.
    pub state: State,
    /// Why it is dead.
    #[serde(default)]
    pub reason: Option<String>,
}

/// An attempt. What was not recorded is absent: of a success, only its end is kept.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Attempt {
    /// Its number; 1 is the first.
    pub n: u32,
    /// When it started.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// How it ended.
    pub outcome: String,
    /// What went wrong.
    pub error: Option<String>,
    /// Who ran it.
    pub worker: Option<String>,
}

/// What became of a cancellation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cancellation {
    /// It will not run any more.
    Cancelled,
    /// A worker runs it now and is told to stop.
    Cancelling,
}

/// The answer to a cancellation.
#[derive(Debug, Deserialize)]
pub(super) struct Cancelled {
    pub(super) state: Cancellation,
}
