//! A job that a job enqueues is of the same tenant, down to the last.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use postworks::broker::{Broker, memory::MemoryBroker};
use postworks::chore::Refiller;
use postworks::client::Producer;
use postworks::clock::{Clock as _, SystemClock};
use postworks::job::{ErrorClass, Job, JobError, Kind, Queue, State, Tenant, WorkerId};
use postworks::ledger::{JobFilter, Ledger, SqlLedger};
use postworks::testing::postgres_server::PostgresServer;
use postworks::worker::{Calls, Handler, JobContext, Options, Registry, Stop, Worker};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::LONG;

/// A job that is followed by so many others, one after the other.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Chain {
    left: u32,
}

impl Job for Chain {
    const KIND: &'static str = "chain";
}

#[derive(Clone, Default)]
struct Forge(Arc<OnceLock<Producer>>);

#[async_trait]
impl Handler<Chain> for Forge {
    async fn handle(&self, chain: Chain, cx: &JobContext) -> Result<(), JobError> {
        let Some(left) = chain.left.checked_sub(1) else { return Ok(()) };
        let producer = self.0.get().unwrap().for_tenant(cx.tenant);
        let enqueued = producer.enqueue_one(&Chain { left }, cx.queue.clone()).await;
        let fault = |_| JobError::new(ErrorClass::Transient, "no next link");
        enqueued.map(drop).map_err(fault)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jobs_follow_ups_stay_in_its_tenant() {
    let server = PostgresServer::launch().await;
    let db = server.db().await;
    let ledger: Arc<dyn Ledger> = Arc::new(SqlLedger::new(db.clone()));
    let clock = SystemClock::shared();
    let broker: Arc<dyn Broker> = Arc::new(MemoryBroker::new(Arc::clone(&clock)));
    let (forge, calls) = (Forge::default(), Arc::<Calls>::default());
    let queue = Queue::of_kind(&Kind::parse(Chain::KIND).unwrap());
    let mut registry = Registry::default();
    registry.add::<Chain>(forge.clone(), [queue.clone()]).unwrap();
    let catalog = Arc::new(registry.catalog().clone());
    let (stored, index) = (Arc::clone(&ledger), Arc::clone(&broker));
    let producer = Producer::new(stored, index, catalog, Arc::clone(&clock));
    assert!(forge.0.set(producer.clone()).is_ok());
    let refiller = Refiller {
        ledger: Arc::clone(&ledger),
        broker: Arc::clone(&broker),
        clock: Arc::clone(&clock),
        calls: Arc::clone(&calls),
        queues: vec![queue.clone()],
    };
    let stop = Stop::default();
    let chores = CancellationToken::new();
    let _chores_end = chores.clone().drop_guard();
    tokio::spawn(refiller.run(chores));
    let options = Options {
        id: WorkerId::new("test", 1, Uuid::now_v7()),
        queues: vec![queue.clone()],
        concurrency: 4,
        lease: Duration::from_secs(10),
        renew: Duration::from_secs(2),
        grace: Duration::from_secs(5),
    };
    let worker = Worker::new(registry, broker, Arc::clone(&ledger), clock, options, calls);
    let running = tokio::spawn(worker.run(stop.clone()));

    let chains = [
        (Tenant::DEFAULT, 2),
        (Tenant::from_uuid(Uuid::from_u128(2)), 3),
        (Tenant::from_uuid(Uuid::from_u128(3)), 0),
    ];
    for (tenant, left) in chains {
        producer.for_tenant(tenant).enqueue_one(&Chain { left }, queue.clone()).await.unwrap();
    }
    let all = JobFilter { limit: 100, ..JobFilter::default() };
    for (tenant, left) in chains {
        let own = SqlLedger::new(db.for_tenant(tenant));
        let ended = async {
            loop {
                let rows = own.jobs(&all, SystemClock.now()).await.unwrap();
                assert!(rows.iter().all(|row| row.job.tenant == tenant));
                let done = rows.iter().filter(|row| row.state == State::Completed).count();
                if done == left as usize + 1 {
                    assert_eq!(rows.len(), done);
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LONG, ended).await.expect("a chain of jobs does not end");
    }
    stop.drain.cancel();
    running.await.unwrap().unwrap();
}
