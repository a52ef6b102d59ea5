//! Replaces the arguments of jobs that wait, each request once however often it is repeated.
//!
//! A request that replaced is remembered by the id its own job would have had, for as long as ended
//! jobs are: else its repetition would put old arguments in the place of newer ones.

use std::collections::{BTreeMap, HashMap, HashSet};

use uuid::Uuid;

use super::batch;
use crate::job::{JobId, NewJob, Queue, Timestamp};
use crate::ledger::{Error, Recorded, Session};

/// Jobs that wait, and those whose arguments are to take the place of theirs, in the order of the call.
pub(super) type Wanted<'a> = BTreeMap<JobId, Vec<&'a NewJob>>;

/// What became of those of these jobs that an earlier call recorded.
pub(super) async fn recorded(
    session: &mut Session<'_>,
    jobs: &[NewJob],
) -> Result<HashMap<JobId, Recorded>, Error> {
    let ids: Vec<Uuid> = jobs.iter().map(|job| job.id.as_uuid()).collect();
    let mut known = edits(session, &ids).await?;
    for id in batch::present(session, &ids).await? {
        known.insert(JobId::from_uuid(id), Recorded::Created);
    }
    Ok(known)
}

async fn edits(session: &mut Session<'_>, ids: &[Uuid]) -> Result<HashMap<JobId, Recorded>, Error> {
    let found = batch::edits(session, ids).await?;
    let replaced = |(id, of)| (JobId::from_uuid(id), Recorded::Replaced(JobId::from_uuid(of)));
    Ok(found.into_iter().map(replaced).collect())
}

/// Adds a debounced job to what is wanted of the one that waits, if that is to run in the same place:
/// a broker holds it there.
pub(super) fn want<'a>(
    wanted: &mut Wanted<'a>,
    job: &'a NewJob,
    waiting: JobId,
    queue: Option<&Queue>,
) {
    if job.uniqueness.is_debounced() && queue == Some(&job.queue) {
        wanted.entry(waiting).or_default().push(job);
    }
}

/// Replaces what is wanted; the last one's arguments stand. `None` if one of those that waited started
/// after all: all must be looked at anew.
pub(super) async fn replace(
    session: &mut Session<'_>,
    wanted: &Wanted<'_>,
) -> Result<Option<HashMap<JobId, Recorded>>, Error> {
    let mut rows: Vec<(JobId, &NewJob)> = Vec::new();
    for (&waiting, jobs) in wanted {
        rows.extend(jobs.iter().map(|&job| (waiting, job)));
    }
    if rows.is_empty() {
        return Ok(Some(HashMap::new()));
    }
    // Two calls of the same jobs, one of them forgotten by its caller, wait for each other here.
    rows.sort_by_key(|(_, job)| job.id);
    let new: HashSet<Uuid> = batch::insert_edits(session, &rows).await?.into_iter().collect();
    let old: Vec<Uuid> =
        rows.iter().map(|(_, job)| job.id.as_uuid()).filter(|id| !new.contains(id)).collect();
    let mut known = if old.is_empty() { HashMap::new() } else { edits(session, &old).await? };
    let mut last: Vec<(JobId, &NewJob, Timestamp)> = Vec::new();
    for (&waiting, jobs) in wanted {
        let fresh: Vec<&NewJob> =
            jobs.iter().copied().filter(|job| new.contains(&job.id.as_uuid())).collect();
        known.extend(fresh.iter().map(|job| (job.id, Recorded::Replaced(waiting))));
        // As if each had come alone.
        let run_at = fresh.iter().map(|job| job.run_at).max();
        last.extend(fresh.last().zip(run_at).map(|(&job, run_at)| (waiting, job, run_at)));
    }
    let replaced = batch::replace(session, &last).await?;
    Ok((replaced.len() == last.len()).then_some(known))
}
