//! Rows as the databases hold them, and what they mean.

use sqlx::FromRow;
use uuid::Uuid;

use crate::job::{
    Category, Durability, Edit, JobId, Kind, NewJob, Queue, Reason, State, Tenant, Timestamp, Turn,
    Uniqueness, WorkerId,
};
use crate::ledger::{DeadLetter, Error, FailedAttempt, JobRow};

/// The columns of a [`StoredJob`].
macro_rules! job_columns {
    () => {
        "jobs.id, jobs.kind, jobs.kind_version, jobs.queue, jobs.args, jobs.failed_attempts, \
         jobs.max_attempts, jobs.priority_s, coalesce(jobs.unique_key, jobs.freed_key) AS unique_key, \
         jobs.account, jobs.run_at, jobs.created_at, jobs.expires_at, jobs.traceparent, \
         jobs.tenant_id, jobs.key_until_start, jobs.key_until, jobs.debounced_until"
    };
}
pub(super) use job_columns;

/// What a job was recorded with.
#[derive(Debug, FromRow)]
pub(super) struct StoredJob {
    id: Uuid,
    kind: String,
    kind_version: i32,
    queue: String,
    args: String,
    failed_attempts: i32,
    max_attempts: i32,
    priority_s: i32,
    unique_key: Option<String>,
    account: Option<Uuid>,
    run_at: i64,
    created_at: i64,
    expires_at: i64,
    traceparent: Option<String>,
    tenant_id: Uuid,
    #[sqlx(flatten)]
    marks: Marks,
}

/// For how long a job holds its unique key; all empty if as long as it is live.
#[derive(Debug, FromRow)]
pub(super) struct Marks {
    pub(super) key_until_start: Option<bool>,
    pub(super) key_until: Option<i64>,
    pub(super) debounced_until: Option<i64>,
}

impl StoredJob {
    /// Which job.
    pub(super) fn id(&self) -> JobId {
        JobId::from_uuid(self.id)
    }

    /// When its turn comes, as the database tells it.
    pub(super) fn turn(&self, now: Timestamp) -> Turn {
        let due = self.run_at <= now.as_millis();
        let head_start_ms = if due { i64::from(self.priority_s) * 1_000 } else { 0 };
        Turn { at_ms: self.run_at.saturating_sub(head_start_ms), id: self.id() }
    }
}

/// A job and what became of it.
#[derive(Debug, FromRow)]
pub(super) struct StoredRow {
    #[sqlx(flatten)]
    job: StoredJob,
    state: String,
    finished_at: Option<i64>,
    parked_for: Option<String>,
    category: Option<String>,
    class: Option<String>,
    message: Option<String>,
    /// When it may run, of one that waits for its parents.
    own_run_at: Option<i64>,
}

/// What decides whether a claim may do something to a job.
#[derive(Debug, FromRow)]
pub(super) struct Fence {
    pub(super) id: Uuid,
    pub(super) state: String,
    pub(super) token: Option<i64>,
    pub(super) settled: bool,
    /// The claim that a person's move took the job from.
    pub(super) moved_token: Option<i64>,
    pub(super) run_at: i64,
    pub(super) expires_at: i64,
    pub(super) failed_attempts: i32,
    pub(super) crashes: i32,
    /// Until when a worker of an earlier generation may still claim it back.
    pub(super) reserved_until: Option<i64>,
    #[sqlx(flatten)]
    edit: StoredEdit,
}

/// The columns of a [`StoredEdit`]: empty unless arguments were replaced.
macro_rules! edit_columns {
    () => {
        "CASE WHEN edits > 0 THEN args END AS args, kind_version, account, priority_s, expires_at"
    };
}
pub(super) use edit_columns;

/// What took the place of a job's arguments, if anything did.
#[derive(Debug, FromRow)]
struct StoredEdit {
    args: Option<String>,
    kind_version: i32,
    account: Option<Uuid>,
    priority_s: i32,
    expires_at: i64,
}

/// A dead letter.
#[derive(Debug, FromRow)]
pub(super) struct StoredLetter {
    pub(super) job_id: Uuid,
    kind: String,
    queue: String,
    category: String,
    class: String,
    message: String,
    fingerprint: String,
    attempts: i32,
    created_at: i64,
    died_at: i64,
}

/// A failed attempt.
#[derive(Debug, FromRow)]
pub(super) struct StoredAttempt {
    n: i32,
    started_at: i64,
    ended_at: i64,
    outcome: String,
    error: String,
    worker: String,
}

/// What a row says that this program cannot have written.
pub(super) fn nonsense(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Protocol(sqlx::Error::Decode(Box::new(error)))
}

/// A count as a column's number. None of ours comes near the end of the range.
pub(super) fn number(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// Text as PostgreSQL takes it: it refuses U+0000, which a platform may well send us.
pub(super) fn plain(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

fn count(number: i32) -> u32 {
    u32::try_from(number).unwrap_or(0)
}

/// The state of a row. `Ready` stands for all that only time and the broker tell apart.
pub(super) fn state(text: &str) -> Result<State, Error> {
    if text == "open" { Ok(State::Ready) } else { text.parse().map_err(nonsense) }
}

impl TryFrom<StoredJob> for NewJob {
    type Error = Error;

    fn try_from(row: StoredJob) -> Result<Self, Error> {
        Ok(Self {
            id: JobId::from_uuid(row.id),
            tenant: Tenant::from_uuid(row.tenant_id),
            kind: Kind::parse(&row.kind).map_err(nonsense)?,
            kind_version: u16::try_from(row.kind_version).map_err(nonsense)?,
            queue: Queue::parse(&row.queue).map_err(nonsense)?,
            args: row.args,
            failed_attempts: count(row.failed_attempts),
            max_attempts: count(row.max_attempts),
            priority_s: count(row.priority_s),
            unique_key: row.unique_key,
            uniqueness: row.marks.into(),
            account: row.account,
            run_at: Timestamp::from_millis(row.run_at),
            created_at: Timestamp::from_millis(row.created_at),
            expires_at: Timestamp::from_millis(row.expires_at),
            // What has a row is recorded, also if its kind is not: once dead and put back, it
            // must be settled here.
            durability: Durability::Ledger,
            trace: row.traceparent.and_then(|text| text.parse().ok()),
            waits: None,
        })
    }
}

impl TryFrom<StoredRow> for JobRow {
    type Error = Error;

    fn try_from(row: StoredRow) -> Result<Self, Error> {
        let reason = match (row.category, row.class, row.message) {
            (Some(category), Some(class), Some(message)) => {
                Some(Reason { category: category.parse().map_err(nonsense)?, class, message })
            }
            _ => None,
        };
        let mut job = NewJob::try_from(row.job)?;
        job.run_at = row.own_run_at.map_or(job.run_at, Timestamp::from_millis);
        Ok(Self {
            state: state(&row.state)?,
            finished_at: row.finished_at.map(Timestamp::from_millis),
            reason,
            parked_for: row.parked_for,
            job,
        })
    }
}

impl TryFrom<StoredLetter> for DeadLetter {
    type Error = Error;

    fn try_from(row: StoredLetter) -> Result<Self, Error> {
        let category: Category = row.category.parse().map_err(nonsense)?;
        Ok(Self {
            id: JobId::from_uuid(row.job_id),
            kind: Kind::parse(&row.kind).map_err(nonsense)?,
            queue: Queue::parse(&row.queue).map_err(nonsense)?,
            reason: Reason { category, class: row.class, message: row.message },
            fingerprint: row.fingerprint,
            attempts: count(row.attempts),
            created_at: Timestamp::from_millis(row.created_at),
            died_at: Timestamp::from_millis(row.died_at),
        })
    }
}

impl From<StoredAttempt> for FailedAttempt {
    fn from(row: StoredAttempt) -> Self {
        Self {
            n: count(row.n),
            started_at: Timestamp::from_millis(row.started_at),
            ended_at: Timestamp::from_millis(row.ended_at),
            outcome: row.outcome,
            error: row.error,
            worker: WorkerId::from_text(&row.worker),
        }
    }
}

impl From<Uniqueness> for Marks {
    fn from(uniqueness: Uniqueness) -> Self {
        let blank = Self { key_until_start: None, key_until: None, debounced_until: None };
        let key_until_start = uniqueness.ends_at_start().then_some(true);
        match uniqueness {
            Uniqueness::UntilEnded | Uniqueness::UntilStarted => Self { key_until_start, ..blank },
            Uniqueness::Debounced { until } => {
                Self { key_until_start, debounced_until: Some(until.as_millis()), ..blank }
            }
            Uniqueness::For { until } => Self { key_until: Some(until.as_millis()), ..blank },
        }
    }
}

impl From<Marks> for Uniqueness {
    fn from(marks: Marks) -> Self {
        let until = marks.debounced_until.or(marks.key_until).map(Timestamp::from_millis);
        match (marks.key_until_start == Some(true), until) {
            (true, Some(until)) => Self::Debounced { until },
            (true, None) => Self::UntilStarted,
            (false, Some(until)) => Self::For { until },
            (false, None) => Self::UntilEnded,
        }
    }
}

impl Fence {
    /// What took the place of the job's arguments, if anything did.
    pub(super) fn edit(&self) -> Result<Option<Box<Edit>>, Error> {
        let StoredEdit { args, kind_version, account, priority_s, expires_at } = &self.edit;
        let Some(args) = args.clone() else { return Ok(None) };
        Ok(Some(Box::new(Edit {
            args,
            kind_version: u16::try_from(*kind_version).map_err(nonsense)?,
            account: *account,
            priority_s: count(*priority_s),
            expires_at: Timestamp::from_millis(*expires_at),
        })))
    }

    /// How many attempts have failed.
    pub(super) fn failed_attempts(&self) -> u32 {
        count(self.failed_attempts)
    }

    /// How many workers crashed with it.
    pub(super) fn crashes(&self) -> u32 {
        count(self.crashes)
    }
}
