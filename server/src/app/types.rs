//! What callers send and get, as the public contract says; the HTTP API and the command line
//! share these types.

use std::time::Duration;

use postworks::job::{Category, JobId, Kind, Queue, Reason, State, Timestamp};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

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
}

fn no_args() -> Box<RawValue> {
    RawValue::from_string("{}".to_owned()).unwrap_or_default()
}

/// Jobs to enqueue, all or none.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnqueueBulk {
    /// The jobs.
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

/// Which page of a list.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PageQuery {
    /// At most this many, 1 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Where the page before ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// A page of a list.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Page<T> {
    /// What is on it, newest first.
    pub items: Vec<T>,
    /// The cursor of the next page, if there is one.
    pub next: Option<String>,
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

/// An account to connect.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddConnector {
    /// The platform's name.
    pub platform: String,
    /// Where its server is.
    pub base_url: String,
    /// The handle or address.
    pub identifier: String,
    /// What proves that it is ours: an app password or a refresh token.
    pub secret: SecretString,
}

/// A connected account.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Connector {
    /// Our id of it.
    pub id: Uuid,
    /// The platform's name.
    pub platform: String,
    /// Where its server is.
    pub base_url: String,
    /// The handle or address.
    pub identifier: String,
    /// `active` or `needs_reauth`.
    pub state: String,
    /// When it was connected.
    pub created_at: Timestamp,
}

/// A post to keep.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddPost {
    /// Its text.
    pub text: String,
}

/// A post.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Post {
    /// The post.
    pub id: Uuid,
    /// Its text.
    pub text: String,
    /// When it was written.
    pub created_at: Timestamp,
}

/// The id of something new.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Created {
    /// The id.
    pub id: Uuid,
}

/// A post to publish.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Publish {
    /// The post.
    pub post_id: Uuid,
    /// The accounts.
    pub connector_ids: Vec<Uuid>,
    /// When; now if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

/// A publication that was accepted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Accepted {
    /// The publication.
    pub id: Uuid,
    /// The account.
    pub connector_id: Uuid,
    /// The job that publishes.
    pub job_id: JobId,
}

/// The publications that were accepted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Publications {
    /// One for each account, in order.
    pub publications: Vec<Accepted>,
}

/// One post on one account.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Publication {
    /// The publication.
    pub id: Uuid,
    /// `scheduled`, `sending`, `published` or `failed`.
    pub state: String,
    /// The platform's id of the post.
    pub remote_id: Option<String>,
    /// Where people see it.
    pub remote_url: Option<String>,
    /// The post.
    pub post_id: Uuid,
    /// The account.
    pub connector_id: Uuid,
    /// The job that publishes.
    pub job_id: JobId,
}

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
    pub filter: DeadChoice,
    /// Only say what would happen.
    #[serde(default)]
    pub dry_run: bool,
}

/// What became, or would become, of the chosen dead letters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Chosen.
    pub matched: u64,
    /// Put back.
    pub runnable: u64,
    /// Left alone: what they were to do is done.
    pub done: u64,
    /// Left alone: perhaps done, and only a person can tell. Naming the job's id puts it back.
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

/// A queue and what is in it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct QueueView {
    /// The queue.
    pub queue: Queue,
    /// Due and unclaimed.
    pub ready: u64,
    /// Waiting for their time, as far as the broker holds them.
    pub delayed: u64,
    /// Running.
    pub running: u64,
    /// For a person.
    pub dead: u64,
    /// How long the oldest due job has waited.
    pub oldest_ready_age_seconds: f64,
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
        }
    }

    /// When it may run, counted from `now`.
    pub(super) fn due(&self, now: Timestamp) -> Option<Timestamp> {
        self.run_at.or(self.delay_ms.map(|ms| now.after(Duration::from_millis(ms))))
    }
}
