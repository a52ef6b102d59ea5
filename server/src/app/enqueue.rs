//! Enqueueing: check everything, route, record.

use std::time::Duration;

use postworks::client;
use postworks::job::{
    ENVELOPE_BYTES_MAX, FieldError, InvalidRequest, NewJob, Request, RequestPolicy, State,
};
use postworks::ledger::BATCH_MAX;

use super::types::{BulkEnqueued, EnqueueBulk, EnqueueJob, Enqueued, EnqueuedBulk};
use super::{App, Error};

/// Longest arguments, in bytes: the API's body limit. An envelope has room for them and the rest.
const ARGS_BYTES_MAX: usize = 64 * 1024;
const _: () = assert!(ARGS_BYTES_MAX < ENVELOPE_BYTES_MAX);

impl App {
    /// Enqueues a job.
    pub async fn enqueue(&self, job: EnqueueJob) -> Result<Enqueued, Error> {
        let jobs = self.route(self.prepare(vec![job], false)?, false).await?;
        let due = jobs.first().map(|job| job.run_at);
        let recorded = self.producer.enqueue(jobs).await?;
        let Some((&client::Enqueued { id, created, replaced }, due)) = recorded.first().zip(due)
        else {
            return Err(Error::Broken("the ledger answered nothing for a job".into()));
        };
        let state = if created {
            if due > self.node.clock.now() { State::Delayed } else { State::Ready }
        } else {
            self.state(id).await?
        };
        Ok(Enqueued { id, state, created, replaced })
    }

    /// Enqueues up to 1,000 jobs, all or none.
    pub async fn enqueue_bulk(&self, bulk: EnqueueBulk) -> Result<EnqueuedBulk, Error> {
        if !(1..=BATCH_MAX).contains(&bulk.jobs.len()) {
            return Err(Error::field("/jobs", format!("must hold 1 to {BATCH_MAX} jobs")));
        }
        let jobs = self.route(self.prepare(bulk.jobs, true)?, true).await?;
        let recorded = self.producer.enqueue(jobs).await?;
        let jobs = recorded
            .into_iter()
            .map(|client::Enqueued { id, created, replaced }| BulkEnqueued {
                id,
                created,
                replaced,
            })
            .collect();
        Ok(EnqueuedBulk { jobs })
    }

    /// The job as it would be recorded.
    pub(super) async fn checked(&self, job: EnqueueJob) -> Result<NewJob, Error> {
        let mut jobs = self.route(self.prepare(vec![job], false)?, false).await?;
        jobs.pop().ok_or_else(|| Error::Broken("a job got lost".into()))
    }

    fn prepare(&self, jobs: Vec<EnqueueJob>, bulk: bool) -> Result<Vec<NewJob>, Error> {
        let mut faults = Vec::new();
        let mut prepared = Vec::with_capacity(jobs.len());
        for (at, job) in jobs.into_iter().enumerate() {
            match self.prepare_one(job) {
                Ok(job) => prepared.push(job),
                Err(found) => faults.extend(found.into_iter().map(|fault| placed(fault, at, bulk))),
            }
        }
        if faults.is_empty() { Ok(prepared) } else { Err(Error::Invalid(faults)) }
    }

    pub(super) fn prepare_one(&self, job: EnqueueJob) -> Result<NewJob, Vec<FieldError>> {
        if job.args.get().len() > ARGS_BYTES_MAX {
            let message = format!("must be at most {ARGS_BYTES_MAX} bytes");
            return Err(vec![FieldError::new("/args", message)]);
        }
        // An array would be read as the fields in their order.
        if !job.args.get().starts_with('{') {
            return Err(vec![FieldError::new("/args", "must be an object")]);
        }
        let unique_until = job.unique_until.as_deref().map(str::parse).transpose();
        let unique_until = unique_until
            .map_err(|message: String| vec![FieldError::new("/unique_until", message)])?;
        let request = Request {
            policy: RequestPolicy {
                run_at: job.run_at,
                delay: job.delay_ms.map(Duration::from_millis),
                unique_key: job.unique_key,
                unique_until,
                unique_for: job.unique_for_ms.map(Duration::from_millis),
                debounce: job.debounce_ms.map(Duration::from_millis),
                max_delay: job.max_delay_ms.map(Duration::from_millis),
                priority_s: job.priority,
                max_attempts: job.max_attempts,
                expires_at: job.expires_at,
                trace: job.trace,
            },
            kind: job.kind,
            args: job.args,
        };
        let job = self.producer.prepare(request).map_err(|InvalidRequest(faults)| faults)?;
        match self.beyond_tenant(&job) {
            None => Ok(job),
            Some(fault) => Err(vec![fault]),
        }
    }

    async fn route(&self, mut jobs: Vec<NewJob>, bulk: bool) -> Result<Vec<NewJob>, Error> {
        let unrouted = self.store.route_jobs(&mut jobs).await?;
        if unrouted.is_empty() {
            return Ok(jobs);
        }
        let faults = unrouted.into_iter().map(|(at, fault)| placed(fault, at, bulk)).collect();
        Err(Error::Invalid(faults))
    }
}

/// The fault with its pointer seen from the whole document.
fn placed(fault: FieldError, at: usize, bulk: bool) -> FieldError {
    if !bulk {
        return fault;
    }
    FieldError::new(format!("/jobs/{at}{}", fault.field), fault.message)
}
