//! Who holds a unique key, and since when no longer.
//!
//! The unique index says who *may* hold it. Whether he still does is looked at when another job wants
//! the key, and no sooner: a start and the end of a period write nothing for it. The look is under the
//! row's lock, so that it and the stamp that starts a run come one after the other.

use std::collections::HashMap;

use sqlx::FromRow;
use uuid::Uuid;

use super::batch;
use super::stored::nonsense;
use crate::job::{JobId, NewJob, Queue, Timestamp};
use crate::ledger::{Error, Session, Tx};
use crate::on_tx;

/// Whether a row is in the unique index. A condition of SQL; the argument is the table's name there.
macro_rules! in_unique_index {
    ($jobs:literal) => {
        concat!(
            $jobs,
            ".unique_key IS NOT NULL AND (",
            $jobs,
            ".state IN ('open', 'parked') OR (",
            $jobs,
            ".state = 'completed' AND ",
            $jobs,
            ".key_until IS NOT NULL))"
        )
    };
}
pub(super) use in_unique_index;

/// The columns of a [`Holder`].
macro_rules! holder_columns {
    () => {
        "jobs.id, jobs.tenant_id, jobs.kind, jobs.unique_key, jobs.queue, \
         jobs.state = 'completed' AS completed, coalesce(jobs.key_until_start, false) AS until_start, \
         jobs.token IS NOT NULL AS started, jobs.key_until"
    };
}
pub(super) use holder_columns;

/// A job that is in the unique index.
#[derive(Debug, FromRow)]
pub(super) struct Holder {
    id: Uuid,
    tenant_id: Uuid,
    kind: String,
    unique_key: String,
    queue: String,
    completed: bool,
    /// Whether the key is free once a run has begun.
    until_start: bool,
    /// Whether a run has begun.
    started: bool,
    /// The end of its period.
    key_until: Option<i64>,
}

/// A unique key: whose, of which kind, and itself.
pub(super) type Key<'a> = (Uuid, &'a str, &'a str);

/// The key that a job is to have.
pub(super) fn key(job: &NewJob) -> Option<Key<'_>> {
    job.unique_key.as_deref().map(|key| (job.tenant.as_uuid(), job.kind.as_str(), key))
}

/// What became of jobs whose keys are in the index.
#[derive(Debug, Default)]
pub(super) struct Met {
    /// The jobs that others hold the keys of, and those others.
    pub(super) held: Vec<(JobId, JobId)>,
    /// The jobs that were made after all: the keys were not held any more.
    pub(super) made: Vec<JobId>,
    /// Those of the others that wait and whose arguments may be replaced, and their queues. Nobody
    /// starts them before the transaction ends.
    pub(super) waiting: HashMap<JobId, Queue>,
}

impl Holder {
    pub(super) fn key(&self) -> Key<'_> {
        (self.tenant_id, &self.kind, &self.unique_key)
    }

    /// Whether it holds its key for a while only, so that its lock must be had to say.
    fn for_a_while(&self) -> bool {
        self.completed || self.until_start
    }

    fn holds_against(&self, job: &NewJob) -> bool {
        if self.completed {
            return self.key_until.is_some_and(|until| until > job.created_at.as_millis());
        }
        !(self.until_start && self.started)
    }

    fn can_be_replaced(&self) -> bool {
        self.until_start && !self.started && !self.completed
    }
}

/// Finds who holds the keys of these jobs, which the index had no place for, and gives them those that
/// nobody holds any more. Of whom nothing is answered, the holder ended meanwhile.
pub(super) async fn meet(session: &mut Session<'_>, jobs: &[&NewJob]) -> Result<Met, Error> {
    let keys: Vec<Key> = jobs.iter().filter_map(|job| key(job)).collect();
    if keys.is_empty() {
        return Ok(Met::default());
    }
    let mut holders = batch::holders(session, &keys).await?;
    let mut unclear: Vec<Uuid> =
        holders.iter().filter(|holder| holder.for_a_while()).map(|holder| holder.id).collect();
    if !unclear.is_empty() {
        holders.retain(|holder| !holder.for_a_while());
        // The order in which every other batch locks its rows.
        unclear.sort_unstable();
        holders.extend(batch::lock_holders(session, &unclear).await?);
    }
    let mut met = Met::default();
    for holder in holders.iter().filter(|holder| holder.can_be_replaced()) {
        let queue = Queue::parse(&holder.queue).map_err(nonsense)?;
        met.waiting.insert(JobId::from_uuid(holder.id), queue);
    }
    let by_key: HashMap<Key, &Holder> = holders.iter().map(|one| (one.key(), one)).collect();
    let (mut past, mut heirs) = (Vec::new(), Vec::new());
    for &job in jobs {
        let Some(holder) = key(job).and_then(|key| by_key.get(&key)) else { continue };
        if holder.holds_against(job) {
            met.held.push((job.id, JobId::from_uuid(holder.id)));
        } else {
            past.push(holder.id);
            heirs.push(job);
        }
    }
    if !past.is_empty() {
        batch::free_keys(session, &past).await?;
        // Nobody else has put himself into these places: all others wait for the locks.
        let made = batch::insert(session, &heirs).await?;
        met.made = made.into_iter().map(JobId::from_uuid).collect();
    }
    Ok(met)
}

/// Takes out of the index who is in the place of a dead job's key and does not hold it any more.
/// Answers whether there was such a one.
pub(super) async fn free_of_dead(tx: &mut Tx, dead: Uuid, now: Timestamp) -> Result<bool, Error> {
    const SQL: &str = concat!(
        "UPDATE jobs SET freed_key = unique_key, unique_key = NULL \
         WHERE kind = (SELECT kind FROM jobs WHERE id = $1) \
             AND unique_key = (SELECT coalesce(unique_key, freed_key) FROM jobs WHERE id = $1) \
             AND tenant_id = (SELECT tenant_id FROM jobs WHERE id = $1) AND ",
        in_unique_index!("jobs"),
        " AND CASE WHEN state = 'completed' THEN key_until <= $2 \
             ELSE coalesce(key_until_start, false) AND token IS NOT NULL END"
    );
    let freed = on_tx!(tx, conn => sqlx::query(SQL)
        .bind(dead)
        .bind(now.as_millis())
        .execute(conn)
        .await
        .map(|done| done.rows_affected()))?;
    Ok(freed > 0)
}
