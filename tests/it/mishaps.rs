//! What must not stop a worker: full neighbours, broken keys, a Redis that starts anew, errors
//! that misbehave. On a real Redis, with the ledger embedded.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use postworks::broker::Broker;
use postworks::broker::redis::{RedisBroker, RedisOptions};
use postworks::chore::Feed;
use postworks::client::Producer;
use postworks::clock::{Clock, SharedClock, SystemClock};
use postworks::job::{Category, ErrorClass, Job, JobError, JobId, Queue, State, Timestamp};
use postworks::ledger::{Db, Ledger, SqlLedger};
use postworks::testing::broker::{queue, worker};
use postworks::testing::redis_server::RedisServer;
use postworks::worker::{Calls, Handler, JobContext, Options, Registry, Stop, Worker};
use serde::{Deserialize, Serialize};

/// Well below ten seconds, after which a worker looks at everything by itself.
const SOON: Duration = Duration::from_secs(6);

#[derive(Debug, Clone, Serialize, Deserialize)]
enum Deed {
    Nothing,
    Hang,
    FailWithoutWords,
}

impl Job for Deed {
    const KIND: &'static str = "deed";
}

/// Panics when it is asked what happened.
#[derive(Debug)]
struct Wordless;

impl std::fmt::Display for Wordless {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("no words")
    }
}

impl std::error::Error for Wordless {}

struct Do;

#[async_trait]
impl Handler<Deed> for Do {
    async fn handle(&self, deed: Deed, _: &JobContext) -> Result<(), JobError> {
        match deed {
            Deed::Nothing => Ok(()),
            Deed::Hang => std::future::pending().await,
            Deed::FailWithoutWords => {
                Err(JobError::new(ErrorClass::Transient, "it failed").because(Wordless))
            }
        }
    }
}

struct World {
    redis: RedisServer,
    _folder: tempfile::TempDir,
    ledger: Arc<dyn Ledger>,
    broker: Arc<dyn Broker>,
    registry: Registry,
    producer: Producer,
    clock: SharedClock,
    calls: Arc<Calls>,
    stop: Stop,
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.now.cancel();
    }
}

fn main_queue() -> Queue {
    queue("deed.first")
}

fn other_queue() -> Queue {
    queue("deed.second")
}

impl World {
    async fn start() -> Self {
        let redis = RedisServer::start();
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open_sqlite(&folder.path().join("ledger.db")).await.unwrap();
        db.migrate().await.unwrap();
        let ledger: Arc<dyn Ledger> = Arc::new(SqlLedger::new(db));
        let clock: SharedClock = SystemClock::shared();
        let options = RedisOptions::new(redis.url(), worker("producer"));
        let broker: Arc<dyn Broker> = Arc::new(RedisBroker::connect(options).unwrap());
        let mut registry = Registry::default();
        registry.add::<Deed>(Do, [main_queue(), other_queue()]).unwrap();
        let producer = Producer::new(
            Arc::clone(&ledger),
            Arc::clone(&broker),
            Arc::new(registry.catalog().clone()),
            Arc::clone(&clock),
        );
        let (calls, stop) = (Arc::<Calls>::default(), Stop::default());
        let feed = Feed {
            ledger: Arc::clone(&ledger),
            broker: Arc::clone(&broker),
            clock: Arc::clone(&clock),
            queues: registry.queues().cloned().collect(),
            calls: Arc::clone(&calls),
        };
        feed.start(&stop.drain);
        Self { redis, _folder: folder, ledger, broker, registry, producer, clock, calls, stop }
    }

    /// Starts a worker and waits until it has nothing to do but to wait.
    async fn worker(&self, name: &str, concurrency: usize) {
        let redis = RedisOptions::new(self.redis.url(), worker(name));
        let options = Options {
            id: worker(name),
            queues: self.registry.queues().cloned().collect(),
            concurrency,
            lease: Duration::from_secs(10),
            renew: Duration::from_secs(2),
            grace: Duration::ZERO,
        };
        let worker = Worker::new(
            self.registry.clone(),
            Arc::new(RedisBroker::connect(redis).unwrap()),
            Arc::clone(&self.ledger),
            Arc::clone(&self.clock),
            options,
            Arc::clone(&self.calls),
        );
        let stop = self.stop.clone();
        tokio::spawn(async move { worker.run(stop).await.unwrap() });
        self.until("it waits", || {
            let list = self.redis.command("CLIENT LIST");
            let named = format!("name=postworks:{name}:");
            list.lines().any(|line| line.contains(&named) && line.contains("cmd=blpop"))
        })
        .await;
    }

    async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let start = Instant::now();
        while !holds() {
            assert!(start.elapsed() < SOON, "not in time: {what}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn enqueue(&self, deed: Deed, queue: Queue) -> JobId {
        self.producer.enqueue_one(&deed, queue).await.unwrap().id
    }

    async fn ended(&self, id: JobId, state: State) {
        let start = Instant::now();
        while self.ledger.job(id).await.unwrap().unwrap().state != state {
            assert!(start.elapsed() < SOON, "{id} is not {state}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn until_running(&self, queue: &Queue, jobs: u64) {
        let start = Instant::now();
        while self.broker.depth(std::slice::from_ref(queue)).await.unwrap()[0].unwrap().running
            < jobs
        {
            assert!(start.elapsed() < SOON, "the jobs do not start");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// An hour behind everybody else.
struct Behind;

impl Clock for Behind {
    fn now(&self) -> Timestamp {
        SystemClock.now().before(Duration::from_secs(3_600))
    }
}

#[tokio::test]
async fn a_worker_whose_clock_is_behind_runs_what_is_due() {
    let mut world = World::start().await;
    // The queue is not open yet, so the worker has to ask the ledger about this job.
    let id = world.enqueue(Deed::Nothing, main_queue()).await;
    world.producer.flush().await;
    world.clock = Arc::new(Behind);
    world.worker("late", 1).await;
    world.ended(id, State::Completed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wake_up_for_a_worker_without_a_free_place_reaches_another() {
    let world = World::start().await;
    world.worker("full", 1).await;
    world.enqueue(Deed::Hang, main_queue()).await;
    world.until_running(&main_queue(), 1).await;
    world.worker("free", 1).await;
    // Whoever waits longer is woken first.
    let id = world.enqueue(Deed::Nothing, main_queue()).await;
    world.ended(id, State::Completed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_with_broken_keys_does_not_slow_the_others_down() {
    let world = World::start().await;
    world.worker("a", 10).await;
    let jobs = format!("postworks:{{{}}}:jobs", other_queue());
    world.redis.command(&format!("SADD {jobs} garbage"));
    // As any push does.
    world.redis.command(&format!("RPUSH postworks:{{{}}}:wake 1", other_queue()));
    let start = Instant::now();
    for _ in 0..100 {
        let id = world.enqueue(Deed::Nothing, main_queue()).await;
        world.ended(id, State::Completed).await;
    }
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    // When a person has mended it, its jobs run.
    world.redis.command(&format!("DEL {jobs}"));
    let id = world.enqueue(Deed::Nothing, other_queue()).await;
    world.ended(id, State::Completed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_starts_anew_and_empty_is_at_work_again_at_once() {
    let mut world = World::start().await;
    let lost = {
        let request = postworks::job::Request::of(&Deed::Nothing).unwrap();
        let job = world.producer.prepare(request).unwrap();
        postworks::job::NewJob { queue: main_queue(), ..job }
    };
    world.worker("a", 1).await;
    // Committed while nobody could be told.
    world.redis.stop();
    world.ledger.enqueue(std::slice::from_ref(&lost)).await.unwrap();
    world.redis.resume();
    world.ended(lost.id, State::Completed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_that_panics_when_asked_why_is_a_bug_of_its_own_job() {
    let world = World::start().await;
    world.worker("a", 1).await;
    let id = world.enqueue(Deed::FailWithoutWords, main_queue()).await;
    world.ended(id, State::Dead).await;
    let row = world.ledger.job(id).await.unwrap().unwrap();
    assert_eq!(row.reason.unwrap().category, Category::Bug);
    let next = world.enqueue(Deed::Nothing, main_queue()).await;
    world.ended(next, State::Completed).await;
}
