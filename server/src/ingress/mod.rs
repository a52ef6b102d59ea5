//! Takes over the tasks that stock producers push, so that they need not be changed.
//!
//! A task leaves its queue in three steps, each of which can be done again: it is *taken* (a stock
//! worker does not see it any more), *recorded* in the ledger, and *given up*. Whoever dies in
//! between leaves a taken task, which the next process takes again. Its job's id follows from the
//! task's, so it is recorded once however often it is taken, also after it has run.

mod stock_queue;

use std::time::{Duration, Instant};

use postworks::job::{FieldError, IdSource, Timestamp};
use redis::RedisError;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;
use ulid::Ulid;
use uuid::Uuid;

use crate::app::types::EnqueueJob;
use crate::app::{self, App, Foreign};
use stock_queue::{StockQueue, StockTask};

/// Tasks that are taken at once.
const BATCH: usize = 500;
/// How often an empty queue is looked into: nobody is told of a push.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A task that was taken so long ago was left behind.
const ABANDONED: Duration = Duration::from_secs(60);
/// Waits after failures double up to this.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// How often it is said how far it got.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// What is taken from where.
pub(crate) struct Ingress {
    app: App,
    queue: StockQueue,
    name: String,
    kind: Option<String>,
}

/// What became of tasks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Moved {
    /// They are jobs now, or were before.
    pub(crate) recorded: u64,
    /// They are no jobs, and lie where they can be looked at.
    pub(crate) refused: u64,
}

/// Why nothing can be moved at the moment.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The stock queue's Redis is away, or refuses.
    #[error("the Redis of the queue cannot be used")]
    Queue(#[from] RedisError),
    /// The jobs cannot be recorded.
    #[error(transparent)]
    App(#[from] app::Error),
}

impl Ingress {
    /// Moves tasks of the stock queue `name` on the server at `url`. They are arguments of `kind`,
    /// or else whole jobs as `POST /api/jobs` takes them.
    ///
    /// # Errors
    /// The address is none.
    pub(crate) fn new(
        app: App,
        url: &str,
        name: &str,
        kind: Option<String>,
    ) -> Result<Self, RedisError> {
        let queue = StockQueue::new(url, name)?;
        Ok(Self { app, queue, name: name.to_owned(), kind })
    }

    /// Where the reasons of refused tasks are, in Redis.
    pub(crate) fn refused(&self) -> String {
        self.queue.refused()
    }

    /// Lets refused tasks be tried again; answers how many.
    pub(crate) async fn put_refused_back(&mut self) -> Result<usize, Error> {
        Ok(self.queue.put_refused_back().await?)
    }

    /// Moves everything that waits.
    ///
    /// # Errors
    /// A server is away; what was moved is moved.
    pub(crate) async fn until_empty(&mut self, stop: &CancellationToken) -> Result<Moved, Error> {
        let mut moved = Progress::default();
        let mut abandoned = Duration::ZERO;
        while !stop.is_cancelled() {
            let step = self.step(abandoned).await?;
            if step.taken == 0 {
                break;
            }
            abandoned = step.look_back(abandoned);
            moved.add(&self.name, step.moved);
        }
        Ok(moved.all)
    }

    /// Moves tasks as they come, until `stop`. Servers may be away meanwhile, or at first.
    pub(crate) async fn follow(&mut self, stop: &CancellationToken) -> Moved {
        let mut moved = Progress::default();
        let mut abandoned = Duration::ZERO;
        let mut pause = None;
        while !stop.is_cancelled() {
            let wait = match self.step(abandoned).await {
                Ok(step) => {
                    if pause.take().is_some() {
                        tracing::info!(queue = self.name, "tasks can be moved again");
                    }
                    abandoned = step.look_back(abandoned);
                    moved.add(&self.name, step.moved);
                    if step.taken > 0 { Duration::ZERO } else { LOOK_EVERY }
                }
                Err(error) => {
                    if pause.is_none() {
                        let error = crate::api::chain(&error);
                        tracing::warn!(queue = self.name, error, "no task can be moved; waiting");
                    }
                    let wait = pause.map_or(PAUSE.0, |last: Duration| (last * 2).min(PAUSE.1));
                    pause = Some(wait);
                    wait
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
        moved.all
    }

    async fn step(&mut self, abandoned: Duration) -> Result<Step, Error> {
        let tasks = self.queue.take(BATCH, abandoned).await?;
        let mut step = Step { taken: tasks.len(), ..Step::default() };
        if tasks.is_empty() {
            return Ok(step);
        }
        step.again = tasks.iter().any(|task| task.again);
        let outcomes = self.record(&tasks).await?;
        let (mut recorded, mut refused) = (Vec::new(), Vec::new());
        for (task, outcome) in tasks.into_iter().zip(outcomes) {
            match outcome {
                Ok(()) => recorded.push(task.id),
                Err(why) => {
                    tracing::warn!(queue = self.name, task = task.id, why, "a task is no job");
                    refused.push((task.id, why));
                }
            }
        }
        self.queue.give_up(&recorded, &refused).await?;
        step.moved = Moved { recorded: recorded.len() as u64, refused: refused.len() as u64 };
        Ok(step)
    }

    /// Records tasks; answers for each whether it is recorded, or why it is no job.
    async fn record(&self, tasks: &[StockTask]) -> Result<Vec<Result<(), String>>, Error> {
        match self.record_all(tasks).await {
            // One of them is to blame, and must not keep the others.
            Err(error) if tasks.len() > 1 && is_final(&error) => {
                let mut outcomes = Vec::with_capacity(tasks.len());
                for task in tasks {
                    let outcome = match self.record_all(std::slice::from_ref(task)).await {
                        Err(error) if is_final(&error) => vec![Err(crate::api::chain(&error))],
                        other => other?,
                    };
                    outcomes.extend(outcome);
                }
                Ok(outcomes)
            }
            Err(error) if is_final(&error) => Ok(vec![Err(crate::api::chain(&error))]),
            other => Ok(other?),
        }
    }

    async fn record_all(&self, tasks: &[StockTask]) -> Result<Vec<Result<(), String>>, app::Error> {
        let mut outcomes: Vec<Result<(), String>> = tasks.iter().map(|_| Ok(())).collect();
        let (mut foreign, mut places) = (Vec::new(), Vec::new());
        for (place, task) in tasks.iter().enumerate() {
            match self.read(task) {
                Ok(job) => {
                    let ids = ids(&self.name, &task.id);
                    foreign.push(Foreign { ids, again: task.again, job });
                    places.push(place);
                }
                Err(why) => outcomes[place] = Err(why),
            }
        }
        for (place, answer) in places.into_iter().zip(self.app.take_over(foreign).await?) {
            outcomes[place] = answer.map_err(|faults| {
                faults.iter().map(FieldError::to_string).collect::<Vec<_>>().join("; ")
            });
        }
        Ok(outcomes)
    }

    /// The job that a task stands for.
    fn read(&self, task: &StockTask) -> Result<EnqueueJob, String> {
        let data = task.data.as_deref().ok_or("its arguments are gone")?;
        let text = std::str::from_utf8(data)
            .map_err(|_| "its arguments are no text; the producer's codec must be JSON")?;
        let json = |error: serde_json::Error| format!("its arguments cannot be read: {error}");
        let mut job = match &self.kind {
            Some(kind) => {
                let args = RawValue::from_string(text.to_owned()).map_err(json)?;
                EnqueueJob::new(kind, args)
            }
            None => serde_json::from_str(text).map_err(json)?,
        };
        job.unique_key.get_or_insert_with(|| task.id.clone());
        if job.run_at.is_none() && job.delay_ms.is_none() {
            job.run_at =
                task.due_s.map(|due_s| Timestamp::from_millis(due_s.saturating_mul(1_000)));
            // What is overdue is due: it may have waited here for longer than a request may ask for.
            job.run_at = job.run_at.filter(|at| *at > self.app.node().clock.now());
        }
        Ok(job)
    }
}

/// Whether trying again would come to the same.
fn is_final(error: &app::Error) -> bool {
    use app::Error as E;
    matches!(error, E::Invalid(_) | E::NotFound(_) | E::Conflict(_) | E::Broken(_))
}

/// Makes the same id for the same task. A stock id is a ULID, and says when it was made.
fn ids(queue: &str, task: &str) -> IdSource {
    let mut seed = [0; 16];
    let hash: [u8; 32] =
        Sha256::new().chain_update(queue).chain_update([0]).chain_update(task).finalize().into();
    seed.copy_from_slice(&hash[..16]);
    let made_ms = Ulid::from_string(task).map_or(0, |ulid| ulid.timestamp_ms());
    let made = Timestamp::from_millis(i64::try_from(made_ms).unwrap_or(0));
    IdSource::repeating(Uuid::from_bytes(seed), made)
}

#[derive(Debug, Default)]
struct Step {
    taken: usize,
    again: bool,
    moved: Moved,
}

impl Step {
    /// How long ago a task must have been taken to be taken again by the next step: at first
    /// whatever an earlier process left behind, later what another one did.
    fn look_back(&self, before: Duration) -> Duration {
        if self.again { before } else { ABANDONED }
    }
}

struct Progress {
    all: Moved,
    told: Instant,
}

impl Default for Progress {
    fn default() -> Self {
        Self { all: Moved::default(), told: Instant::now() }
    }
}

impl Progress {
    fn add(&mut self, queue: &str, moved: Moved) {
        self.all.recorded += moved.recorded;
        self.all.refused += moved.refused;
        if moved != Moved::default() && self.told.elapsed() >= TELL_EVERY {
            let Moved { recorded, refused } = self.all;
            tracing::info!(queue, recorded, refused, "moved so far");
            self.told = Instant::now();
        }
    }
}
