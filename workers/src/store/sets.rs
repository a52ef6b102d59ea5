//! Publication sets: the publications of one request, and the job that sees what became of them.
//!
//! A set is complete when each of its publications has ended; nothing in its row says so, since what
//! the publications and their jobs say cannot disagree with it then.

use std::fmt;

use postworks::job::family::{OnFailure, Waits};
use postworks::job::{JobId, NewJob, Timestamp};
use postworks::ledger::{Recorded, SqlLedger, Tx, until_sure};
use postworks::{on_db, on_tx};
use uuid::Uuid;

use super::publications::Row;
use super::{Error, Publication, PublicationState, Scheduled, Store, time};

/// The publications of one request, scheduled.
#[derive(Debug, Clone)]
pub struct ScheduledSet {
    /// The set.
    pub id: Uuid,
    /// One for each account, in order.
    pub publications: Vec<Scheduled>,
    /// The job that waits for all of them; recorded, and not for the broker yet.
    pub callback: Option<NewJob>,
}

impl ScheduledSet {
    /// Every job of it.
    pub fn into_jobs(self) -> Vec<NewJob> {
        self.publications.into_iter().map(|row| row.job).chain(self.callback).collect()
    }
}

/// A publication set.
#[derive(Debug, Clone)]
pub struct PublicationSet {
    /// Its id.
    pub id: Uuid,
    /// The post.
    pub post_id: Uuid,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// Its publications, in the order of their ids.
    pub publications: Vec<Member>,
    /// Its callback, if it has one.
    pub callback: Option<Callback>,
}

/// A publication of a set, and how its job fares.
#[derive(Debug, Clone)]
pub struct Member {
    /// The publication.
    pub publication: Publication,
    /// The state of its job as the ledger has it: `open` or `parked` while it is live; `None` if its
    /// row is gone, as those of jobs that completed long ago are.
    pub job_state: Option<String>,
    /// When its job ended.
    pub job_finished_at: Option<Timestamp>,
    /// Why its job is dead.
    pub reason: Option<String>,
}

/// What is called back.
#[derive(Debug, Clone)]
pub struct Callback {
    /// The last job that was made for it.
    pub job_id: JobId,
    /// Its kind.
    pub kind: String,
    /// Its arguments: JSON.
    pub args: String,
    /// Its state as the ledger has it; `None` if its row is gone.
    pub job_state: Option<String>,
}

/// How far a set is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SetState {
    /// Something has not ended.
    Open,
    /// Everything is published.
    Completed,
    /// Everything has ended, and some is published.
    Partly,
    /// Everything has ended, and nothing is known to be published.
    Failed,
}

impl SetState {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Open, Self::Completed, Self::Partly, Self::Failed];

    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Completed => "completed",
            Self::Partly => "partly",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for SetState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn is_live(job_state: Option<&str>) -> bool {
    matches!(job_state, Some("open" | "parked"))
}

impl Member {
    /// Whether nothing more happens to it by itself.
    pub fn has_ended(&self) -> bool {
        self.publication.state == PublicationState::Published || !is_live(self.job_state.as_deref())
    }
}

impl Callback {
    /// Whether its job has not ended.
    pub fn is_live(&self) -> bool {
        is_live(self.job_state.as_deref())
    }
}

impl PublicationSet {
    /// How far it is.
    pub fn state(&self) -> SetState {
        let published = |member: &&Member| member.publication.state == PublicationState::Published;
        let out = self.publications.iter().filter(published).count();
        match self.publications.iter().all(Member::has_ended) {
            false => SetState::Open,
            true if out == self.publications.len() => SetState::Completed,
            true if out > 0 => SetState::Partly,
            true => SetState::Failed,
        }
    }

    /// When the last of it ended; `None` while something has not.
    pub fn finished_at(&self) -> Option<Timestamp> {
        if self.state() == SetState::Open {
            return None;
        }
        let at = |member: &Member| member.publication.finished_at.or(member.job_finished_at);
        self.publications.iter().filter_map(at).max()
    }
}

#[derive(sqlx::FromRow)]
struct SetRow {
    id: Uuid,
    post_id: Uuid,
    created_at: i64,
    callback_job: Option<Uuid>,
    callback_kind: Option<String>,
    callback_args: Option<String>,
    job_state: Option<String>,
}

#[derive(sqlx::FromRow)]
struct MemberRow {
    #[sqlx(flatten)]
    row: Row,
    job_state: Option<String>,
    job_finished_at: Option<i64>,
    reason: Option<String>,
}

impl TryFrom<MemberRow> for Member {
    type Error = Error;

    fn try_from(member: MemberRow) -> Result<Self, Error> {
        Ok(Self {
            publication: member.row.try_into()?,
            job_state: member.job_state,
            job_finished_at: member.job_finished_at.map(time),
            reason: member.reason,
        })
    }
}

impl Store {
    /// A publication set.
    pub async fn publication_set(&self, id: Uuid) -> Result<Option<PublicationSet>, Error> {
        const SET: &str = "SELECT s.*, jobs.state AS job_state FROM publication_sets s \
             LEFT JOIN jobs ON jobs.id = s.callback_job WHERE s.id = $1";
        const MEMBERS: &str = "SELECT p.*, jobs.state AS job_state, \
                 jobs.finished_at AS job_finished_at, dead_letters.message AS reason \
             FROM publications p LEFT JOIN jobs ON jobs.id = p.job_id \
             LEFT JOIN dead_letters ON dead_letters.job_id = p.job_id \
             WHERE p.set_id = $1 AND p.set_id IS NOT NULL ORDER BY p.id";
        let set: Option<SetRow> = on_db!(&self.db, pool => {
            sqlx::query_as(SET).bind(id).fetch_optional(pool).await
        })?;
        let Some(set) = set else { return Ok(None) };
        let members: Vec<MemberRow> = on_db!(&self.db, pool => {
            sqlx::query_as(MEMBERS).bind(id).fetch_all(pool).await
        })?;
        let callback = match (set.callback_job, set.callback_kind, set.callback_args) {
            (Some(job), Some(kind), Some(args)) => {
                let (job_id, job_state) = (JobId::from_uuid(job), set.job_state);
                Some(Callback { job_id, kind, args, job_state })
            }
            _ => None,
        };
        Ok(Some(PublicationSet {
            id: set.id,
            post_id: set.post_id,
            created_at: time(set.created_at),
            publications: members.into_iter().map(Member::try_from).collect::<Result<_, _>>()?,
            callback,
        }))
    }

    /// Records a job that waits anew for a set's publications, in place of its last callback, which is
    /// cancelled if it still waits. Answers it for the caller to dispatch; `None` if somebody else did so
    /// meanwhile. May be repeated.
    pub async fn call_back_again(
        &self,
        set: &PublicationSet,
        last: JobId,
        callback: &NewJob,
    ) -> Result<Option<NewJob>, Error> {
        let jobs = set.publications.iter().map(|one| JobId::from_uuid(one.publication.job_id));
        let callback = waiting_for(callback.clone(), jobs.collect());
        until_sure(|| self.try_call_back_again(set.id, last, &callback)).await
    }

    async fn try_call_back_again(
        &self,
        set: Uuid,
        last: JobId,
        callback: &NewJob,
    ) -> Result<Option<NewJob>, Error> {
        const TAKE: &str = "UPDATE publication_sets SET callback_job = $3 \
             WHERE id = $1 AND (callback_job = $2 OR callback_job = $3)";
        let mut tx = self.db.begin().await?;
        let taken = on_tx!(&mut tx, conn => sqlx::query(TAKE)
            .bind(set)
            .bind(last.as_uuid())
            .bind(callback.id.as_uuid())
            .execute(conn)
            .await
            .map(|done| done.rows_affected()))?;
        if taken == 0 {
            return Ok(None);
        }
        SqlLedger::stop_waiting_in(&mut tx, last, self.now()).await?;
        let callback = std::slice::from_ref(callback);
        let recorded = SqlLedger::enqueue_in(&mut tx, callback).await?;
        tx.commit().await?;
        Ok(Recorded::made(callback, &recorded).pop())
    }

    /// Writes a set, in the transaction of its publications. Repeated, it finds it there.
    pub(super) async fn insert_set(
        &self,
        tx: &mut Tx,
        post_id: Uuid,
        set: &ScheduledSet,
    ) -> Result<(), Error> {
        const SQL: &str = "INSERT INTO publication_sets \
             (id, post_id, created_at, callback_job, callback_kind, callback_args) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (id) DO NOTHING";
        let callback = set.callback.as_ref();
        Ok(on_tx!(tx, conn => sqlx::query(SQL)
            .bind(set.id)
            .bind(post_id)
            .bind(self.now().as_millis())
            .bind(callback.map(|job| job.id.as_uuid()))
            .bind(callback.map(|job| job.kind.as_str()))
            .bind(callback.map(|job| job.args.as_str()))
            .execute(conn)
            .await
            .map(drop))?)
    }
}

/// The job, waiting for these however they end.
pub(super) fn waiting_for(callback: NewJob, parents: Vec<JobId>) -> NewJob {
    let waits = Waits { parents, on_failure: OnFailure::Continue, keeps_expiry: false };
    NewJob { waits: Some(Box::new(waits)), ..callback }
}
