//! A node whose ledger can be taken away: a PostgreSQL of its own, and a broker in memory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use postworks::broker::{Broker, Depth, memory::MemoryBroker};
use postworks::client::Producer;
use postworks::clock::{SharedClock, SystemClock};
use postworks::job::Queue;
use postworks::ledger::Ledger;
use postworks::testing::broker::worker;
use postworks::testing::postgres_server::PostgresServer;
use postworks::worker::{Drained, Options, Registry, Stop, Worker};
use tokio::task::JoinHandle;

use super::{LONG, ledger};

/// Of the workers here.
pub(super) const LEASE: Duration = Duration::from_secs(1);

/// The stores of a node, and what it does with them.
pub(super) struct Node {
    pub(super) server: PostgresServer,
    pub(super) ledger: Arc<dyn Ledger>,
    pub(super) broker: Arc<dyn Broker>,
    pub(super) producer: Producer,
    pub(super) stop: Stop,
    clock: SharedClock,
    registry: Registry,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop.now.cancel();
    }
}

impl Node {
    /// Stores with open queues; nobody works.
    pub(super) async fn start(registry: Registry) -> Self {
        let server = PostgresServer::launch().await;
        let (ledger, _) = ledger(&server, 4).await;
        let ledger: Arc<dyn Ledger> = Arc::new(ledger);
        let clock: SharedClock = SystemClock::shared();
        let broker: Arc<dyn Broker> = Arc::new(MemoryBroker::new(Arc::clone(&clock)));
        for queue in registry.queues() {
            broker.open(queue, 1).await.unwrap();
        }
        let catalog = Arc::new(registry.catalog().clone());
        let producer =
            Producer::new(Arc::clone(&ledger), Arc::clone(&broker), catalog, Arc::clone(&clock));
        Self { server, ledger, broker, producer, stop: Stop::default(), clock, registry }
    }

    pub(super) fn work(&self, concurrency: usize) -> JoinHandle<Drained> {
        let options = Options {
            id: worker("w"),
            queues: self.registry.queues().cloned().collect(),
            concurrency,
            lease: LEASE,
            renew: LEASE / 5,
            grace: Duration::ZERO,
        };
        let worker = Worker::new(
            self.registry.clone(),
            Arc::clone(&self.broker),
            Arc::clone(&self.ledger),
            Arc::clone(&self.clock),
            options,
            Arc::default(),
        );
        let told = self.stop.clone();
        tokio::spawn(async move { worker.run(told).await.unwrap() })
    }

    pub(super) async fn depth(&self, of: &Queue) -> Depth {
        self.broker.depth(std::slice::from_ref(of)).await.unwrap()[0].unwrap()
    }

    pub(super) async fn until_depth(&self, what: &str, of: &Queue, is: impl Fn(Depth) -> bool) {
        until(what, async || is(self.depth(of).await)).await;
    }
}

pub(super) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !holds().await {
        assert!(start.elapsed() < LONG, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
