//! Jobs: what is asked for, and what is shown.

use postworks::job::{JobId, Kind, Queue, Reason, State, Timestamp, TraceParent};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A job to enqueue.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnqueueJob {
    /// The kind's name.
    pub kind: String,
    /// The arguments; none if absent.
    #[serde(default = "no_args")]
    pub args: Box<RawValue>,
    /// Not before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_at: Option<Timestamp>,
    /// Not before this many milliseconds from now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u64>,
    /// While a live job of the kind has this key, another is not made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unique_key: Option<String>,
    /// Head start in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u32>,
    /// Attempts in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    /// Of no use after this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The caller's trace; over HTTP it is the header `traceparent`.
    #[serde(skip)]
    pub trace: Option<TraceParent>,
}

fn no_args() -> Box<RawValue> {
    RawValue::from_string("{}".to_owned()).unwrap_or_default()
}

/// Jobs to enqueue, all or none.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnqueueBulk {
    /// The jobs.
    #[serde(deserialize_with = "super::object::objects")]
    pub jobs: Vec<EnqueueJob>,
}

/// An accepted job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Enqueued {
    /// The job.
    pub id: JobId,
    /// Its state.
    pub state: State,
    /// Whether it was made now, or a live one with the unique key was found.
    pub created: bool,
}

/// An accepted job of a bulk.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BulkEnqueued {
    /// The job.
    pub id: JobId,
    /// Whether it was made now.
    pub created: bool,
}

/// The accepted jobs of a bulk, in order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EnqueuedBulk {
    /// The jobs.
    pub jobs: Vec<BulkEnqueued>,
}

/// A job as it is shown.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JobView {
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
    pub expires_at: Timestamp,
    /// While it is live, another of the kind with this key is not made.
    pub unique_key: Option<String>,
    /// Why it is dead.
    pub reason: Option<Reason>,
    /// What a parked job waits for.
    pub parked_for: Option<String>,
    /// The trace of whoever enqueued it.
    #[serde(default)]
    pub trace_id: Option<String>,
    /// Its attempts, first to last; not shown in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<Vec<AttemptView>>,
}

/// An attempt as it is shown. What was not recorded is null: of a success, only its end is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AttemptView {
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

/// Which jobs to list.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JobsQuery {
    /// Only those of this state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Only those of this kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Only those of this queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// At most this many, 1 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Where the page before ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// What became of a cancellation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelState {
    /// It will not run any more.
    Cancelled,
    /// A worker runs it now and is told to stop.
    Cancelling,
}

/// The answer to a cancellation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CancelledJob {
    /// What became of it.
    pub state: CancelState,
}

impl EnqueueJob {
    /// A job of this kind with these arguments, due now.
    pub fn new(kind: impl Into<String>, args: Box<RawValue>) -> Self {
        Self {
            kind: kind.into(),
            args,
            run_at: None,
            delay_ms: None,
            unique_key: None,
            priority: None,
            max_attempts: None,
            expires_at: None,
            trace: None,
        }
    }
}
