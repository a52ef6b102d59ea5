//! The ledger in a SQL database.
//!
//! Statements over whole batches have a text for each database (`postgres`: arrays, `sqlite`:
//! JSON); every other statement has one text for both.

mod account;
mod audit;
mod batch;
mod built_in;
mod crash;
mod dead;
mod effect;
mod end;
mod enqueue;
mod examine;
mod family;
mod fire;
mod generation;
mod hold;
mod keys;
mod list;
mod moving;
mod open;
mod parked;
#[cfg(feature = "faults")]
mod planted;
mod postgres;
mod redrive;
mod redrives;
mod replace;
mod schedules;
mod settle;
mod sqlite;
mod stamp;
mod stored;
mod superseded;
mod tell;

pub use moving::{JobMove, JobMoved};

use async_trait::async_trait;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    AuditEntry, AuditFilter, Backlog, Bump, Cancel, CauseCount, Class, Db, DeadCount, DeadFilter,
    DeadGroup, DeadLetter, DeadSubject, Error, FailedAttempt, JobFilter, JobRow, Ledger, Page,
    ParentJob, Prune, PutBack, PutBackOnce, QueueHold, Recorded, Redrive, Redriven, Session,
    Settled, Span, Standing, Tx, Unpark, Verdict, Wish, until_sure,
};
use crate::finding::Finding;
use crate::job::{JobId, Kind, NewJob, Queue, Timestamp, Token, Turn};

/// Keeps the record of every job in PostgreSQL or SQLite.
#[derive(Debug, Clone)]
pub struct SqlLedger {
    db: Db,
}

impl SqlLedger {
    /// A ledger in this database, whose tables must be there ([`Db::migrate`]).
    pub fn new(db: Db) -> Self {
        Self { db }
    }

    /// The database, for callers whose own rows share it.
    pub fn db(&self) -> &Db {
        &self.db
    }

    /// Records jobs in the caller's own transaction, so that they exist if and only if the
    /// caller's rows do; answers one [`Recorded`] a job, in order.
    ///
    /// # Errors
    /// After an error the transaction must be rolled back.
    pub async fn enqueue_in(tx: &mut Tx, jobs: &[NewJob]) -> Result<Vec<Recorded>, Error> {
        enqueue::enqueue(&mut tx.session(), jobs).await
    }

    /// Records jobs in a transaction that a program has begun on a pool of its own: as
    /// [`enqueue_in`](Self::enqueue_in) does in one of ours. A sqlx `Transaction` derefs to its
    /// connection. After the commit, tell the broker:
    /// [`Producer::dispatch`](crate::client::Producer::dispatch) what
    /// [`Recorded::made`] picks; without that the relay does, within half a minute.
    ///
    /// - The connection must be in a transaction, and its `search_path` must lead to Postworks'
    ///   tables. Record all jobs of a transaction in one call: two transactions that take two unique
    ///   keys one after the other, in different orders, wait for each other.
    /// - Where another transaction has the same unique key and has not ended, this one waits for it,
    ///   as long as the session's `lock_timeout` allows.
    /// - A login other than Postworks' own needs `GRANT SELECT, INSERT ON jobs` (for jobs that wait for
    ///   others also `UPDATE` there, and `SELECT, INSERT` on `job_waits` and `job_parents`) and one of two roles:
    ///   `postworks_engine`, to enqueue for whatever tenant a job names, or `postworks_tenant`, which
    ///   PostgreSQL holds to the tenant that the transaction says (`SET LOCAL postworks.tenant = 'ID'`),
    ///   and which has that grant already. Keys that are free once a job has started need also `GRANT
    ///   UPDATE ON jobs` and `GRANT SELECT, INSERT ON job_edits`.
    /// - Such a key's holder is locked until the transaction ends: no worker starts it meanwhile.
    ///
    /// # Errors
    /// After an error the transaction must be rolled back. [`Error::Unavailable`] where trying the
    /// whole transaction again helps: a deadlock, a failed serialisation, a lock that was not had;
    /// [`Error::Refused`] where the login may not write the job, or not for its tenant.
    pub async fn enqueue_on(
        connection: &mut PgConnection,
        jobs: &[NewJob],
    ) -> Result<Vec<Recorded>, Error> {
        enqueue::enqueue(&mut Session::Postgres(connection), jobs).await
    }

    async fn timed<T>(
        &self,
        class: Class,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.db.meter().measure(class, call).await
    }

    async fn enqueue_once(&self, jobs: &[NewJob]) -> Result<Vec<Recorded>, Error> {
        if let Db::Postgres(pool) = &self.db
            && pool.tenant().is_none()
            && jobs.iter().all(|job| job.unique_key.is_none() && job.waits.is_none())
        {
            return enqueue::keyless(pool, jobs).await;
        }
        let mut tx = self.db.begin().await?;
        let recorded = enqueue::enqueue(&mut tx.session(), jobs).await?;
        tx.commit().await?;
        Ok(recorded)
    }
}

#[async_trait]
impl Ledger for SqlLedger {
    async fn enqueue(&self, jobs: &[NewJob]) -> Result<Vec<Recorded>, Error> {
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        self.timed(Class::Enqueue, until_sure(|| self.db.watch(Box::pin(self.enqueue_once(jobs)))))
            .await
    }

    async fn settle(&self, verdicts: &[Verdict]) -> Result<Vec<Settled>, Error> {
        self.timed(Class::Settle, self.db.watch(Box::pin(settle::settle(&self.db, verdicts)))).await
    }

    async fn stamp(
        &self,
        claims: &[(JobId, Token)],
        now: Timestamp,
    ) -> Result<Vec<Standing>, Error> {
        self.timed(Class::Stamp, self.db.watch(Box::pin(stamp::stamp(&self.db, claims, now)))).await
    }

    async fn crashed(&self, claims: &[(JobId, Token)]) -> Result<(), Error> {
        self.timed(Class::Chore, crash::count(&self.db, claims)).await
    }

    async fn absolve(&self, claims: &[(JobId, Token)]) -> Result<(), Error> {
        self.timed(Class::Chore, crash::take_back(&self.db, claims)).await
    }

    async fn holds(&self, claims: &[(JobId, Token)]) -> Result<Vec<bool>, Error> {
        self.timed(Class::Stamp, stamp::holds(&self.db, claims)).await
    }

    async fn job(&self, id: JobId) -> Result<Option<JobRow>, Error> {
        self.timed(Class::Read, list::job(&self.db, id)).await
    }

    async fn parents(&self, id: JobId) -> Result<Vec<ParentJob>, Error> {
        self.timed(Class::Read, family::parents(&self.db, id)).await
    }

    async fn attempts(&self, id: JobId) -> Result<Vec<FailedAttempt>, Error> {
        self.timed(Class::Read, list::attempts(&self.db, id)).await
    }

    async fn jobs(&self, filter: &JobFilter, now: Timestamp) -> Result<Vec<JobRow>, Error> {
        self.timed(Class::Read, list::jobs(&self.db, filter, now)).await
    }

    async fn cancel(
        &self,
        id: JobId,
        now: Timestamp,
        note: Option<&AuditEntry>,
    ) -> Result<Cancel, Error> {
        self.timed(Class::Admin, end::cancel(&self.db, id, now, note)).await
    }

    async fn dead_letters(&self, filter: &DeadFilter) -> Result<Vec<DeadLetter>, Error> {
        self.timed(Class::Read, dead::letters(&self.db, filter)).await
    }

    async fn dead_counts(&self) -> Result<Vec<DeadCount>, Error> {
        self.timed(Class::Read, dead::counts(&self.db)).await
    }

    async fn redrive(&self, filter: &DeadFilter, how: PutBack<'_>) -> Result<Redriven, Error> {
        self.timed(Class::Admin, redrive::redrive(&self.db, filter, how)).await
    }

    async fn dead_groups(&self, filter: &DeadFilter) -> Result<Vec<DeadGroup>, Error> {
        self.timed(Class::Read, dead::groups(&self.db, filter)).await
    }

    async fn discard(
        &self,
        filter: &DeadFilter,
        now: Timestamp,
        note: Option<&AuditEntry>,
    ) -> Result<u64, Error> {
        self.timed(Class::Admin, end::discard(&self.db, filter, now, note)).await
    }

    async fn dead_subjects(
        &self,
        ids: &[JobId],
        catching_up: &[Kind],
    ) -> Result<Vec<DeadSubject>, Error> {
        self.timed(Class::Read, superseded::subjects(&self.db, ids, catching_up)).await
    }

    async fn lineage(&self, id: JobId) -> Result<Vec<PutBackOnce>, Error> {
        self.timed(Class::Read, redrives::lineage(&self.db, id)).await
    }

    async fn start_redrive(&self, new: &Redrive, note: &AuditEntry) -> Result<(), Error> {
        self.timed(Class::Admin, until_sure(|| redrives::start(&self.db, new, note))).await
    }

    async fn redrive_of(&self, id: Uuid) -> Result<Option<Redrive>, Error> {
        self.timed(Class::Read, redrives::one(&self.db, id)).await
    }

    async fn redrives(
        &self,
        running: bool,
        before: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<Redrive>, Error> {
        self.timed(Class::Read, redrives::list(&self.db, running, before, limit)).await
    }

    async fn save_redrive(&self, redrive: &Redrive) -> Result<bool, Error> {
        self.timed(Class::Admin, redrives::save(&self.db, redrive)).await
    }

    async fn stop_redrive(&self, id: Uuid, why: &str, note: &AuditEntry) -> Result<bool, Error> {
        self.timed(Class::Admin, redrives::stop(&self.db, id, why, note)).await
    }

    async fn redrive_causes(&self, id: Uuid) -> Result<Vec<CauseCount>, Error> {
        self.timed(Class::Read, redrives::causes(&self.db, id)).await
    }

    async fn audit(&self, entry: &AuditEntry) -> Result<(), Error> {
        self.timed(Class::Admin, until_sure(|| audit::note(&self.db, entry))).await
    }

    async fn audit_step(&self, entry: &AuditEntry) -> Result<(), Error> {
        self.timed(Class::Admin, audit::step(&self.db, entry)).await
    }

    async fn wish(&self, wish: &Wish, note: &AuditEntry) -> Result<QueueHold, Error> {
        self.timed(Class::Admin, hold::wish(&self.db, wish, note)).await
    }

    async fn queue_holds(&self) -> Result<Vec<QueueHold>, Error> {
        self.timed(Class::Read, hold::all(&self.db)).await
    }

    async fn hold_applied(&self, queue: &Queue, revision: u64) -> Result<(), Error> {
        self.timed(Class::Chore, hold::applied(&self.db, queue, revision)).await
    }

    async fn audits(&self, filter: &AuditFilter) -> Result<Vec<AuditEntry>, Error> {
        self.timed(Class::Read, audit::list(&self.db, filter)).await
    }

    async fn open_jobs(
        &self,
        after: Option<JobId>,
        created_before: Timestamp,
        due_before: Timestamp,
        limit: u32,
    ) -> Result<Page<JobId>, Error> {
        self.timed(
            Class::Chore,
            open::open_jobs(&self.db, after, created_before, due_before, limit),
        )
        .await
    }

    async fn jobs_in_turn(&self, span: Span<'_>, limit: u32) -> Result<Page<Turn>, Error> {
        self.timed(Class::Chore, open::jobs_in_turn(&self.db, span, limit)).await
    }

    async fn turn_after(&self, span: Span<'_>, jobs: usize) -> Result<Option<Turn>, Error> {
        self.timed(Class::Chore, open::turn_after(&self.db, span, jobs)).await
    }

    async fn jobs_overtaking(
        &self,
        span: Span<'_>,
        since: Timestamp,
        limit: u32,
    ) -> Result<Page<Turn>, Error> {
        self.timed(Class::Chore, open::jobs_overtaking(&self.db, span, since, limit)).await
    }

    async fn backlog(
        &self,
        queue: &Queue,
        now: Timestamp,
        due_before: Timestamp,
    ) -> Result<Backlog, Error> {
        self.timed(Class::Chore, open::backlog(&self.db, queue, now, due_before)).await
    }

    async fn unpark(&self, whose: Unpark, now: Timestamp) -> Result<u64, Error> {
        self.timed(Class::Chore, redrive::unpark(&self.db, whose, now)).await
    }

    async fn next_generation(&self, queue: &Queue, bump: Bump) -> Result<Option<u32>, Error> {
        self.timed(Class::Chore, generation::next(&self.db, queue, bump)).await
    }

    async fn generations(&self) -> Result<Vec<(Queue, u32)>, Error> {
        self.timed(Class::Read, generation::all(&self.db)).await
    }

    async fn prune(
        &self,
        what: Prune,
        before: Timestamp,
        limit: u32,
        dry_run: bool,
    ) -> Result<u64, Error> {
        self.timed(Class::Chore, end::prune(&self.db, what, before, limit, dry_run)).await
    }

    async fn examine(&self) -> Result<Vec<Finding>, Error> {
        self.timed(Class::Chore, Box::pin(examine::examine(&self.db))).await
    }

    async fn check(&self) -> Result<(), Error> {
        self.timed(Class::Read, self.db.check()).await
    }
}
