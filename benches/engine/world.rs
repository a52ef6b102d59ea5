//! A Redis and a database of one measurement's own, and workers on them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use postworks::broker::Broker;
use postworks::broker::redis::{RedisBroker, RedisOptions};
use postworks::chore::{Feed, Reaper};
use postworks::client::Producer;
use postworks::clock::{Clock as _, SharedClock, SystemClock};
use postworks::job::{
    Durability, Job, JobError, Kind, NewJob, Queue, Request, Timestamp, WorkerId,
};
use postworks::ledger::{Bump, GroupCommit, Ledger, SqlLedger};
use postworks::testing::postgres_server::PostgresServer;
use postworks::testing::redis_server::RedisServer;
use postworks::worker::{Calls, Drained, Handler, JobContext, Options, Registry, Stop, Worker};
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use crate::machine::redis_cpu_time;

/// Jobs that run at the same time, as by default.
const CONCURRENCY: usize = 100;
/// Longest wait for anything here.
const PATIENCE: Duration = Duration::from_secs(600);
/// Makes the arguments about as long as those of a real job.
pub(crate) const PADDING: &str =
    "0198f3a0-0000-7000-8000-000000000001 0198f3a0-0000-7000-8000-000000000002";

/// A job that does nothing, recorded in the ledger.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Recorded {
    pub(crate) sent_us: u64,
    pub(crate) padding: String,
}

/// A job that does nothing, in the broker only.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Unrecorded {
    sent_us: u64,
    padding: String,
}

impl Job for Recorded {
    const KIND: &'static str = "bench_recorded";
}

impl Job for Unrecorded {
    const KIND: &'static str = "bench_unrecorded";
    const DURABILITY: Durability = Durability::Broker;
}

/// Both durabilities, in the order of the table.
pub(crate) const BOTH: [Durability; 2] = [Durability::Broker, Durability::Ledger];

/// A durability's name in the table.
pub(crate) fn name(durability: Durability) -> &'static str {
    match durability {
        Durability::Broker => "broker",
        Durability::Ledger => "ledger",
    }
}

fn kind(durability: Durability) -> &'static str {
    match durability {
        Durability::Broker => Unrecorded::KIND,
        Durability::Ledger => Recorded::KIND,
    }
}

fn now_us() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "sender and handler share this clock")]
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is past 1970");
    u64::try_from(since.as_micros()).expect("it is not that late")
}

/// Counts, and keeps how long each job took to start.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) count: AtomicUsize,
    /// Slots for start latencies in microseconds; jobs beyond them are only counted.
    latencies: Vec<AtomicU64>,
}

impl Seen {
    fn note(&self, sent_us: u64) {
        let at = self.count.fetch_add(1, Ordering::Relaxed);
        if let Some(slot) = self.latencies.get(at) {
            slot.store(now_us().saturating_sub(sent_us), Ordering::Relaxed);
        }
    }

    /// The latencies noted so far, in microseconds.
    pub(crate) fn latencies(&self) -> impl Iterator<Item = u64> {
        let noted = self.count.load(Ordering::Relaxed).min(self.latencies.len());
        self.latencies.iter().take(noted).map(|slot| slot.load(Ordering::Relaxed))
    }
}

struct Count(Arc<Seen>);

#[async_trait]
impl Handler<Recorded> for Count {
    async fn handle(&self, job: Recorded, _: &JobContext) -> Result<(), JobError> {
        self.0.note(job.sent_us);
        Ok(())
    }
}

#[async_trait]
impl Handler<Unrecorded> for Count {
    async fn handle(&self, job: Unrecorded, _: &JobContext) -> Result<(), JobError> {
        self.0.note(job.sent_us);
        Ok(())
    }
}

/// Everything one measurement needs. Nothing of it is shared with the next.
pub(crate) struct World {
    pub(crate) redis: RedisServer,
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) producer: Producer,
    pub(crate) seen: Arc<Seen>,
    pub(crate) ledger: Arc<dyn Ledger>,
    registry: Registry,
    pub(crate) clock: SharedClock,
    calls: Arc<Calls>,
    id: WorkerId,
}

/// A worker with its chores, as a process of its own has them.
pub(crate) struct Working {
    stop: Stop,
    worker: JoinHandle<Drained>,
}

impl Working {
    /// Stops it in good order.
    pub(crate) async fn drain(self) {
        self.stop.drain.cancel();
        let drained = self.worker.await.expect("the worker ends");
        assert_eq!(drained.unsettled, 0, "everything is settled");
    }
}

impl World {
    /// A world whose handlers keep the first `latencies` start latencies.
    pub(crate) async fn new(postgres: &PostgresServer, latencies: usize) -> Self {
        let redis = RedisServer::start();
        let ledger = SqlLedger::new(postgres.db().await);
        let ledger: Arc<dyn Ledger> = Arc::new(GroupCommit::new(Arc::new(ledger)));
        let id = WorkerId::new("bench", std::process::id(), uuid::Uuid::now_v7());
        let options = RedisOptions::new(redis.url(), id.clone());
        let broker: Arc<dyn Broker> = Arc::new(RedisBroker::connect(options).unwrap());
        let slots = (0..latencies).map(|_| AtomicU64::new(0)).collect();
        let seen = Arc::new(Seen { count: AtomicUsize::new(0), latencies: slots });
        let mut registry = Registry::default();
        for durability in BOTH {
            let queue = queue(durability);
            // As after any earlier start: the first delivery of a job needs no question then.
            let bump =
                Bump { held: None, at: SystemClock.now(), reserved: std::time::Duration::ZERO };
            let generation = ledger.next_generation(&queue, bump).await.unwrap().unwrap();
            broker.open(&queue, generation).await.unwrap();
        }
        let (unrecorded, recorded) = (Count(Arc::clone(&seen)), Count(Arc::clone(&seen)));
        registry.add::<Unrecorded>(unrecorded, [queue(Durability::Broker)]).unwrap();
        registry.add::<Recorded>(recorded, [queue(Durability::Ledger)]).unwrap();
        let clock = SystemClock::shared();
        let producer = Producer::new(
            Arc::clone(&ledger),
            Arc::clone(&broker),
            Arc::new(registry.catalog().clone()),
            Arc::clone(&clock),
        );
        let calls = Arc::<Calls>::default();
        Self { redis, broker, producer, seen, ledger, registry, clock, calls, id }
    }

    /// Starts a worker with its relay and its reaper.
    pub(crate) fn start_worker(&self) -> Working {
        let stop = Stop::default();
        let feed = Feed {
            ledger: Arc::clone(&self.ledger),
            broker: Arc::clone(&self.broker),
            clock: Arc::clone(&self.clock),
            calls: Arc::clone(&self.calls),
            queues: self.registry.queues().cloned().collect(),
        };
        let queues: Vec<Queue> = self.registry.queues().cloned().collect();
        let (lease, renew) = (Duration::from_secs(10), Duration::from_secs(2));
        let reaper = Reaper {
            broker: Arc::clone(&self.broker),
            ledger: Arc::clone(&self.ledger),
            queues: queues.clone(),
            lease,
            renew,
        };
        feed.start(&stop.drain);
        tokio::spawn(reaper.run(stop.drain.clone()));
        let options = Options {
            id: self.id.clone(),
            queues,
            concurrency: CONCURRENCY,
            lease,
            renew,
            grace: Duration::from_secs(25),
        };
        let worker = Worker::new(
            self.registry.clone(),
            Arc::clone(&self.broker),
            Arc::clone(&self.ledger),
            Arc::clone(&self.clock),
            options,
            Arc::clone(&self.calls),
        );
        let worker = {
            let stop = stop.clone();
            tokio::spawn(async move { worker.run(stop).await.expect("the worker works") })
        };
        Working { stop, worker }
    }

    /// The processor time that Redis has used.
    pub(crate) fn redis_cpu_time(&self) -> Duration {
        redis_cpu_time(&self.redis)
    }

    /// A job that is sent now.
    pub(crate) fn job(&self, durability: Durability) -> NewJob {
        self.job_of(durability, now_us(), None)
    }

    /// A job that is to start at a time, from which its latency counts.
    pub(crate) fn job_for(&self, durability: Durability, at: Timestamp) -> NewJob {
        let at_us = u64::try_from(at.as_millis()).expect("it is past 1970") * 1_000;
        self.job_of(durability, at_us, Some(at))
    }

    fn job_of(&self, durability: Durability, sent_us: u64, at: Option<Timestamp>) -> NewJob {
        let args = Recorded { sent_us, padding: PADDING.to_owned() };
        let mut request = Request::of(&args).unwrap();
        kind(durability).clone_into(&mut request.kind);
        request.policy.run_at = at;
        self.producer.prepare(request).expect("a correct request")
    }

    /// Enqueues `count` jobs, 500 a call, and waits until the broker has them; answers how long
    /// it took until all were accepted.
    pub(crate) async fn fill(&self, durability: Durability, count: usize) -> Duration {
        self.fill_with(count, || self.job(durability)).await
    }

    /// The same of recorded jobs that are to start at a time.
    pub(crate) async fn fill_for(&self, at: Timestamp, count: usize) -> Duration {
        self.fill_with(count, || self.job_for(Durability::Ledger, at)).await
    }

    async fn fill_with(&self, count: usize, job: impl Fn() -> NewJob) -> Duration {
        let start = Instant::now();
        for from in (0..count).step_by(500) {
            let jobs = (from..count.min(from + 500)).map(|_| job()).collect();
            self.producer.enqueue(jobs).await.expect("the jobs are accepted");
        }
        let accepted = start.elapsed();
        self.producer.flush().await;
        accepted
    }

    /// Returns when `count` jobs have run.
    pub(crate) async fn until_ran(&self, count: usize) {
        let start = Instant::now();
        while self.seen.count.load(Ordering::Relaxed) < count {
            assert!(start.elapsed() < PATIENCE, "only {:?} jobs ran", self.seen.count);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Returns when `count` jobs have run and the broker holds nothing of them any more.
    pub(crate) async fn until_settled(&self, count: usize) {
        let start = Instant::now();
        self.until_ran(count).await;
        let queues = BOTH.map(queue);
        loop {
            let depths = self.broker.depth(&queues).await.expect("the broker answers");
            if depths.iter().flatten().all(|depth| depth.ready + depth.delayed + depth.running == 0)
            {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "not settled: {depths:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// The queue of a durability's jobs.
pub(crate) fn queue(durability: Durability) -> Queue {
    Queue::of_kind(&Kind::parse(kind(durability)).unwrap())
}
