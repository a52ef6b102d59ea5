//! Lets producers that enqueue at the same moment share one commit.
//!
//! A commit costs about the same for one job as for a thousand. There is no timer: whoever comes
//! while commits are on their way shares the next one, and a lone caller waits for nobody.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::{Mutex, mpsc, oneshot};
use uuid::Uuid;

use super::{
    AuditEntry, AuditFilter, BATCH_MAX, Backlog, Bump, Cancel, CauseCount, DeadCount, DeadFilter,
    DeadGroup, DeadLetter, DeadSubject, Error, FailedAttempt, JobFilter, JobRow, Ledger, Page,
    ParentJob, Prune, PutBack, PutBackOnce, QueueHold, Recorded, Redrive, Redriven, Settled, Span,
    Standing, Unpark, Verdict, Wish,
};
use crate::finding::Finding;
use crate::job::{JobId, Kind, NewJob, Queue, Timestamp, Token, Turn};

/// Commits on their way at once: while one waits for the disk, the next is being filled.
const IN_FLIGHT: usize = 2;

/// A ledger whose single enqueues share commits. Everything else goes straight through.
///
/// A caller may drop its future at any time. Its job is then recorded or not, as after any lost
/// answer; enqueuing it again with the same id finds out.
pub struct GroupCommit {
    ledger: Arc<dyn Ledger>,
    calls: mpsc::Sender<Call>,
}

struct Call {
    job: NewJob,
    answer: oneshot::Sender<Result<Recorded, Error>>,
}

impl GroupCommit {
    /// Wraps a ledger. Must be called on a tokio runtime; its tasks end when this is dropped.
    pub fn new(ledger: Arc<dyn Ledger>) -> Self {
        let (calls, waiting) = mpsc::channel(BATCH_MAX);
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..IN_FLIGHT {
            tokio::spawn(commit_batches(Arc::clone(&ledger), Arc::clone(&waiting)));
        }
        Self { ledger, calls }
    }

    async fn enqueue_one(&self, job: NewJob) -> Result<Recorded, Error> {
        let (answer, answered) = oneshot::channel();
        let gone = || Error::Unavailable(sqlx::Error::WorkerCrashed);
        self.calls.send(Call { job, answer }).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

async fn commit_batches(ledger: Arc<dyn Ledger>, waiting: Arc<Mutex<mpsc::Receiver<Call>>>) {
    let mut calls = Vec::new();
    while waiting.lock().await.recv_many(&mut calls, BATCH_MAX).await > 0 {
        // Nobody waits for these any more, and nobody was promised anything.
        calls.retain(|call| !call.answer.is_closed());
        if !calls.is_empty() {
            commit(ledger.as_ref(), std::mem::take(&mut calls)).await;
        }
    }
}

async fn commit(ledger: &dyn Ledger, calls: Vec<Call>) {
    let (jobs, answers): (Vec<NewJob>, Vec<_>) =
        calls.into_iter().map(|call| (call.job, call.answer)).unzip();
    match ledger.enqueue(&jobs).await {
        Ok(recorded) => {
            for (answer, recorded) in answers.into_iter().zip(recorded) {
                // A caller that left does not want to know.
                let _ = answer.send(Ok(recorded));
            }
        }
        // One of the jobs may be absurd: it must not spoil the others.
        Err(Error::Protocol(_)) if jobs.len() > 1 => {
            for (answer, job) in answers.into_iter().zip(jobs) {
                let _ = answer.send(alone(ledger, job).await);
            }
        }
        Err(error) => {
            let error = Arc::new(error);
            for answer in answers {
                let _ = answer.send(Err(shared(&error)));
            }
        }
    }
}

async fn alone(ledger: &dyn Ledger, job: NewJob) -> Result<Recorded, Error> {
    let recorded = ledger.enqueue(&[job]).await?;
    let missing = || Error::Protocol(sqlx::Error::Protocol("no answer for a job".into()));
    recorded.into_iter().next().ok_or_else(missing)
}

/// The same error for every caller of a batch.
fn shared(error: &Arc<Error>) -> Error {
    let cause = || sqlx::Error::Io(std::io::Error::other(Arc::clone(error)));
    match &**error {
        Error::Unavailable(_) => Error::Unavailable(cause()),
        Error::Unsure(_) => Error::Unsure(cause()),
        Error::Refused(_) => Error::Refused(cause()),
        Error::Protocol(_) => Error::Protocol(cause()),
        Error::Migrations(text) => Error::Migrations(text.clone()),
        Error::Url(text) => Error::Url(text.clone()),
        Error::Locked(path) => Error::Locked(path.clone()),
        Error::Parents(unfit) => Error::Parents(unfit.clone()),
    }
}

#[async_trait]
impl Ledger for GroupCommit {
    async fn enqueue(&self, jobs: &[NewJob]) -> Result<Vec<Recorded>, Error> {
        match jobs {
            // Whoever waits for others has locks to wait for, and can be refused.
            [job] if job.waits.is_none() => Ok(vec![self.enqueue_one(job.clone()).await?]),
            jobs => self.ledger.enqueue(jobs).await,
        }
    }

    async fn settle(&self, verdicts: &[Verdict]) -> Result<Vec<Settled>, Error> {
        self.ledger.settle(verdicts).await
    }

    async fn stamp(
        &self,
        claims: &[(JobId, Token)],
        now: Timestamp,
    ) -> Result<Vec<Standing>, Error> {
        self.ledger.stamp(claims, now).await
    }

    async fn crashed(&self, claims: &[(JobId, Token)]) -> Result<(), Error> {
        self.ledger.crashed(claims).await
    }

    async fn absolve(&self, claims: &[(JobId, Token)]) -> Result<(), Error> {
        self.ledger.absolve(claims).await
    }

    async fn holds(&self, claims: &[(JobId, Token)]) -> Result<Vec<bool>, Error> {
        self.ledger.holds(claims).await
    }

    async fn job(&self, id: JobId) -> Result<Option<JobRow>, Error> {
        self.ledger.job(id).await
    }

    async fn parents(&self, id: JobId) -> Result<Vec<ParentJob>, Error> {
        self.ledger.parents(id).await
    }

    async fn attempts(&self, id: JobId) -> Result<Vec<FailedAttempt>, Error> {
        self.ledger.attempts(id).await
    }

    async fn jobs(&self, filter: &JobFilter, now: Timestamp) -> Result<Vec<JobRow>, Error> {
        self.ledger.jobs(filter, now).await
    }

    async fn cancel(
        &self,
        id: JobId,
        now: Timestamp,
        note: Option<&AuditEntry>,
    ) -> Result<Cancel, Error> {
        self.ledger.cancel(id, now, note).await
    }

    async fn dead_letters(&self, filter: &DeadFilter) -> Result<Vec<DeadLetter>, Error> {
        self.ledger.dead_letters(filter).await
    }

    async fn dead_counts(&self) -> Result<Vec<DeadCount>, Error> {
        self.ledger.dead_counts().await
    }

    async fn redrive(&self, filter: &DeadFilter, how: PutBack<'_>) -> Result<Redriven, Error> {
        self.ledger.redrive(filter, how).await
    }

    async fn dead_groups(&self, filter: &DeadFilter) -> Result<Vec<DeadGroup>, Error> {
        self.ledger.dead_groups(filter).await
    }

    async fn discard(
        &self,
        filter: &DeadFilter,
        now: Timestamp,
        note: Option<&AuditEntry>,
    ) -> Result<u64, Error> {
        self.ledger.discard(filter, now, note).await
    }

    async fn dead_subjects(
        &self,
        ids: &[JobId],
        catching_up: &[Kind],
    ) -> Result<Vec<DeadSubject>, Error> {
        self.ledger.dead_subjects(ids, catching_up).await
    }

    async fn lineage(&self, id: JobId) -> Result<Vec<PutBackOnce>, Error> {
        self.ledger.lineage(id).await
    }

    async fn start_redrive(&self, new: &Redrive, note: &AuditEntry) -> Result<(), Error> {
        self.ledger.start_redrive(new, note).await
    }

    async fn redrive_of(&self, id: Uuid) -> Result<Option<Redrive>, Error> {
        self.ledger.redrive_of(id).await
    }

    async fn redrives(
        &self,
        running: bool,
        before: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<Redrive>, Error> {
        self.ledger.redrives(running, before, limit).await
    }

    async fn save_redrive(&self, redrive: &Redrive) -> Result<bool, Error> {
        self.ledger.save_redrive(redrive).await
    }

    async fn stop_redrive(&self, id: Uuid, why: &str, note: &AuditEntry) -> Result<bool, Error> {
        self.ledger.stop_redrive(id, why, note).await
    }

    async fn redrive_causes(&self, id: Uuid) -> Result<Vec<CauseCount>, Error> {
        self.ledger.redrive_causes(id).await
    }

    async fn audit(&self, entry: &AuditEntry) -> Result<(), Error> {
        self.ledger.audit(entry).await
    }

    async fn audit_step(&self, entry: &AuditEntry) -> Result<(), Error> {
        self.ledger.audit_step(entry).await
    }

    async fn wish(&self, wish: &Wish, note: &AuditEntry) -> Result<QueueHold, Error> {
        self.ledger.wish(wish, note).await
    }

    async fn queue_holds(&self) -> Result<Vec<QueueHold>, Error> {
        self.ledger.queue_holds().await
    }

    async fn hold_applied(&self, queue: &Queue, revision: u64) -> Result<(), Error> {
        self.ledger.hold_applied(queue, revision).await
    }

    async fn audits(&self, filter: &AuditFilter) -> Result<Vec<AuditEntry>, Error> {
        self.ledger.audits(filter).await
    }

    async fn open_jobs(
        &self,
        after: Option<JobId>,
        created_before: Timestamp,
        due_before: Timestamp,
        limit: u32,
    ) -> Result<Page<JobId>, Error> {
        self.ledger.open_jobs(after, created_before, due_before, limit).await
    }

    async fn jobs_in_turn(&self, span: Span<'_>, limit: u32) -> Result<Page<Turn>, Error> {
        self.ledger.jobs_in_turn(span, limit).await
    }

    async fn turn_after(&self, span: Span<'_>, jobs: usize) -> Result<Option<Turn>, Error> {
        self.ledger.turn_after(span, jobs).await
    }

    async fn jobs_overtaking(
        &self,
        span: Span<'_>,
        since: Timestamp,
        limit: u32,
    ) -> Result<Page<Turn>, Error> {
        self.ledger.jobs_overtaking(span, since, limit).await
    }

    async fn backlog(
        &self,
        queue: &Queue,
        now: Timestamp,
        due_before: Timestamp,
    ) -> Result<Backlog, Error> {
        self.ledger.backlog(queue, now, due_before).await
    }

    async fn unpark(&self, whose: Unpark, now: Timestamp) -> Result<u64, Error> {
        self.ledger.unpark(whose, now).await
    }

    async fn next_generation(&self, queue: &Queue, bump: Bump) -> Result<Option<u32>, Error> {
        self.ledger.next_generation(queue, bump).await
    }

    async fn generations(&self) -> Result<Vec<(Queue, u32)>, Error> {
        self.ledger.generations().await
    }

    async fn prune(
        &self,
        what: Prune,
        before: Timestamp,
        limit: u32,
        dry_run: bool,
    ) -> Result<u64, Error> {
        self.ledger.prune(what, before, limit, dry_run).await
    }

    async fn examine(&self) -> Result<Vec<Finding>, Error> {
        self.ledger.examine().await
    }

    async fn check(&self) -> Result<(), Error> {
        self.ledger.check().await
    }
}
