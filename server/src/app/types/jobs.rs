//! Jobs: what is asked for, and what is shown.

use postworks::job::family::{OnFailure, PARENTS_MAX, Parent, REF_BYTES_MAX};
use postworks::job::{
    AHEAD_MAX, DEBOUNCE_MAX, DEBOUNCE_MIN, JobId, Kind, MAX_ATTEMPTS_MAX, PRIORITY_S_MAX, Queue,
    Reason, State, Timestamp, TraceParent, UNIQUE_FOR_MAX, UNIQUE_FOR_MIN, UNIQUE_KEY_BYTES_MAX,
};
use postworks::ledger::BATCH_MAX;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::words;
use crate::app::paging::LIMIT_MAX;

/// What is further ahead is taken for a mistake.
const DELAY_MS_MAX: u64 = AHEAD_MAX.as_secs() * 1_000;
/// A period's and a debounce's bounds, in milliseconds.
const PERIOD_MS: [u64; 2] = [UNIQUE_FOR_MIN.as_secs() * 1_000, UNIQUE_FOR_MAX.as_secs() * 1_000];
const DEBOUNCE_MS: [u64; 2] = [DEBOUNCE_MIN.subsec_millis() as u64, DEBOUNCE_MAX.as_secs() * 1_000];

/// A job to enqueue.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnqueueJob {
    /// The kind's name.
    #[schemars(with = "words::KnownKind")]
    pub kind: String,
    /// The arguments; none if absent.
    #[serde(default = "no_args")]
    #[schemars(with = "words::Args")]
    pub args: Box<RawValue>,
    /// Not before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::Time>")]
    pub run_at: Option<Timestamp>,
    /// Not before this many milliseconds from now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = DELAY_MS_MAX))]
    pub delay_ms: Option<u64>,
    /// While a live job of the kind has this key, another is not made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::Name>", length(min = 1, max = UNIQUE_KEY_BYTES_MAX))]
    pub unique_key: Option<String>,
    /// What frees the key: the job's end, whatever it is (`ended`, if absent), or the start of a run
    /// (`started`), so that what comes in meanwhile is not lost. Needs `unique_key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::KeyHeldUntil>")]
    pub unique_until: Option<String>,
    /// The key is held for so long from now even if the job completes before, in milliseconds; not if
    /// it dies or is cancelled. Needs `unique_key`; not together with `unique_until` `started`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = PERIOD_MS[0], max = PERIOD_MS[1]))]
    pub unique_for_ms: Option<u64>,
    /// Due so long from now, in milliseconds. Another such job of the key that comes while it waits
    /// replaces its `args`, `expires_at` and `priority`, and lets it wait anew; the key is free once it
    /// has started. Needs `unique_key`; not together with `run_at`, `delay_ms`, `unique_for_ms` or
    /// `unique_until` `ended`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = DEBOUNCE_MS[0], max = DEBOUNCE_MS[1]))]
    pub debounce_ms: Option<u64>,
    /// It waits no longer than this in all, in milliseconds: ten times `debounce_ms`, and 24 hours at
    /// most, if absent. That of the first job counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = DEBOUNCE_MS[0], max = DEBOUNCE_MS[1]))]
    pub max_delay_ms: Option<u64>,
    /// Head start in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = PRIORITY_S_MAX))]
    pub priority: Option<u32>,
    /// Attempts in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = MAX_ATTEMPTS_MAX))]
    pub max_attempts: Option<u32>,
    /// Of no use after this, unless it waits for a person to connect its account again
    /// (`retry.reauth_wait`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::Time>")]
    pub expires_at: Option<Timestamp>,
    /// What the others of the same request call it.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::Name>", length(min = 1, max = REF_BYTES_MAX))]
    pub name: Option<String>,
    /// Not before these jobs have ended: ids, or what jobs of the same request are called.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<words::Name>", length(max = PARENTS_MAX), extend("uniqueItems" = true))]
    pub after: Vec<Parent>,
    /// What becomes of it if one of them does not complete; `fail` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::OnFailure>")]
    pub on_failure: Option<OnFailure>,
    /// The caller's trace; over HTTP it is the header `traceparent`.
    #[serde(skip)]
    pub trace: Option<TraceParent>,
}

pub(super) fn no_args() -> Box<RawValue> {
    RawValue::from_string("{}".to_owned()).unwrap_or_default()
}

/// Jobs to enqueue, all or none.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnqueueBulk {
    /// The jobs.
    #[serde(deserialize_with = "super::object::objects")]
    #[schemars(length(min = 1, max = BATCH_MAX))]
    pub jobs: Vec<EnqueueJob>,
}

/// An accepted job.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "EnqueuedJob")]
pub struct Enqueued {
    /// The job.
    #[schemars(with = "Uuid")]
    pub id: JobId,
    /// Its state.
    #[schemars(with = "words::State")]
    pub state: State,
    /// Whether it was made now, or one that holds the unique key was found.
    pub created: bool,
    /// Whether the one that was found waits, and runs with these arguments now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replaced: bool,
}

/// An accepted job of a bulk.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "BulkEnqueuedJob")]
pub struct BulkEnqueued {
    /// The job.
    #[schemars(with = "Uuid")]
    pub id: JobId,
    /// Whether it was made now.
    pub created: bool,
    /// Whether the one that was found waits, and runs with these arguments now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replaced: bool,
}

/// The accepted jobs of a bulk, in order.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "EnqueuedJobs")]
pub struct EnqueuedBulk {
    /// The jobs.
    pub jobs: Vec<BulkEnqueued>,
}

/// A job as it is shown.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Job")]
pub struct JobView {
    /// The job.
    #[schemars(with = "Uuid")]
    pub id: JobId,
    /// Its kind.
    #[schemars(with = "words::Kind")]
    pub kind: Kind,
    /// Its queue.
    #[schemars(with = "words::Queue")]
    pub queue: Queue,
    /// Where it is in its life.
    #[schemars(with = "words::State")]
    pub state: State,
    /// Its arguments.
    #[schemars(with = "words::Object")]
    pub args: Box<RawValue>,
    /// The number of its last attempt; 0 before the first.
    pub attempt: u32,
    /// Attempts in all.
    pub max_attempts: u32,
    /// When it may run, or might have.
    #[schemars(with = "words::Time")]
    pub run_at: Timestamp,
    /// When it was enqueued.
    #[schemars(with = "words::Time")]
    pub created_at: Timestamp,
    /// When it ended.
    #[schemars(with = "Option<words::Time>")]
    pub finished_at: Option<Timestamp>,
    /// It is of no use after this.
    #[schemars(with = "words::Time")]
    pub expires_at: Timestamp,
    /// The unique key that it holds, or held.
    pub unique_key: Option<String>,
    /// Why it is dead.
    #[schemars(with = "Option<words::Reason>")]
    pub reason: Option<Reason>,
    /// What a parked job waits for.
    pub parked_for: Option<String>,
    /// The trace of whoever enqueued it.
    #[serde(default)]
    pub trace_id: Option<String>,
    /// The jobs that it waits for, or waited for; not shown in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parents: Option<Vec<ParentView>>,
    /// Its attempts, first to last; not shown in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<Vec<AttemptView>>,
    /// What it has deleted so far, or would delete, if it is a cleanup; not shown in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Vec<ProgressView>>,
}

/// How far a cleanup came with a scope.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "CleanupProgress")]
pub struct ProgressView {
    /// The scope.
    #[schemars(with = "words::CleanupScope")]
    pub scope: String,
    /// Rows that went, or would go.
    pub rows: u64,
    /// Partitions of them that were dropped whole, or would be.
    pub partitions: u64,
    /// It is done with the scope.
    pub done: bool,
    /// The rows of each tenant, where they are tenants' own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tenants: Vec<TenantRows>,
}

/// How many rows of a tenant went, or would go.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct TenantRows {
    /// The tenant's name.
    pub tenant: String,
    /// Its rows.
    pub rows: u64,
}

/// A job that another one waits for, or waited for.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Parent")]
pub struct ParentView {
    /// The job.
    #[schemars(with = "Uuid")]
    pub id: JobId,
    /// Its kind.
    #[schemars(with = "words::Kind")]
    pub kind: Kind,
    /// How it ended, as the one that waited was told; until then `parked`, or `ready`, which stands
    /// for running, too.
    #[schemars(with = "words::State")]
    pub state: State,
    /// Why it is dead.
    pub reason: Option<String>,
}

/// An attempt as it is shown. What was not recorded is null: of a success, only its end is kept.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Attempt")]
pub struct AttemptView {
    /// Its number; 1 is the first.
    pub n: u32,
    /// When it started.
    #[schemars(with = "Option<words::Time>")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[schemars(with = "Option<words::Time>")]
    pub ended_at: Option<Timestamp>,
    /// How it ended.
    pub outcome: String,
    /// What went wrong.
    pub error: Option<String>,
    /// Who ran it.
    pub worker: Option<String>,
}

/// Which jobs to list.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct JobsQuery {
    /// Only those of this state.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::State>")]
    pub state: Option<String>,
    /// Only those of this kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::KnownKind>")]
    pub kind: Option<String>,
    /// Only those of this queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::Queue>")]
    pub queue: Option<String>,
    /// At most this many, 1 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = LIMIT_MAX))]
    pub limit: Option<u32>,
    /// Where the page before ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::Cursor>")]
    pub cursor: Option<String>,
}

/// What became of a cancellation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CancelState {
    /// It will not run any more.
    Cancelled,
    /// A worker runs it now and is told to stop.
    Cancelling,
}

/// The answer to a cancellation.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
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
            unique_until: None,
            unique_for_ms: None,
            debounce_ms: None,
            max_delay_ms: None,
            priority: None,
            max_attempts: None,
            expires_at: None,
            name: None,
            after: Vec::new(),
            on_failure: None,
            trace: None,
        }
    }
}
