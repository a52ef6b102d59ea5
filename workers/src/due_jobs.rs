//! The jobs of accounts for which something is due.

use std::time::Duration;

use postworks::client::Producer;
use postworks::job::{Durability, Job, NewJob, Queue, Request};

use crate::store::{Due, Error};

/// Makes the job of a due account: one live one an account and key, whoever looks. Those that were due
/// long ago, as after a time without workers, are spread over `spread` and do not all come at once.
pub(crate) fn due_job<J: Job>(
    producer: &Producer,
    due: &Due,
    job: &J,
    unique_key: String,
    spread: Duration,
) -> Result<NewJob, Error> {
    let request = Request::of(job).map_err(|error| Error::Corrupt(error.to_string()))?;
    let job = producer.for_tenant(due.tenant).prepare(request)?;
    let queue = Queue::of_platform(&job.kind, &due.platform)
        .map_err(|_| Error::Corrupt(format!("the platform {:?}", due.platform)))?;
    let late = job.run_at.after(spread.mul_f64(rand::random_range(0.0..=1.0)));
    Ok(NewJob {
        queue,
        run_at: if due.at > job.run_at { due.at } else { late },
        unique_key: Some(unique_key),
        // A key is the ledger's, whatever the kind's jobs are by configuration.
        durability: Durability::Ledger,
        ..job
    })
}
