//! The producers' library: makes jobs, records them, and tells the broker.
//!
//! "Accepted" means committed in the ledger. The push to the broker that follows is a hint: it may
//! fail or be lost with this process, and the relay pushes what the broker never got.
//!
//! [`Producer`] works on the stores; `http::HttpProducer`, of the feature `http-client`, reaches them
//! through the API.
//!
//! # In a transaction of your own
//!
//! A program whose rows are in the same database can make a job exist if and only if its rows do.
//! Any transaction of sqlx will do, on whatever pool it was begun:
//!
//! ```no_run
//! use postworks::client::Producer;
//! use postworks::job::{ConnectorSync, NewJob, Queue, Request};
//! use postworks::ledger::{Recorded, SqlLedger};
//!
//! # async fn connected(
//! #     pool: sqlx::PgPool,
//! #     producer: Producer,
//! #     connector_id: uuid::Uuid,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! let job = producer.prepare(Request::of(&ConnectorSync::of(connector_id))?)?;
//! let jobs = [NewJob { queue: Queue::of_platform(&job.kind, "bluesky")?, ..job }];
//!
//! let mut tx = pool.begin().await?;
//! sqlx::query("INSERT INTO my_accounts (id) VALUES ($1)")
//!     .bind(connector_id)
//!     .execute(&mut *tx)
//!     .await?;
//! let recorded = SqlLedger::enqueue_on(&mut tx, &jobs).await?;
//! tx.commit().await?;
//!
//! producer.dispatch(Recorded::made(&jobs, &recorded));
//! # Ok(())
//! # }
//! ```
//!
//! [`SqlLedger::enqueue_on`](crate::ledger::SqlLedger::enqueue_on) says what the transaction and its
//! login need, also where tenants share the database:
//! [`Producer::for_tenant`] makes a tenant's jobs. A program that has no broker makes jobs with
//! [`Request::into_job`] and leaves the push to the relay. Transactions begun by
//! [`Db::begin`](crate::ledger::Db::begin), also on SQLite, take
//! [`SqlLedger::enqueue_in`](crate::ledger::SqlLedger::enqueue_in).

mod by_queue;
mod dispatch;
#[cfg(feature = "http-client")]
pub mod http;
mod replace;
mod scheduled;
mod span;
mod together;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use serde::Deserialize;
use tracing::Instrument as _;

use crate::broker::{self, Broker, Push, Pushed};
use crate::clock::SharedClock;
use crate::job::{
    Catalog, Durability, Envelope, IdSource, InvalidRequest, Job, JobId, NewJob, Queue, Request,
    Tenant,
};
use crate::ledger::{self, Ledger, Recorded};
use crate::telemetry::metrics::count_enqueued;

use dispatch::Dispatcher;
use together::Together;

/// A push that lands later than this after the job was made is flagged: by then the relay may
/// have pushed the job as well (it looks at jobs older than two of these).
pub(crate) const FRESH: Duration = Duration::from_secs(1);

/// Jobs that are pushed in one call.
const PART: usize = 250;

/// Why a job was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request is wrong.
    #[error(transparent)]
    Invalid(#[from] InvalidRequest),
    /// The ledger did not take it.
    #[error(transparent)]
    Ledger(#[from] ledger::Error),
    /// The broker did not take a job that is kept nowhere else.
    #[error(transparent)]
    Broker(#[from] broker::Error),
}

/// What became of one job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Enqueued {
    /// The job's id; that of the job that holds the same unique key if there was one.
    pub id: JobId,
    /// Whether the job was made.
    pub created: bool,
    /// Whether it was not, and its arguments are now those of the one that waits.
    #[serde(default)]
    pub replaced: bool,
}

/// Makes, records and dispatches jobs. Cheap to clone.
#[derive(Clone)]
pub struct Producer {
    ledger: Arc<dyn Ledger>,
    broker: Arc<dyn Broker>,
    catalog: Arc<Catalog>,
    clock: SharedClock,
    ids: Arc<IdSource>,
    again: bool,
    tenant: Tenant,
    dispatcher: Dispatcher,
    together: Together,
}

impl Producer {
    /// A producer over these stores, on the current runtime.
    pub fn new(
        ledger: Arc<dyn Ledger>,
        broker: Arc<dyn Broker>,
        catalog: Arc<Catalog>,
        clock: SharedClock,
    ) -> Self {
        let dispatcher = Dispatcher::start(Arc::clone(&broker));
        let together = Together::start(Arc::clone(&broker));
        let (ids, tenant) = (Arc::default(), Tenant::DEFAULT);
        Self { ledger, broker, catalog, clock, ids, again: false, tenant, dispatcher, together }
    }

    /// The same producer for one request that may be `again` under way, with the ids of the first
    /// time. Jobs that may have been dispatched before, and have run since, are left to the relay.
    #[must_use]
    pub fn repeating(&self, ids: Arc<IdSource>, again: bool) -> Self {
        Self { ids, again, ..self.clone() }
    }

    /// The same producer, whose jobs are a tenant's.
    #[must_use]
    pub fn for_tenant(&self, tenant: Tenant) -> Self {
        Self { tenant, ..self.clone() }
    }

    /// The kinds this producer knows.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Checks a request and makes the job, in the kind's own queue, without recording it.
    ///
    /// # Errors
    /// Every fault found, with its field.
    pub fn prepare(&self, request: Request) -> Result<NewJob, InvalidRequest> {
        self.prepare_as(self.new_id(), request)
    }

    /// An id for a job that is about to be made.
    pub fn new_id(&self) -> JobId {
        self.ids.next(self.clock.now(), rand::random())
    }

    /// The same as [`prepare`](Self::prepare) with an id that others of its request may know.
    ///
    /// # Errors
    /// Every fault found, with its field.
    pub fn prepare_as(&self, id: JobId, request: Request) -> Result<NewJob, InvalidRequest> {
        let job = request.into_job(&self.catalog, id, self.clock.now())?;
        Ok(NewJob { tenant: self.tenant, ..job })
    }

    /// Enqueues one job of a known type in `queue`, due now.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn enqueue_one<J: Job>(&self, job: &J, queue: Queue) -> Result<Enqueued, Error> {
        let request = Request::of(job).map_err(|error| {
            InvalidRequest(vec![crate::job::FieldError::new("/args", error.to_string())])
        })?;
        let job = NewJob { queue, ..self.prepare(request)? };
        let id = job.id;
        let answers = self.enqueue(vec![job]).await?;
        Ok(answers.first().copied().unwrap_or(Enqueued { id, created: true, replaced: false }))
    }

    /// Records jobs, all or none, and dispatches them; answers in order.
    ///
    /// # Errors
    /// See [`Error`]. After an error of the ledger nothing is recorded, unless the answer to the
    /// commit was lost; repeating the call with the same jobs is harmless.
    pub async fn enqueue(&self, jobs: Vec<NewJob>) -> Result<Vec<Enqueued>, Error> {
        let sending = span::sending(&jobs);
        self.record(jobs).instrument(sending).await
    }

    async fn record(&self, jobs: Vec<NewJob>) -> Result<Vec<Enqueued>, Error> {
        let mut answers: Vec<Enqueued> = jobs
            .iter()
            .map(|job| Enqueued { id: job.id, created: true, replaced: false })
            .collect();
        let (recorded, unrecorded): (Vec<_>, Vec<_>) =
            jobs.into_iter().enumerate().partition(|(_, job)| job.durability == Durability::Ledger);
        if !recorded.is_empty() {
            let (places, rows): (Vec<usize>, Vec<NewJob>) = recorded.into_iter().unzip();
            if crate::planted!(EnqueueBeforeCommit) {
                push_all(self.broker.as_ref(), &rows, false).await?;
            }
            let outcomes = self.ledger.enqueue(&rows).await?;
            crate::failpoint!(EnqueueCommitted);
            let mut fresh = Vec::with_capacity(rows.len());
            for ((place, row), outcome) in places.into_iter().zip(rows).zip(outcomes) {
                fresh.extend(outcome.job(row));
                let (id, replaced) = match outcome {
                    Recorded::Created | Recorded::Waits => continue,
                    Recorded::Existing(id) => (id, false),
                    // The broker learns of it when it hands the job out.
                    Recorded::Replaced(id) => (id, true),
                };
                if let Some(answer) = answers.get_mut(place) {
                    *answer = Enqueued { id, created: false, replaced };
                }
            }
            self.hand_over(fresh);
        }
        let unrecorded: Vec<NewJob> = unrecorded.into_iter().map(|(_, job)| job).collect();
        self.push_unrecorded(&unrecorded).await?;
        count_enqueued(&unrecorded);
        Ok(answers)
    }

    /// Pushes jobs that are kept nowhere else.
    async fn push_unrecorded(&self, jobs: &[NewJob]) -> Result<(), broker::Error> {
        if let [job] = jobs {
            return self.together.push(&job.queue, push(job, false)?).await;
        }
        for job in jobs {
            envelope(job)?;
        }
        push_all(self.broker.as_ref(), jobs, false).await.map(drop)
    }

    /// Counts jobs that were just committed, for instance in a transaction of the caller's own,
    /// and tells the broker of them, but for those that wait for others.
    pub fn dispatch(&self, committed: Vec<NewJob>) {
        let sending = span::sending(&committed);
        sending.in_scope(|| self.hand_over(committed));
    }

    fn hand_over(&self, committed: Vec<NewJob>) {
        if self.again {
            return;
        }
        count_enqueued(&committed);
        self.dispatch_again(committed);
    }

    /// Tells the broker of jobs that are live again. Never waits and never fails: what the broker
    /// does not get, the relay pushes.
    pub fn dispatch_again(&self, committed: Vec<NewJob>) {
        let horizon = self.clock.now().after(crate::worker::BROKER_HORIZON);
        let due = |job: &NewJob| job.run_at < horizon && job.waits.is_none();
        self.dispatcher.send(committed.into_iter().filter(due).collect());
    }

    /// Returns when everything dispatched so far was offered to the broker.
    pub async fn flush(&self) {
        self.dispatcher.flush().await;
    }
}

/// What became of many pushes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct PushCount {
    /// Jobs that the broker did not hold before.
    pub(crate) added: usize,
    /// Jobs that it left to the ledger.
    pub(crate) left: usize,
}

/// Pushes jobs, all of them.
///
/// # Errors
/// That of a queue that took none, or not all; the others' were pushed.
pub(crate) async fn push_all(
    broker: &dyn Broker,
    jobs: &[NewJob],
    flagged: bool,
) -> Result<PushCount, broker::Error> {
    let (count, failure) = push_each(broker, jobs, flagged).await;
    failure.map_or(Ok(count), |(_, error)| Err(error))
}

/// Pushes jobs, each queue's beside the others': one that takes none now must not keep the others
/// from their workers. Nor must a job that makes no envelope, which is reported and left out.
/// Answers also which of the queues took not all, and why, if so; an outage before other errors.
pub(crate) async fn push_each<'j>(
    broker: &dyn Broker,
    jobs: &'j [NewJob],
    flagged: bool,
) -> (PushCount, Option<(&'j Queue, broker::Error)>) {
    let mut by_queue: HashMap<&Queue, Vec<Push>> = HashMap::new();
    for job in jobs {
        match push(job, flagged) {
            Ok(push) => by_queue.entry(&job.queue).or_default().push(push),
            Err(error) => tracing::error!(job.id = %job.id, %error, "a job cannot be pushed, ever"),
        }
    }
    let each = by_queue
        .iter()
        .map(|(&queue, pushes)| async move { (queue, push_queue(broker, queue, pushes).await) });
    let (mut sum, mut failure) = (PushCount::default(), None);
    for (queue, pushed) in join_all(each).await {
        match pushed {
            Ok(count) => {
                sum.added += count.added;
                sum.left += count.left;
            }
            Err(error) if failure.is_none() || error.is_outage() => failure = Some((queue, error)),
            Err(_) => {}
        }
    }
    (sum, failure)
}

async fn push_queue(
    broker: &dyn Broker,
    queue: &Queue,
    pushes: &[Push],
) -> Result<PushCount, broker::Error> {
    let mut count = PushCount::default();
    // While the broker carries one part out, the next is written.
    let parts: Vec<_> = pushes.chunks(PART).map(|part| broker.push(queue, part)).collect();
    let mut parts = stream::iter(parts).buffered(2);
    while let Some(answers) = parts.try_next().await? {
        let of = |pushed| answers.iter().filter(|answer| **answer == pushed).count();
        count.added += of(Pushed::Added);
        count.left += of(Pushed::Left);
    }
    Ok(count)
}

fn push(job: &NewJob, flagged: bool) -> Result<Push, broker::Error> {
    Ok(Push { envelope: envelope(job)?, flagged, fresh_until: job.created_at.after(FRESH) })
}

fn envelope(job: &NewJob) -> Result<Envelope, broker::Error> {
    Envelope::of(job).map_err(|error| broker::Error::Protocol(format!("job {}: {error}", job.id)))
}
