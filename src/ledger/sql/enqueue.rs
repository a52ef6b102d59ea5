//! Records jobs, and finds who holds a unique key that is taken.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::batch;
use crate::job::{JobId, NewJob};
use crate::ledger::{Error, Recorded, Tx};

/// How often a job is tried whose unique key was taken, by a job that ended before we could see
/// it. Each round needs another such job, so a third is unheard of.
const ROUNDS: usize = 5;

/// Records jobs in the transaction; answers one [`Recorded`] a job, in order.
pub(super) async fn enqueue(tx: &mut Tx, jobs: &[NewJob]) -> Result<Vec<Recorded>, Error> {
    let leaders = Leaders::of(jobs);
    let mut open = leaders.in_lock_order(jobs);
    let mut known: HashMap<JobId, Recorded> = HashMap::with_capacity(open.len());
    for _ in 0..ROUNDS {
        round(tx, &open, &mut known).await?;
        open.retain(|job| !known.contains_key(&job.id));
        if open.is_empty() {
            return Ok(leaders.spread(jobs, &known));
        }
    }
    let busy = "the holder of a unique key ended again and again";
    Err(Error::Unavailable(sqlx::Error::Protocol(busy.into())))
}

async fn round(
    tx: &mut Tx,
    open: &[&NewJob],
    known: &mut HashMap<JobId, Recorded>,
) -> Result<(), Error> {
    let inserted = batch::insert(tx, open).await?;
    known.extend(created(inserted));
    if known.len() >= open.len() && open.iter().all(|job| known.contains_key(&job.id)) {
        return Ok(());
    }
    let left = || open.iter().filter(|job| !known.contains_key(&job.id));
    // A repeated call whose first answer got lost: its rows are there.
    let ids: Vec<Uuid> = left().map(|job| job.id.as_uuid()).collect();
    let present = batch::present(tx, &ids).await?;
    known.extend(created(present));

    let left = || open.iter().filter(|job| !known.contains_key(&job.id));
    let keys: Vec<(&str, &str)> = left().filter_map(|job| key(job)).collect();
    if keys.is_empty() {
        return Ok(());
    }
    let holders: HashMap<(String, String), JobId> = batch::holders(tx, &keys)
        .await?
        .into_iter()
        .map(|(id, kind, key)| ((kind, key), JobId::from_uuid(id)))
        .collect();
    let existing: Vec<(JobId, Recorded)> = left()
        .filter_map(|job| {
            let (kind, key) = key(job)?;
            let holder = holders.get(&(kind.to_owned(), key.to_owned()))?;
            Some((job.id, Recorded::Existing(*holder)))
        })
        .collect();
    known.extend(existing);
    Ok(())
}

fn created(ids: Vec<Uuid>) -> impl Iterator<Item = (JobId, Recorded)> {
    ids.into_iter().map(|id| (JobId::from_uuid(id), Recorded::Created))
}

fn key(job: &NewJob) -> Option<(&str, &str)> {
    job.unique_key.as_deref().map(|key| (job.kind.as_str(), key))
}

/// Which jobs of a call speak for others of the same call: the first of each unique key.
struct Leaders<'a> {
    of_key: HashMap<(&'a str, &'a str), JobId>,
}

impl<'a> Leaders<'a> {
    fn of(jobs: &'a [NewJob]) -> Self {
        let mut of_key = HashMap::new();
        for job in jobs {
            if let Some(key) = key(job) {
                of_key.entry(key).or_insert(job.id);
            }
        }
        Self { of_key }
    }

    fn leader(&self, job: &NewJob) -> JobId {
        key(job).and_then(|key| self.of_key.get(&key).copied()).unwrap_or(job.id)
    }

    /// The leaders, each once, in an order that all callers share: an insert waits for another
    /// transaction that holds its key, and two waiting for each other would be a deadlock.
    fn in_lock_order(&self, jobs: &'a [NewJob]) -> Vec<&'a NewJob> {
        let mut seen = HashSet::with_capacity(jobs.len());
        let mut leaders: Vec<&NewJob> =
            jobs.iter().filter(|job| self.leader(job) == job.id && seen.insert(job.id)).collect();
        leaders.sort_by_key(|job| (key(job), job.id));
        leaders
    }

    fn spread(&self, jobs: &[NewJob], known: &HashMap<JobId, Recorded>) -> Vec<Recorded> {
        jobs.iter()
            .map(|job| {
                let leader = self.leader(job);
                let holder = match known.get(&leader) {
                    Some(Recorded::Existing(holder)) => *holder,
                    _ => leader,
                };
                if holder == job.id { Recorded::Created } else { Recorded::Existing(holder) }
            })
            .collect()
    }
}
