//! Moving publications to another time, and their jobs with them.
//!
//! One transaction changes the publication, whose version grows, and its job, which is taken out of
//! the hands of whoever runs it. So who read the publication before records no intent any more: what
//! is moved is not sent at its old time. Publications first, then jobs, as whoever records an intent.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use postworks::job::{JobId, Queue, State, Timestamp};
use postworks::ledger::{AuditEntry, JobMove, JobMoved, SqlLedger, Tx, until_sure};
use postworks::{on_db, on_tx};
use uuid::Uuid;

use super::publications::Row;
use super::{Error, Late, Publication, PublicationState, Store, Window};

/// Most publications that are moved together: those of one post.
pub const MOVED_MAX: usize = 1_000;
/// Most publications of which the broker is told at a time.
pub const UNTOLD_MAX: u32 = 100;

/// Which publications to move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// This one.
    One(Uuid),
    /// All of a post.
    OfPost(Uuid),
}

/// Where to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Move {
    /// When they are to be published; `None` leaves that as it is.
    pub at: Option<Timestamp>,
    /// The end of their window: `Some(None)` takes it away, `None` leaves it as it is.
    pub not_after: Option<Option<Timestamp>>,
    /// What becomes of them if they are late; `None` leaves that as it is.
    pub late: Option<Late>,
}

/// Why a publication was not moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotMoved {
    /// A request may be under way, or have been applied.
    Sending,
    /// It is published.
    Published,
    /// Its job has ended.
    JobEnded(State),
    /// Its job ended so long ago that it is deleted.
    JobGone,
    /// It has no window that `late` could be of.
    NoWindow,
    /// Its window would end before it begins, or is over already: this is its end.
    Inverted(Timestamp),
}

/// What became of a move.
#[derive(Debug, Clone, Default)]
pub struct Moved {
    /// Those that were moved, as they are now, and what the broker is to be told.
    pub moved: Vec<(Publication, Untold)>,
    /// Those that were not, as they are, and why.
    pub not_moved: Vec<(Publication, NotMoved)>,
    /// There are more than are moved together: nothing was changed.
    pub too_many: bool,
}

/// A publication that was moved, and of which the broker was not told yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Untold {
    /// The publication.
    pub id: Uuid,
    /// The version of its row.
    pub version: i64,
    /// Its job.
    pub job: JobId,
    /// Where that waits; `None` if it is gone.
    pub queue: Option<Queue>,
}

impl Store {
    /// Moves publications that have not begun, and notes it if there are any. `life` is how long jobs
    /// of the kind are of use.
    pub async fn move_publications(
        &self,
        which: Which,
        to: &Move,
        life: Duration,
        note: &AuditEntry,
    ) -> Result<Moved, Error> {
        // If the answer to the commit gets lost, the repetition finds its note there: others may have
        // moved them again meanwhile, or sent them.
        let (done, again) = (Mutex::new(Moved::default()), AtomicBool::new(false));
        until_sure(|| async {
            let again = again.swap(true, Ordering::SeqCst);
            let mut tx = self.db.begin().await?;
            if again && is_noted(&mut tx, note.id).await? {
                return Ok(());
            }
            let moved = self.move_in(&mut tx, which, to, life).await?;
            if !moved.moved.is_empty() {
                let count = u64::try_from(moved.moved.len()).unwrap_or(u64::MAX);
                SqlLedger::audit_in(&mut tx, &AuditEntry { count, ..note.clone() }).await?;
            }
            *done.lock().unwrap_or_else(PoisonError::into_inner) = moved;
            tx.commit().await?;
            Ok::<_, Error>(())
        })
        .await?;
        Ok(done.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    async fn move_in(
        &self,
        tx: &mut Tx,
        which: Which,
        to: &Move,
        life: Duration,
    ) -> Result<Moved, Error> {
        let mut rows = chosen(tx, which).await?;
        if rows.len() > MOVED_MAX {
            return Ok(Moved { too_many: true, ..Moved::default() });
        }
        // The order in which every batch locks jobs.
        rows.sort_unstable_by_key(|row| row.job_id);
        let now = self.now();
        let mut moved = Moved::default();
        for row in rows {
            match move_one(tx, &row, to, life, now).await? {
                Ok((row, untold)) => moved.moved.push((row, untold)),
                Err(why) => moved.not_moved.push((row, why)),
            }
        }
        // Oldest first, as they were asked for.
        moved.moved.sort_unstable_by_key(|(row, _)| row.id);
        moved.not_moved.sort_unstable_by_key(|(row, _)| row.id);
        Ok(moved)
    }

    /// Publications that were moved and of which the broker was not told, at most [`UNTOLD_MAX`]; those
    /// after this one.
    pub async fn untold(&self, after: Option<Uuid>) -> Result<Vec<Untold>, Error> {
        const SQL: &str = "SELECT p.id, p.version, p.job_id, \
                 (SELECT queue FROM jobs WHERE jobs.id = p.job_id) AS queue \
             FROM publications p WHERE NOT p.told AND p.id > $1 ORDER BY p.id LIMIT $2";
        let rows: Vec<(Uuid, i64, Uuid, Option<String>)> = on_db!(&self.db, pool => {
            sqlx::query_as(SQL)
                .bind(after.unwrap_or(Uuid::nil()))
                .bind(i64::from(UNTOLD_MAX))
                .fetch_all(pool)
                .await
        })?;
        rows.into_iter()
            .map(|(id, version, job, queue)| {
                let queue = queue.map(|queue| Queue::parse(&queue)).transpose();
                let queue = queue.map_err(|_| Error::Corrupt("the queue of a job".to_owned()))?;
                Ok(Untold { id, version, job: JobId::from_uuid(job), queue })
            })
            .collect()
    }

    /// The broker has been told of this move. If there was another one since, it has not.
    pub async fn told(&self, untold: &Untold) -> Result<(), Error> {
        const SQL: &str = "UPDATE publications SET told = true WHERE id = $1 AND version = $2";
        let mut tx = self.db.begin().await?;
        on_tx!(&mut tx, conn => {
            sqlx::query(SQL).bind(untold.id).bind(untold.version).execute(conn).await.map(drop)
        })?;
        Ok(tx.commit().await?)
    }
}

async fn is_noted(tx: &mut Tx, id: Uuid) -> Result<bool, Error> {
    const SQL: &str = "SELECT count(*) FROM audit WHERE id = $1";
    let count: i64 = on_tx!(tx, conn => sqlx::query_scalar(SQL).bind(id).fetch_one(conn).await)?;
    Ok(count > 0)
}

/// The publications, as they stay until the transaction ends; one more than may be moved together.
async fn chosen(tx: &mut Tx, which: Which) -> Result<Vec<Publication>, Error> {
    macro_rules! chosen {
        ($what:literal, $lock:literal) => {
            concat!("SELECT * FROM publications WHERE ", $what, " = $1 ORDER BY id LIMIT $2", $lock)
        };
    }
    let (id, sql) = match (which, &*tx) {
        (Which::One(id), Tx::Postgres(_)) => (id, chosen!("id", " FOR UPDATE")),
        (Which::One(id), Tx::Sqlite(_)) => (id, chosen!("id", "")),
        (Which::OfPost(id), Tx::Postgres(_)) => (id, chosen!("post_id", " FOR UPDATE")),
        (Which::OfPost(id), Tx::Sqlite(_)) => (id, chosen!("post_id", "")),
    };
    let limit = i64::try_from(MOVED_MAX + 1).unwrap_or(i64::MAX);
    let rows: Vec<Row> = on_tx!(tx, conn => {
        sqlx::query_as(sql).bind(id).bind(limit).fetch_all(conn).await
    })?;
    rows.into_iter().map(Publication::try_from).collect()
}

async fn move_one(
    tx: &mut Tx,
    row: &Publication,
    to: &Move,
    life: Duration,
    now: Timestamp,
) -> Result<Result<(Publication, Untold), NotMoved>, Error> {
    // Nobody's intent is on record any more: what a run says of an earlier one comes too late. The
    // time that the post shows is that of its first attempt from now on.
    const SQL: &str = "UPDATE publications SET state = 'scheduled', scheduled_at = $2, \
             not_after = $3, late = $4, missed_at = NULL, missed_why = NULL, finished_at = NULL, \
             sender_job = NULL, token = NULL, frozen_at = NULL, told = false, version = version + 1 \
         WHERE id = $1 RETURNING *";
    match row.state {
        PublicationState::Sending => return Ok(Err(NotMoved::Sending)),
        PublicationState::Published => return Ok(Err(NotMoved::Published)),
        // Its job may have been put back.
        PublicationState::Scheduled | PublicationState::Failed => {}
    }
    let at = to.at.map_or(row.scheduled_at, |at| at.max(now));
    let window = match to.window_of(row, at.max(now)) {
        Ok(window) => window,
        Err(why) => return Ok(Err(why)),
    };
    let (id, job) = (row.id, JobId::from_uuid(row.job_id));
    let run_at = to.at.map(|_| at);
    let expires_at = Window::expires_at(window, at.max(now), life);
    let queue = match SqlLedger::move_in(tx, job, JobMove { run_at, expires_at }).await? {
        JobMoved::Moved(queue) => Some(queue),
        JobMoved::Ended(state) => return Ok(Err(NotMoved::JobEnded(state))),
        JobMoved::Unknown => return Ok(Err(NotMoved::JobGone)),
    };
    let row: Row = on_tx!(tx, conn => sqlx::query_as(SQL)
        .bind(id)
        .bind(at.as_millis())
        .bind(window.map(|window| window.not_after.as_millis()))
        .bind(window.map(|window| window.late.as_str()))
        .fetch_one(conn)
        .await)?;
    let row = Publication::try_from(row)?;
    let untold = Untold { id, version: row.version, job, queue };
    Ok(Ok((row, untold)))
}

impl Move {
    /// The window that a publication has after it, which begins then.
    fn window_of(&self, row: &Publication, begins: Timestamp) -> Result<Option<Window>, NotMoved> {
        let not_after = match self.not_after {
            Some(not_after) => not_after,
            None => row.window.map(|window| window.not_after),
        };
        let Some(not_after) = not_after else {
            return self.late.map_or(Ok(None), |_| Err(NotMoved::NoWindow));
        };
        if not_after <= begins {
            return Err(NotMoved::Inverted(not_after));
        }
        let late = self.late.or(row.window.map(|window| window.late)).unwrap_or_default();
        Ok(Some(Window { not_after, late }))
    }
}
