//! Jobs that are due later, many of them at the same moment: none is early, none is lost, and the
//! moment wakes nobody in vain. On a real Redis and PostgreSQL.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::future::join_all;
use postworks::broker::Broker;
use postworks::broker::redis::{RedisBroker, RedisOptions};
use postworks::chore::{Feed, Reaper};
use postworks::client::Producer;
use postworks::clock::{Clock as _, SharedClock, SystemClock};
use postworks::job::{Job, JobError, NewJob, Queue, Request, Timestamp};
use postworks::ledger::{GroupCommit, Ledger, SqlLedger};
use postworks::testing::broker::{queue, worker};
use postworks::testing::postgres_server::PostgresServer;
use postworks::testing::redis_server::RedisServer;
use postworks::worker::{Calls, Handler, JobContext, Options, Registry, Stop, Worker};
use serde::{Deserialize, Serialize};

/// Longer than anything here takes once it may begin.
const PATIENCE: Duration = Duration::from_secs(240);
/// Jobs in one call.
const BULK: usize = 500;
const WORKERS: usize = 3;
const DAY: Duration = Duration::from_secs(24 * 3_600);

#[derive(Debug, Serialize, Deserialize)]
struct Later {
    number: usize,
    due_ms: i64,
}

impl Job for Later {
    const KIND: &'static str = "later";
}

/// What the handlers saw.
struct Seen {
    /// How often each job ran, by its number.
    runs: Vec<AtomicU32>,
    /// Of them, those that ran at all.
    ran: AtomicUsize,
    early: AtomicUsize,
}

#[derive(Clone)]
struct Look(Arc<Seen>);

#[async_trait]
impl Handler<Later> for Look {
    async fn handle(&self, job: Later, _: &JobContext) -> Result<(), JobError> {
        let early = SystemClock.now() < Timestamp::from_millis(job.due_ms);
        self.0.early.fetch_add(usize::from(early), Ordering::SeqCst);
        if self.0.runs[job.number].fetch_add(1, Ordering::SeqCst) == 0 {
            self.0.ran.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }
}

struct World {
    _postgres: PostgresServer,
    redis: RedisServer,
    ledger: Arc<dyn Ledger>,
    producer: Producer,
    registry: Registry,
    clock: SharedClock,
    seen: Arc<Seen>,
    stop: Stop,
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.now.cancel();
    }
}

fn later() -> Queue {
    queue(Later::KIND)
}

impl World {
    /// A world for so many jobs, with its workers.
    async fn new(jobs: usize) -> Self {
        let (postgres, redis) = (PostgresServer::launch().await, RedisServer::start());
        let ledger = GroupCommit::new(Arc::new(SqlLedger::new(postgres.db().await)));
        let ledger: Arc<dyn Ledger> = Arc::new(ledger);
        let clock = SystemClock::shared();
        let runs = (0..jobs).map(|_| AtomicU32::new(0)).collect();
        let seen = Arc::new(Seen { runs, ran: AtomicUsize::new(0), early: AtomicUsize::new(0) });
        let mut registry = Registry::default();
        registry.add::<Later>(Look(Arc::clone(&seen)), [later()]).unwrap();
        let producer = Producer::new(
            Arc::clone(&ledger),
            broker(&redis, "producer"),
            Arc::new(registry.catalog().clone()),
            Arc::clone(&clock),
        );
        let stop = Stop::default();
        let world =
            Self { _postgres: postgres, redis, ledger, producer, registry, clock, seen, stop };
        (0..WORKERS).for_each(|number| world.start_worker(&format!("w{number}")));
        world
    }

    /// Starts a worker with its chores, as a process of its own has them.
    fn start_worker(&self, name: &str) {
        let (broker, calls) = (broker(&self.redis, name), Arc::<Calls>::default());
        let feed = Feed {
            ledger: Arc::clone(&self.ledger),
            broker: Arc::clone(&broker),
            clock: Arc::clone(&self.clock),
            calls: Arc::clone(&calls),
            queues: vec![later()],
        };
        feed.start(&self.stop.drain);
        let (lease, renew) = (Duration::from_secs(10), Duration::from_secs(2));
        let reaper = Reaper {
            broker: Arc::clone(&broker),
            ledger: Arc::clone(&self.ledger),
            queues: vec![later()],
            lease,
            renew,
        };
        tokio::spawn(reaper.run(self.stop.drain.clone()));
        let options = Options {
            id: worker(name),
            queues: vec![later()],
            concurrency: 100,
            lease,
            renew,
            grace: Duration::ZERO,
        };
        let worker = Worker::new(
            self.registry.clone(),
            broker,
            Arc::clone(&self.ledger),
            Arc::clone(&self.clock),
            options,
            calls,
        );
        let stop = self.stop.clone();
        tokio::spawn(async move { worker.run(stop).await.unwrap() });
    }

    fn job(&self, number: usize, due: Timestamp) -> NewJob {
        let mut request = Request::of(&Later { number, due_ms: due.as_millis() }).unwrap();
        request.policy.run_at = Some(due);
        self.producer.prepare(request).unwrap()
    }

    /// Enqueues the jobs of these numbers, all due at the same moment.
    async fn enqueue(&self, numbers: std::ops::Range<usize>, due: Timestamp) {
        let bulks: Vec<Vec<usize>> =
            numbers.collect::<Vec<_>>().chunks(BULK).map(<[usize]>::to_vec).collect();
        for some in bulks.chunks(8) {
            let calls = some.iter().map(|bulk| async {
                let jobs = bulk.iter().map(|number| self.job(*number, due)).collect();
                self.producer.enqueue(jobs).await.unwrap();
            });
            join_all(calls).await;
        }
        self.producer.flush().await;
    }

    /// How long it takes to enqueue so many, found out by some that are due another day.
    async fn takes(&self, jobs: usize, trial: std::ops::Range<usize>) -> Duration {
        let (start, tried) = (Instant::now(), trial.len());
        self.enqueue(trial, self.clock.now().after(DAY)).await;
        start.elapsed().mul_f64(jobs as f64 / tried as f64)
    }

    async fn until_ran(&self, jobs: usize, since: Instant) {
        while self.seen.ran.load(Ordering::SeqCst) < jobs {
            assert!(
                since.elapsed() < PATIENCE,
                "only {} of {jobs} jobs ran",
                self.seen.ran.load(Ordering::SeqCst)
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Calls of scripts and waits for wake-ups so far.
    fn round_trips(&self) -> u64 {
        let stats = self.redis.command("INFO commandstats");
        let of = |name: &str| {
            let line = stats.lines().find_map(|line| line.strip_prefix(name));
            let calls = line.and_then(|line| line.split(',').next()?.parse::<u64>().ok());
            calls.unwrap_or(0)
        };
        of("cmdstat_evalsha:calls=") + of("cmdstat_eval:calls=") + of("cmdstat_blpop:calls=")
    }
}

fn broker(redis: &RedisServer, name: &str) -> Arc<dyn Broker> {
    let options = RedisOptions::new(redis.url(), worker(name));
    Arc::new(RedisBroker::connect(options).unwrap())
}

/// Twice as many as a queue's window holds, so half of them come from the ledger when there is room.
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_jobs_of_the_same_moment_run_then_each_once_and_without_a_storm() {
    const JOBS: usize = 100_000;
    const TRIAL: usize = 4 * BULK;
    let world = World::new(JOBS + TRIAL).await;
    let takes = world.takes(JOBS, JOBS..JOBS + TRIAL).await;
    let due = world.clock.now().after(takes.mul_f64(1.5) + Duration::from_secs(5));
    world.enqueue(0..JOBS, due).await;
    let (left, before) = (due.since(world.clock.now()), world.round_trips());
    println!("enqueued {left:?} before they are due; {:?} was reckoned", takes);
    tokio::time::sleep(left).await;
    let start = Instant::now();
    world.until_ran(JOBS, start).await;
    let (took, trips) = (start.elapsed(), world.round_trips() - before);
    println!("all ran within {took:?}, by {trips} round trips");
    assert_eq!(world.seen.early.load(Ordering::SeqCst), 0, "jobs were early");
    let runs = |number: usize| world.seen.runs[number].load(Ordering::SeqCst);
    assert!((0..JOBS).all(|number| runs(number) == 1), "each runs once");
    assert!((JOBS..JOBS + TRIAL).all(|number| runs(number) == 0), "another day is another day");
    // A wake-up for each job, or a look by each worker, would be as many as there are jobs.
    assert!(trips < JOBS as u64 / 4, "{trips} round trips for {JOBS} jobs");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_wiped_half_way_through_a_crowded_moment_loses_none_and_starts_none_early() {
    const JOBS: usize = 20_000;
    const OTHERS: usize = 4 * BULK;
    let world = World::new(JOBS + OTHERS).await;
    let takes = world.takes(JOBS, JOBS..JOBS + OTHERS / 2).await;
    // Still within what a broker holds.
    let soon = world.clock.now().after(Duration::from_secs(1_800));
    world.enqueue(JOBS + OTHERS / 2..JOBS + OTHERS, soon).await;
    let due = world.clock.now().after(takes.mul_f64(1.5) + Duration::from_secs(2));
    world.enqueue(0..JOBS, due).await;
    tokio::time::sleep(due.since(world.clock.now())).await;
    let start = Instant::now();
    world.until_ran(JOBS / 2, start).await;
    world.redis.command("FLUSHALL");
    let at = world.seen.ran.load(Ordering::SeqCst);
    world.until_ran(JOBS, start).await;
    println!("wiped after {at} jobs; all ran within {:?}", start.elapsed());
    assert_eq!(world.seen.early.load(Ordering::SeqCst), 0, "jobs were early");
    let of_others = &world.seen.runs[JOBS..];
    assert!(of_others.iter().all(|runs| runs.load(Ordering::SeqCst) == 0), "none before its time");
}
