//! A worker whose ledger goes away: it keeps what it cannot settle, and settles what it can.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use postworks::job::{Durability, Job, JobError, JobId, State};
use postworks::testing::broker::queue;
use postworks::worker::{Handler, JobContext, Registry};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::task::block_in_place;

use super::node::{LEASE, Node};
use super::{LONG, until_ok};

/// Longer than the lease: what is not renewed meanwhile is lost.
const OUTAGE: Duration = LEASE.saturating_mul(3);

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

impl Hold {
    fn registry(&self) -> Registry {
        let mut registry = Registry::default();
        registry.add::<Recorded>(self.clone(), [queue("recorded")]).unwrap();
        registry.add::<Unrecorded>(self.clone(), [queue("unrecorded")]).unwrap();
        registry
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_the_ledger_must_learn_of_waits_for_it_and_keeps_its_lease() {
    const JOBS: usize = 10;
    let hold = Hold { begun: Arc::new(Semaphore::new(0)), let_go: Arc::new(Semaphore::new(0)) };
    let node = Node::start(hold.registry()).await;
    node.work(20);
    let (recorded, unrecorded) = (queue("recorded"), queue("unrecorded"));
    let mut ids: Vec<JobId> = Vec::new();
    for _ in 0..JOBS {
        ids.push(node.producer.enqueue_one(&Recorded {}, recorded.clone()).await.unwrap().id);
    }
    // In their handlers, not merely claimed: a claimed job is begun in the ledger first.
    let begun = hold.begun.acquire_many(JOBS as u32);
    let _begun = tokio::time::timeout(LONG, begun).await.expect("they run").unwrap();
    block_in_place(|| node.server.kill9());
    // They end, and what became of them cannot be recorded now.
    hold.let_go.add_permits(JOBS);
    let start = Instant::now();
    let mut unrecorded_done = 0;
    while start.elapsed() < OUTAGE {
        node.producer.enqueue_one(&Unrecorded {}, unrecorded.clone()).await.unwrap();
        node.until_depth("the ledger is waited for", &unrecorded, |depth| {
            depth.running + depth.ready == 0
        })
        .await;
        unrecorded_done += 1;
        assert_eq!(node.depth(&recorded).await.running, JOBS as u64, "they are held");
        let expired = node.broker.reap(&recorded, postworks::broker::Reap::Expired).await;
        assert_eq!(expired.unwrap(), [], "their leases are renewed");
    }
    block_in_place(|| node.server.start());
    let back = Instant::now();
    node.until_depth("they are settled", &recorded, |depth| depth.running == 0).await;
    println!(
        "{JOBS} settles waited for the ledger and were taken {:?} after its return; \
         {unrecorded_done} jobs without a record did not wait",
        back.elapsed()
    );
    for id in ids {
        let (row, _) = until_ok("read", async || node.ledger.job(id).await).await;
        let row = row.unwrap();
        assert_eq!((row.state, row.job.failed_attempts), (State::Completed, 0));
    }
}
