//! What keeps one platform's trouble from becoming everybody's, with the real worker on the
//! embedded stores.

mod bulkheads;
mod quotas;
mod retry_budget;
mod windows;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use postworks::broker::{Broker, memory::MemoryBroker};
use postworks::chore::Feed;
use postworks::client::Producer;
use postworks::clock::{SharedClock, SystemClock};
use postworks::job::{JobId, NewJob, Queue, Request, State, WorkerId};
use postworks::ledger::{Db, Ledger, SqlLedger};
use postworks::testing::broker::PATIENCE;
use postworks::worker::{Calls, Options, Registry, Stop, Worker};
use uuid::Uuid;

/// Stores of their own, with a producer and the chores; ends its workers when it is dropped.
struct World {
    _folder: tempfile::TempDir,
    ledger: Arc<dyn Ledger>,
    broker: Arc<dyn Broker>,
    producer: Producer,
    registry: Registry,
    clock: SharedClock,
    calls: Arc<Calls>,
    stop: Stop,
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.now.cancel();
    }
}

impl World {
    async fn start(registry: Registry) -> Self {
        let clock: SharedClock = SystemClock::shared();
        let broker: Arc<dyn Broker> = Arc::new(MemoryBroker::new(Arc::clone(&clock)));
        Self::over(registry, broker, clock).await
    }

    async fn over(registry: Registry, broker: Arc<dyn Broker>, clock: SharedClock) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open_sqlite(&folder.path().join("ledger.db")).await.unwrap();
        db.migrate().await.unwrap();
        let ledger: Arc<dyn Ledger> = Arc::new(SqlLedger::new(db));
        let producer = Producer::new(
            Arc::clone(&ledger),
            Arc::clone(&broker),
            Arc::new(registry.catalog().clone()),
            Arc::clone(&clock),
        );
        let calls = Arc::<Calls>::default();
        let queues: Vec<Queue> = registry.queues().cloned().collect();
        let stop = Stop::default();
        let feed = Feed {
            ledger: Arc::clone(&ledger),
            broker: Arc::clone(&broker),
            clock: Arc::clone(&clock),
            calls: Arc::clone(&calls),
            queues,
        };
        feed.start(&stop.now);
        Self { _folder: folder, ledger, broker, producer, registry, clock, calls, stop }
    }

    /// Starts a worker on every queue.
    fn work(&self, concurrency: usize, slots: HashMap<Queue, usize>) {
        self.run(self.worker(concurrency).limited_to(slots));
    }

    fn run(&self, worker: Worker) {
        let stop = self.stop.clone();
        tokio::spawn(async move { worker.run(stop).await.unwrap() });
    }

    fn worker(&self, concurrency: usize) -> Worker {
        let options = Options {
            id: WorkerId::new("test", 1, Uuid::now_v7()),
            queues: self.registry.queues().cloned().collect(),
            concurrency,
            lease: Duration::from_secs(10),
            renew: Duration::from_secs(2),
            grace: Duration::from_secs(5),
        };
        Worker::new(
            self.registry.clone(),
            Arc::clone(&self.broker),
            Arc::clone(&self.ledger),
            Arc::clone(&self.clock),
            options,
            Arc::clone(&self.calls),
        )
    }

    async fn enqueue(&self, requests: impl IntoIterator<Item = Request>) -> Vec<JobId> {
        self.enqueue_for(None, requests).await
    }

    /// Enqueues jobs of an account.
    async fn enqueue_for(
        &self,
        account: Option<Uuid>,
        requests: impl IntoIterator<Item = Request>,
    ) -> Vec<JobId> {
        let job = |request| NewJob { account, ..self.producer.prepare(request).unwrap() };
        let jobs: Vec<NewJob> = requests.into_iter().map(job).collect();
        let mut ids = Vec::new();
        for batch in jobs.chunks(500) {
            let answers = self.producer.enqueue(batch.to_vec()).await.unwrap();
            ids.extend(answers.into_iter().map(|answer| answer.id));
        }
        ids
    }

    async fn all_completed(&self, ids: &[JobId]) {
        for id in ids {
            until("every job is completed", async || {
                self.ledger.job(*id).await.unwrap().unwrap().state == State::Completed
            })
            .await;
        }
    }
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !holds().await {
        assert!(start.elapsed() < PATIENCE, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
