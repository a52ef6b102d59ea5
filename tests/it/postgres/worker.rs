//! A worker whose ledger goes away: it keeps what it cannot settle, and settles what it can.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use postworks::broker::{Broker, Depth, memory::MemoryBroker};
use postworks::client::Producer;
use postworks::clock::{SharedClock, SystemClock};
use postworks::job::{Durability, Job, JobError, JobId, Queue, State};
use postworks::ledger::Ledger;
use postworks::testing::broker::{queue, worker};
use postworks::testing::postgres_server::PostgresServer;
use postworks::worker::{Handler, JobContext, Options, Registry, Stop, Worker};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::task::block_in_place;

use super::{LONG, ledger, until_ok};

/// Longer than the lease: what is not renewed meanwhile is lost.
const OUTAGE: Duration = Duration::from_secs(3);
const LEASE: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Recorded {}

impl Job for Recorded {
    const KIND: &'static str = "recorded";
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Unrecorded {}

impl Job for Unrecorded {
    const KIND: &'static str = "unrecorded";
    const DURABILITY: Durability = Durability::Broker;
}

/// Keeps recorded jobs in their handler until they are let go.
#[derive(Clone)]
struct Hold {
    begun: Arc<Semaphore>,
    let_go: Arc<Semaphore>,
}

#[async_trait]
impl Handler<Recorded> for Hold {
    async fn handle(&self, _: Recorded, _: &JobContext) -> Result<(), JobError> {
        self.begun.add_permits(1);
        let _let_go = self.let_go.acquire().await;
        Ok(())
    }
}

#[async_trait]
impl Handler<Unrecorded> for Hold {
    async fn handle(&self, _: Unrecorded, _: &JobContext) -> Result<(), JobError> {
        Ok(())
    }
}

struct World {
    server: PostgresServer,
    ledger: Arc<dyn Ledger>,
    broker: Arc<dyn Broker>,
    producer: Producer,
    hold: Hold,
    stop: Stop,
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.now.cancel();
    }
}

impl World {
    async fn start() -> Self {
        let server = PostgresServer::launch().await;
        let (ledger, _) = ledger(&server, 4).await;
        let ledger: Arc<dyn Ledger> = Arc::new(ledger);
        let clock: SharedClock = SystemClock::shared();
        let broker: Arc<dyn Broker> = Arc::new(MemoryBroker::new(Arc::clone(&clock)));
        let hold = Hold { begun: Arc::new(Semaphore::new(0)), let_go: Arc::new(Semaphore::new(0)) };
        let mut registry = Registry::default();
        registry.add::<Recorded>(hold.clone(), [queue("recorded")]).unwrap();
        registry.add::<Unrecorded>(hold.clone(), [queue("unrecorded")]).unwrap();
        let catalog = Arc::new(registry.catalog().clone());
        let producer =
            Producer::new(Arc::clone(&ledger), Arc::clone(&broker), catalog, Arc::clone(&clock));
        let options = Options {
            id: worker("w"),
            queues: registry.queues().cloned().collect(),
            concurrency: 20,
            lease: LEASE,
            renew: LEASE / 5,
            grace: Duration::ZERO,
        };
        let worker = Worker::new(
            registry,
            Arc::clone(&broker),
            Arc::clone(&ledger),
            clock,
            options,
            Arc::default(),
        );
        let stop = Stop::default();
        let told = stop.clone();
        tokio::spawn(async move { worker.run(told).await.unwrap() });
        Self { server, ledger, broker, producer, hold, stop }
    }

    async fn depth(&self, of: &Queue) -> Depth {
        self.broker.depth(std::slice::from_ref(of)).await.unwrap()[0].unwrap()
    }

    async fn until_depth(&self, what: &str, of: &Queue, is: impl Fn(Depth) -> bool) {
        let start = Instant::now();
        while !is(self.depth(of).await) {
            assert!(start.elapsed() < LONG, "not in time: {what}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_the_ledger_must_learn_of_waits_for_it_and_keeps_its_lease() {
    const JOBS: usize = 10;
    let world = World::start().await;
    let (recorded, unrecorded) = (queue("recorded"), queue("unrecorded"));
    let mut ids: Vec<JobId> = Vec::new();
    for _ in 0..JOBS {
        ids.push(world.producer.enqueue_one(&Recorded {}, recorded.clone()).await.unwrap().id);
    }
    // In their handlers, not merely claimed: a claimed job is begun in the ledger first.
    let begun = world.hold.begun.acquire_many(JOBS as u32);
    let _begun = tokio::time::timeout(LONG, begun).await.expect("they run").unwrap();
    block_in_place(|| world.server.kill9());
    // They end, and what became of them cannot be recorded now.
    world.hold.let_go.add_permits(JOBS);
    let start = Instant::now();
    let mut unrecorded_done = 0;
    while start.elapsed() < OUTAGE {
        world.producer.enqueue_one(&Unrecorded {}, unrecorded.clone()).await.unwrap();
        world
            .until_depth("the ledger is waited for", &unrecorded, |depth| {
                depth.running + depth.ready == 0
            })
            .await;
        unrecorded_done += 1;
        assert_eq!(world.depth(&recorded).await.running, JOBS as u64, "they are held");
        let expired = world.broker.reap(&recorded, postworks::broker::Reap::Expired).await;
        assert_eq!(expired.unwrap(), [], "their leases are renewed");
    }
    block_in_place(|| world.server.start());
    let back = Instant::now();
    world.until_depth("they are settled", &recorded, |depth| depth.running == 0).await;
    println!(
        "{JOBS} settles waited for the ledger and were taken {:?} after its return; \
         {unrecorded_done} jobs without a record did not wait",
        back.elapsed()
    );
    for id in ids {
        let (row, _) = until_ok("read", async || world.ledger.job(id).await).await;
        let row = row.unwrap();
        assert_eq!((row.state, row.job.failed_attempts), (State::Completed, 0));
    }
}
