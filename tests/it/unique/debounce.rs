//! Debounces through a worker, on a real Redis and PostgreSQL: quick edits make one run, with the last
//! one's arguments; continuous ones do not put it off for ever; one that comes while it runs makes the
//! next run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use postworks::broker::Broker;
use postworks::broker::redis::{RedisBroker, RedisOptions};
use postworks::chore::{Feed, Reaper};
use postworks::client::{Enqueued, Producer};
use postworks::clock::{SharedClock, SystemClock};
use postworks::job::{Job, JobError, Request};
use postworks::ledger::{GroupCommit, JobFilter, Ledger, SqlLedger};
use postworks::testing::broker::{queue, worker};
use postworks::testing::postgres_server::PostgresServer;
use postworks::testing::redis_server::RedisServer;
use postworks::worker::{Calls, Handler, JobContext, Options, Registry, Stop, Worker};
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, watch};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A profile was edited.
#[derive(Debug, Serialize, Deserialize)]
struct Edited {
    version: u32,
}

impl Job for Edited {
    const KIND: &'static str = "edited";
    const TIMEOUT: Duration = PATIENCE;
}

/// Notes with what runs began, and lets them end.
#[derive(Clone)]
struct Publish {
    began: watch::Sender<Vec<u32>>,
    may_end: Arc<Semaphore>,
}

#[async_trait]
impl Handler<Edited> for Publish {
    async fn handle(&self, job: Edited, _: &JobContext) -> Result<(), JobError> {
        self.began.send_modify(|began| began.push(job.version));
        let _permit = self.may_end.acquire().await;
        Ok(())
    }
}

struct World {
    _postgres: PostgresServer,
    redis: RedisServer,
    ledger: Arc<dyn Ledger>,
    producer: Producer,
    publish: Publish,
    clock: SharedClock,
    stop: Stop,
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.now.cancel();
    }
}

impl World {
    async fn new(may_end: usize) -> Self {
        let (postgres, redis) = (PostgresServer::launch().await, RedisServer::start());
        let ledger = GroupCommit::new(Arc::new(SqlLedger::new(postgres.db().await)));
        let ledger: Arc<dyn Ledger> = Arc::new(ledger);
        let clock = SystemClock::shared();
        let publish =
            Publish { began: watch::Sender::default(), may_end: Arc::new(Semaphore::new(may_end)) };
        let mut registry = Registry::default();
        registry.add::<Edited>(publish.clone(), [queue(Edited::KIND)]).unwrap();
        let producer = Producer::new(
            Arc::clone(&ledger),
            broker(&redis, "producer"),
            Arc::new(registry.catalog().clone()),
            Arc::clone(&clock),
        );
        let stop = Stop::default();
        let world = Self { ledger, producer, publish, clock, stop, _postgres: postgres, redis };
        world.start_worker(registry, &broker(&world.redis, "w"));
        world
    }

    fn start_worker(&self, registry: Registry, broker: &Arc<dyn Broker>) {
        let calls = Arc::<Calls>::default();
        let feed = Feed {
            ledger: Arc::clone(&self.ledger),
            broker: Arc::clone(broker),
            clock: Arc::clone(&self.clock),
            calls: Arc::clone(&calls),
            queues: vec![queue(Edited::KIND)],
        };
        feed.start(&self.stop.drain);
        let (lease, renew) = (Duration::from_secs(10), Duration::from_secs(2));
        let reaper = Reaper {
            broker: Arc::clone(broker),
            ledger: Arc::clone(&self.ledger),
            queues: vec![queue(Edited::KIND)],
            lease,
            renew,
        };
        tokio::spawn(reaper.run(self.stop.drain.clone()));
        let options = Options {
            id: worker("w"),
            queues: vec![queue(Edited::KIND)],
            concurrency: 10,
            lease,
            renew,
            grace: Duration::ZERO,
        };
        let (ledger, clock) = (Arc::clone(&self.ledger), Arc::clone(&self.clock));
        let worker = Worker::new(registry, Arc::clone(broker), ledger, clock, options, calls);
        let stop = self.stop.clone();
        tokio::spawn(async move { worker.run(stop).await.unwrap() });
    }

    async fn edit(&self, version: u32, debounce: Duration, longest: Duration) -> Enqueued {
        let mut request = Request::of(&Edited { version }).unwrap();
        request.policy.unique_key = Some("profile 7".to_owned());
        request.policy.debounce = Some(debounce);
        request.policy.max_delay = Some(longest);
        let job = self.producer.prepare(request).unwrap();
        self.producer.enqueue(vec![job]).await.unwrap()[0]
    }

    fn began(&self) -> Vec<u32> {
        self.publish.began.borrow().clone()
    }

    async fn until_began(&self, runs: usize) {
        let mut began = self.publish.began.subscribe();
        let enough = began.wait_for(|began| began.len() >= runs);
        let waited = tokio::time::timeout(PATIENCE, enough).await.map(drop);
        assert!(waited.is_ok(), "only {:?} began", self.began());
    }

    /// How many jobs there are, once all have ended.
    async fn ended(&self) -> usize {
        let start = Instant::now();
        loop {
            let filter = JobFilter { limit: 100, ..JobFilter::default() };
            let rows = self.ledger.jobs(&filter, self.clock.now()).await.unwrap();
            if rows.iter().all(|row| row.state.has_ended()) {
                return rows.len();
            }
            assert!(start.elapsed() < PATIENCE, "{rows:?}");
            // The ledger gives no signal: the condition decides, this only spaces the looks.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn broker(redis: &RedisServer, name: &str) -> Arc<dyn Broker> {
    let options = RedisOptions::new(redis.url(), worker(name));
    Arc::new(RedisBroker::connect(options).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_quick_edits_make_one_run_with_the_last_arguments() {
    let world = World::new(100).await;
    let (debounce, longest) = (Duration::from_secs(2), Duration::from_secs(50));
    let first = world.edit(1, debounce, longest).await;
    assert!(first.created && !first.replaced);
    for version in 2..=20 {
        let edited = world.edit(version, debounce, longest).await;
        assert_eq!(edited, Enqueued { id: first.id, created: false, replaced: true });
    }
    world.until_began(1).await;
    assert_eq!(world.ended().await, 1, "there is no other job");
    assert_eq!(world.began(), [20]);
}

#[tokio::test(flavor = "multi_thread")]
async fn continuous_edits_run_when_the_longest_delay_is_over() {
    let world = World::new(100).await;
    let (debounce, longest) = (Duration::from_secs(1), Duration::from_millis(2_500));
    let (start, mut version) = (Instant::now(), 0);
    let (mut last, mut gap) = (start, Duration::ZERO);
    while world.began().is_empty() {
        assert!(start.elapsed() < PATIENCE, "edits put the run off for ever");
        version += 1;
        world.edit(version, debounce, longest).await;
        gap = gap.max(last.elapsed());
        last = Instant::now();
    }
    println!("{version} edits in {:?}, {gap:?} apart at most", start.elapsed());
    assert!(gap >= debounce || start.elapsed() >= longest, "it was early");
    world.edit(version + 1, debounce, longest).await;
    world.ended().await;
    let began = world.began();
    assert!((1..=version).contains(&began[0]), "{began:?}");
    assert_eq!(began.last(), Some(&(version + 1)), "nor is the last edit lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_while_the_job_runs_makes_a_second_run() {
    let world = World::new(0).await;
    let (debounce, longest) = (Duration::from_millis(200), Duration::from_secs(2));
    let first = world.edit(1, debounce, longest).await;
    world.until_began(1).await;
    let second = world.edit(2, debounce, longest).await;
    assert!(second.created && second.id != first.id);
    // The first still runs.
    world.until_began(2).await;
    world.publish.may_end.add_permits(100);
    assert_eq!(world.ended().await, 2);
    assert_eq!(world.began(), [1, 2]);
}
