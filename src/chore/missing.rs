//! Which open jobs the broker should hold and does not.

use std::collections::HashMap;

use crate::broker::{self, Broker};
use crate::job::{JobId, NewJob, Queue, Timestamp, Turn};

/// Those of these jobs that have a place in their queue's window and are not there.
pub(super) async fn missing<'a>(
    broker: &dyn Broker,
    jobs: &'a [NewJob],
    now: Timestamp,
) -> Result<Vec<&'a NewJob>, broker::Error> {
    let mut by_queue: HashMap<&Queue, Vec<&NewJob>> = HashMap::new();
    for job in jobs {
        by_queue.entry(&job.queue).or_default().push(job);
    }
    let mut missing = Vec::new();
    for (queue, jobs) in by_queue {
        match of_queue(broker, queue, jobs, now).await {
            Err(error) if error.is_outage() => return Err(error),
            // Broken keys of one queue must not keep the others' jobs from their workers.
            Err(error) => error.log_of(queue, "cannot see what this queue holds"),
            Ok(jobs) => missing.extend(jobs),
        }
    }
    Ok(missing)
}

async fn of_queue<'a>(
    broker: &dyn Broker,
    queue: &Queue,
    mut jobs: Vec<&'a NewJob>,
    now: Timestamp,
) -> Result<Vec<&'a NewJob>, broker::Error> {
    let cutoffs = broker.cutoffs(std::slice::from_ref(queue)).await?;
    if let Some(cutoff) = cutoffs.into_iter().next().flatten() {
        jobs.retain(|job| Turn::of(job.id, job.run_at, job.priority_s, now) < cutoff);
    }
    let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
    let places = broker.find(queue, &ids).await?;
    let absent = jobs.into_iter().zip(places).filter(|(_, place)| place.is_none());
    Ok(absent.map(|(job, _)| job).collect())
}
