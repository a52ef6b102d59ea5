//! Records jobs, then hands them to the broker.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use postworks::broker::{BATCH_MAX, Broker, Push};
use postworks::clock::SharedClock;
use postworks::job::{Catalog, Envelope, InvalidRequest, JobId, NewJob, Queue, Request};
use postworks::ledger::{self, Ledger, Recorded};

/// A push that lands later may be the second one: by then the relay looks at the job.
const FRESH: Duration = Duration::from_secs(1);

/// Records jobs, then hands them to the broker.
pub(super) struct Producer {
    ledger: Arc<dyn Ledger>,
    broker: Arc<dyn Broker>,
    catalog: Arc<Catalog>,
    clock: SharedClock,
}

impl Producer {
    pub(super) fn new(
        ledger: Arc<dyn Ledger>,
        broker: Arc<dyn Broker>,
        catalog: Arc<Catalog>,
        clock: SharedClock,
    ) -> Self {
        Self { ledger, broker, catalog, clock }
    }

    /// Checks a request and makes the job, with its id.
    pub(super) fn prepare(&self, request: Request) -> Result<NewJob, InvalidRequest> {
        let now = self.clock.now();
        request.into_job(&self.catalog, JobId::at(now, rand::random()), now)
    }

    /// Records jobs, all or none; answers each one's id and whether it was made now.
    pub(super) async fn enqueue(
        &self,
        mut jobs: Vec<NewJob>,
    ) -> Result<Vec<(JobId, bool)>, ledger::Error> {
        let recorded = self.ledger.enqueue(&jobs).await?;
        let answers: Vec<(JobId, bool)> = jobs
            .iter()
            .zip(&recorded)
            .map(|(job, recorded)| match recorded {
                Recorded::Created => (job.id, true),
                Recorded::Existing(id) => (*id, false),
            })
            .collect();
        let mut made = answers.iter().map(|(_, created)| *created);
        jobs.retain(|_| made.next().unwrap_or(false));
        self.push(jobs, false).await;
        Ok(answers)
    }

    /// Hands recorded jobs to the broker; the relay does what fails here.
    pub(super) async fn push(&self, jobs: Vec<NewJob>, flagged: bool) {
        let mut by_queue: BTreeMap<Queue, Vec<Push>> = BTreeMap::new();
        for job in jobs {
            let fresh_until = job.created_at.after(FRESH);
            let Ok(envelope) = Envelope::of(&job) else { continue };
            by_queue.entry(job.queue).or_default().push(Push { envelope, flagged, fresh_until });
        }
        for (queue, pushes) in by_queue {
            for batch in pushes.chunks(BATCH_MAX) {
                if let Err(error) = self.broker.push(&queue, batch).await {
                    tracing::warn!(%queue, %error, "jobs were not pushed; the relay will");
                    break;
                }
            }
        }
    }
}
