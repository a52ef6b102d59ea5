//! The record of every job. What is committed here is accepted; everything else can be rebuilt
//! from it.
//!
//! [`SqlLedger`] keeps it in PostgreSQL or, embedded, in SQLite; one conformance suite
//! (`testing::ledger`) runs on both.

use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use uuid::Uuid;

mod acting;
mod audit;
mod connect;
mod db;
mod end;
mod families;
mod fault;
mod fingerprint;
mod group;
mod hold;
mod letters;
mod meter;
mod migrations;
mod open;
mod outage;
mod redrives;
mod schedules;
mod sql;
mod standing;
mod sure;
mod unpark;

pub use acting::Reading;
pub use audit::{AuditEntry, AuditFilter};
pub use connect::{PostgresOptions, SqliteFile};
use db::Session;
pub use db::{Connections, Db, Tx};
pub use end::{Cancel, Prune};
pub use families::{Families, ParentJob, Told, UnfitParent};
pub use fault::Error;
pub use group::GroupCommit;
pub use hold::{Held, Holder, QueueHold, Wish};
pub use letters::{
    DeadCount, DeadFilter, DeadGroup, DeadLetter, DeadSubject, Edited, PutBack, Redriven,
};
pub use meter::Class;
#[cfg(feature = "servers")]
pub(crate) use migrations::postgres_migrations;
pub use open::{Backlog, Page, Span};
pub use outage::GuardedPool;
pub use redrives::{CauseCount, PutBackOnce, Redrive, RedriveState};
pub use schedules::{
    Added, FIRES_KEPT, Fire, Fired, Firing, RanNow, SCHEDULES_MAX, Schedule, Schedules,
};
pub use sql::{JobMove, JobMoved, SqlLedger};
pub use standing::{Settled, Standing};
pub use sure::{MaybeUnsure, until_sure};
pub use unpark::Unpark;

use crate::finding::Finding;
use crate::job::{JobId, Kind, NewJob, Queue, Reason, State, Timestamp, Token, Turn, WorkerId};

/// Most jobs in one call of any method here.
pub const BATCH_MAX: usize = 1_000;

/// What became of an enqueue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// The job was made.
    Created,
    /// The job was made, and waits for its parents: it is not for a broker yet.
    Waits,
    /// Another job of the same kind holds the unique key; this is its id.
    Existing(JobId),
    /// It holds the key and waits; its arguments are this request's now
    /// ([`Uniqueness::Debounced`](crate::job::Uniqueness::Debounced)).
    Replaced(JobId),
}

impl Recorded {
    /// Those of the jobs that were made, for [`Producer::dispatch`](crate::client::Producer::dispatch);
    /// `recorded` is what was answered for them, in order.
    pub fn made(jobs: &[NewJob], recorded: &[Self]) -> Vec<NewJob> {
        let made = jobs.iter().zip(recorded);
        made.filter_map(|(job, recorded)| recorded.job(job.clone())).collect()
    }

    /// The job as it is now, if it was made.
    pub(crate) fn job(self, job: NewJob) -> Option<NewJob> {
        match self {
            Self::Created => Some(NewJob { waits: None, ..job }),
            Self::Waits => Some(job),
            Self::Existing(_) | Self::Replaced(_) => None,
        }
    }
}

/// A run's outcome as the ledger records it.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// The job.
    pub id: JobId,
    /// The fencing token of the run.
    pub token: Token,
    /// What becomes of the job.
    pub then: Next,
    /// The failed attempt, if the run was one.
    pub failed: Option<FailedAttempt>,
}

/// What becomes of a job after a run.
#[derive(Debug, Clone)]
pub enum Next {
    /// Ended well.
    Completed {
        /// When.
        at: Timestamp,
    },
    /// Waits again.
    Waits {
        /// Until when.
        until: Timestamp,
        /// Attempts that have failed so far.
        failed_attempts: u32,
    },
    /// Waits for something outside, in the ledger only; looked at again at `until`.
    Parked {
        /// Until when at most.
        until: Timestamp,
        /// What it waits for, in one word.
        why: &'static str,
        /// It is of use until then at least, counted from when it parked first since a person was
        /// here; `None` leaves that as it is.
        kept_until: Option<Timestamp>,
    },
    /// For a person.
    Dead {
        /// When.
        at: Timestamp,
        /// Why.
        reason: Reason,
        /// Attempts that have failed in all.
        failed_attempts: u32,
        /// Set if the ledger has no row of the job yet (a kind of durability `broker`).
        job: Option<Box<NewJob>>,
    },
    /// Ended by a person.
    Cancelled {
        /// When.
        at: Timestamp,
    },
}

/// A failed attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FailedAttempt {
    /// Its number; 1 is the first.
    pub n: u32,
    /// When it started.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// `retry` or `dead`.
    pub outcome: String,
    /// What went wrong, in words.
    pub error: String,
    /// Who ran it.
    pub worker: WorkerId,
}

/// A broker that lost its memory, or was started anew, as a reconciler found it.
#[derive(Debug, Clone, Copy)]
pub struct Bump {
    /// The generation the broker still holds, if any.
    pub held: Option<u32>,
    /// When the reconciler found it.
    pub at: Timestamp,
    /// For so long the jobs that workers had started before are theirs to keep: these may be alive
    /// and have lost nothing but their leases. Zero if no worker outlives the broker.
    pub reserved: Duration,
}

/// A job's row.
#[derive(Debug, Clone)]
pub struct JobRow {
    /// The job as it was recorded, with the attempts that have failed since and its present
    /// `run_at`.
    pub job: NewJob,
    /// `Ready` stands for every state that only time and the broker tell apart (delayed, ready,
    /// running).
    pub state: State,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Why it is dead.
    pub reason: Option<Reason>,
    /// What a parked job waits for.
    pub parked_for: Option<String>,
}

/// Which jobs to list. Newest first.
#[derive(Debug, Clone, Default)]
pub struct JobFilter {
    /// Only those of this state; `Delayed` and `Ready` are told apart by time, and a running job
    /// is listed under `Running` only by a caller that asks the broker.
    pub state: Option<State>,
    /// Only those of this kind.
    pub kind: Option<Kind>,
    /// Only those of this queue.
    pub queue: Option<Queue>,
    /// Only those older than this id: the last one of the page before.
    pub before: Option<JobId>,
    /// At most this many.
    pub limit: u32,
}

/// Keeps the record of every job.
#[async_trait]
pub trait Ledger: Send + Sync + 'static {
    /// Records jobs in one transaction, all or none; answers one [`Recorded`] a job, in order.
    async fn enqueue(&self, jobs: &[NewJob]) -> Result<Vec<Recorded>, Error>;

    /// Records outcomes; answers one [`Settled`] each, in order. May be repeated.
    ///
    /// A verdict counts if the job is live and its token is unset or the verdict's own.
    async fn settle(&self, verdicts: &[Verdict]) -> Result<Vec<Settled>, Error>;

    /// Writes claims' tokens over smaller ones; answers what the claimer must know, in order.
    async fn stamp(
        &self,
        claims: &[(JobId, Token)],
        now: Timestamp,
    ) -> Result<Vec<Standing>, Error>;

    /// Counts, for each claim, that its worker crashed: once a claim, however often it is said,
    /// and only where the job is live and no later claim or verdict is recorded. A verdict of a
    /// later run sets a job's count back to zero.
    async fn crashed(&self, claims: &[(JobId, Token)]) -> Result<(), Error>;

    /// Takes back what [`crashed`](Self::crashed) counted for these claims, once: their worker
    /// lives after all.
    async fn absolve(&self, claims: &[(JobId, Token)]) -> Result<(), Error>;

    /// Whether runs are still these claims' own: a verdict of theirs would count now. Answers one
    /// a claim, in order.
    async fn holds(&self, claims: &[(JobId, Token)]) -> Result<Vec<bool>, Error>;

    /// A job's row.
    async fn job(&self, id: JobId) -> Result<Option<JobRow>, Error>;

    /// The jobs that a job waits for, or waited for, in the order of their ids.
    async fn parents(&self, id: JobId) -> Result<Vec<ParentJob>, Error>;

    /// A job's failed attempts, first to last.
    async fn attempts(&self, id: JobId) -> Result<Vec<FailedAttempt>, Error>;

    /// Lists jobs.
    async fn jobs(&self, filter: &JobFilter, now: Timestamp) -> Result<Vec<JobRow>, Error>;

    /// Ends a live job; its unique key is free at once. What is noted is noted only if it was live.
    async fn cancel(
        &self,
        id: JobId,
        now: Timestamp,
        note: Option<&AuditEntry>,
    ) -> Result<Cancel, Error>;

    /// Lists dead letters.
    async fn dead_letters(&self, filter: &DeadFilter) -> Result<Vec<DeadLetter>, Error>;

    /// Counts dead letters, and says when the oldest died.
    async fn dead_counts(&self) -> Result<Vec<DeadCount>, Error>;

    /// Puts dead letters back: live, due now, no attempt failed.
    async fn redrive(&self, filter: &DeadFilter, how: PutBack<'_>) -> Result<Redriven, Error>;

    /// Groups dead letters by their cause, the most numerous first; at most `filter.limit` groups.
    async fn dead_groups(&self, filter: &DeadFilter) -> Result<Vec<DeadGroup>, Error>;

    /// Ends dead jobs for good, as cancelled, and takes their letters away. Answers how many.
    async fn discard(
        &self,
        filter: &DeadFilter,
        now: Timestamp,
        note: Option<&AuditEntry>,
    ) -> Result<u64, Error>;

    /// What these jobs, if dead, were about, and what made them needless. `catching_up` are the
    /// kinds of which any job for an account does what an earlier one left.
    async fn dead_subjects(
        &self,
        ids: &[JobId],
        catching_up: &[Kind],
    ) -> Result<Vec<DeadSubject>, Error>;

    /// When a job was put back, first to last.
    async fn lineage(&self, id: JobId) -> Result<Vec<PutBackOnce>, Error>;

    /// Begins a redrive in the background; its audit entry has the same id and counts no job yet.
    /// May be repeated.
    async fn start_redrive(&self, new: &Redrive, note: &AuditEntry) -> Result<(), Error>;

    /// A redrive.
    async fn redrive_of(&self, id: Uuid) -> Result<Option<Redrive>, Error>;

    /// Lists redrives, newest first: all or those that run, older than `before`.
    async fn redrives(
        &self,
        running: bool,
        before: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<Redrive>, Error>;

    /// Saves how far a redrive came, unless somebody changed or ended it since it was read.
    /// Answers whether it was saved; its version is one more then.
    async fn save_redrive(&self, redrive: &Redrive) -> Result<bool, Error>;

    /// Ends a redrive for a person, `why` in words. Answers whether it ran.
    async fn stop_redrive(&self, id: Uuid, why: &str, note: &AuditEntry) -> Result<bool, Error>;

    /// What became of the jobs that a redrive put back, cause by cause.
    async fn redrive_causes(&self, id: Uuid) -> Result<Vec<CauseCount>, Error>;

    /// Notes an operator's action that is done elsewhere. May be repeated.
    async fn audit(&self, entry: &AuditEntry) -> Result<(), Error>;

    /// Notes a step of an action that is done elsewhere: the counts of its steps add up.
    async fn audit_step(&self, entry: &AuditEntry) -> Result<(), Error>;

    /// Records what a person wants of a queue, and notes it; answers what is wanted of it now.
    async fn wish(&self, wish: &Wish, note: &AuditEntry) -> Result<QueueHold, Error>;

    /// What is wanted of each queue that anything was ever wanted of.
    async fn queue_holds(&self) -> Result<Vec<QueueHold>, Error>;

    /// The broker has what is wanted of a queue, in this revision.
    async fn hold_applied(&self, queue: &Queue, revision: u64) -> Result<(), Error>;

    /// Lists operators' actions.
    async fn audits(&self, filter: &AuditFilter) -> Result<Vec<AuditEntry>, Error>;

    /// Live jobs that a broker should hold, in id order: enqueued before `created_before`, due
    /// before `due_before`, with an id greater than `after`; at most `limit`.
    async fn open_jobs(
        &self,
        after: Option<JobId>,
        created_before: Timestamp,
        due_before: Timestamp,
        limit: u32,
    ) -> Result<Page<JobId>, Error>;

    /// The live jobs of a span, in the order of their turns, at most `limit`.
    async fn jobs_in_turn(&self, span: Span<'_>, limit: u32) -> Result<Page<Turn>, Error>;

    /// The turn of the job that comes after the first `jobs` of a span; `None` if there is none.
    async fn turn_after(&self, span: Span<'_>, jobs: usize) -> Result<Option<Turn>, Error>;

    /// The live jobs of a span that fell due after `since` and whose head start puts them before
    /// its end, in the order of their turns, at most `limit`: those that overtake.
    async fn jobs_overtaking(
        &self,
        span: Span<'_>,
        since: Timestamp,
        limit: u32,
    ) -> Result<Page<Turn>, Error>;

    /// Counts a queue's live jobs that are due before `due_before`.
    async fn backlog(
        &self,
        queue: &Queue,
        now: Timestamp,
        due_before: Timestamp,
    ) -> Result<Backlog, Error>;

    /// Makes parked jobs live again. Answers how many. [`Unpark::Due`] also ends those that waited
    /// for a person in vain until they expired.
    async fn unpark(&self, whose: Unpark, now: Timestamp) -> Result<u64, Error>;

    /// Bumps the queue's generation; answers the new one, greater than every one before and than
    /// the one held. `None` if another reconciler bumped it just now: it is about to open the
    /// queue, so look again.
    ///
    /// Only one caller ever gets a number, and opens the queue with it once. Two that opened with
    /// the same number would repeat its tokens, if the broker lost its memory again in between.
    async fn next_generation(&self, queue: &Queue, bump: Bump) -> Result<Option<u32>, Error>;

    /// The generation of each queue that was ever opened.
    async fn generations(&self) -> Result<Vec<(Queue, u32)>, Error>;

    /// Deletes at most `limit` rows that ended before `before`; answers how many went, or, in a
    /// dry run, how many in all would go.
    async fn prune(
        &self,
        what: Prune,
        before: Timestamp,
        limit: u32,
        dry_run: bool,
    ) -> Result<u64, Error>;

    /// What is right and wrong with the database below the tables.
    async fn examine(&self) -> Result<Vec<Finding>, Error> {
        Ok(Vec::new())
    }

    /// Whether the ledger answers and has this program's tables.
    async fn check(&self) -> Result<(), Error>;
}
