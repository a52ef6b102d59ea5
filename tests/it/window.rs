//! A backlog beyond the broker's window: memory stays bounded, and nothing is lost, starved or
//! started out of turn.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use postworks::broker::memory::MemoryBroker;
use postworks::broker::redis::{RedisBroker, RedisOptions};
use postworks::broker::{Beyond, Broker, Place, Settlement, Then};
use postworks::chore::{Refiller, Relay, depths};
use postworks::client::Producer;
use postworks::clock::{Clock, SharedClock, SystemClock};
use postworks::job::{
    Catalog, Durability, Job, JobError, JobId, Kind, NewJob, Queue, Tenant, Timestamp, Uniqueness,
    WorkerId,
};
use postworks::ledger::{Db, Ledger, Next, SqlLedger, Verdict};
use postworks::testing::broker::worker;
use postworks::testing::redis_server::RedisServer;
use postworks::worker::{Calls, Handler, JobContext, Options, Registry, Stop, Worker};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(120);
const LEASE: Duration = Duration::from_secs(300);

#[derive(Debug, Serialize, Deserialize)]
struct Step {}

impl Job for Step {
    const KIND: &'static str = "step";
}

/// Counts how often each job ran.
#[derive(Clone, Default)]
struct Count {
    runs: Arc<Mutex<HashMap<JobId, u32>>>,
    sum: Arc<AtomicU32>,
}

#[async_trait]
impl Handler<Step> for Count {
    async fn handle(&self, _: Step, cx: &JobContext) -> Result<(), JobError> {
        *self.runs.lock().unwrap().entry(cx.id).or_default() += 1;
        self.sum.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

fn queue() -> Queue {
    Queue::of_kind(&Kind::parse(Step::KIND).unwrap())
}

/// A job that is due at a time; later calls make greater ids.
fn step(run_at: Timestamp, priority_s: u32) -> NewJob {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let mut random = [0; 10];
    random[6..].copy_from_slice(&NUMBER.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    let now = SystemClock.now();
    NewJob {
        id: JobId::at(Timestamp::from_millis(0), random),
        kind: Kind::parse(Step::KIND).unwrap(),
        kind_version: 1,
        queue: queue(),
        args: "{}".to_owned(),
        failed_attempts: 0,
        max_attempts: 3,
        priority_s,
        unique_key: None,
        uniqueness: Uniqueness::default(),
        account: None,
        run_at,
        created_at: now.min(run_at),
        expires_at: now.after(Duration::from_secs(86_400)),
        durability: Durability::Ledger,
        tenant: Tenant::DEFAULT,
        trace: None,
        waits: None,
    }
}

/// A ledger, a broker with a window, and what fills it.
struct World {
    _folder: tempfile::TempDir,
    ledger: Arc<dyn Ledger>,
    broker: Arc<dyn Broker>,
    producer: Producer,
    clock: SharedClock,
    calls: Arc<Calls>,
    stop: CancellationToken,
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl World {
    async fn new(broker: Arc<dyn Broker>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open_sqlite(&folder.path().join("ledger.db")).await.unwrap();
        db.migrate().await.unwrap();
        let ledger: Arc<dyn Ledger> = Arc::new(SqlLedger::new(db));
        let clock = SystemClock::shared();
        let catalog = Arc::new(Catalog::default());
        let producer =
            Producer::new(Arc::clone(&ledger), Arc::clone(&broker), catalog, Arc::clone(&clock));
        let (calls, stop) = (Arc::default(), CancellationToken::new());
        Self { _folder: folder, ledger, broker, producer, clock, calls, stop }
    }

    async fn on_redis(server: &RedisServer, window: usize) -> Self {
        let options = RedisOptions::new(server.url(), worker("window")).with_window(window);
        Self::new(Arc::new(RedisBroker::connect(options).unwrap())).await
    }

    async fn in_memory(window: usize) -> Self {
        let broker = MemoryBroker::new(SystemClock::shared()).with_window(window);
        Self::new(Arc::new(broker)).await
    }

    fn start_refiller(&self) {
        let refiller = Refiller {
            ledger: Arc::clone(&self.ledger),
            broker: Arc::clone(&self.broker),
            clock: Arc::clone(&self.clock),
            queues: vec![queue()],
            calls: Arc::clone(&self.calls),
        };
        tokio::spawn(refiller.run(self.stop.clone()));
    }

    fn start_relay(&self) {
        let relay = Relay {
            ledger: Arc::clone(&self.ledger),
            broker: Arc::clone(&self.broker),
            clock: Arc::clone(&self.clock),
            calls: Arc::clone(&self.calls),
        };
        tokio::spawn(relay.run(self.stop.clone()));
    }

    async fn open(&self, generation: u32) {
        self.broker.open(&queue(), generation).await.unwrap();
        self.calls.refill.notify_one();
    }

    async fn enqueue(&self, jobs: &[NewJob]) {
        for batch in jobs.chunks(500) {
            self.producer.enqueue(batch.to_vec()).await.unwrap();
        }
        self.producer.flush().await;
    }

    /// Claims up to `limit` jobs and ends them; answers which, in the order in which they came.
    async fn work(&self, limit: usize) -> Vec<JobId> {
        let claimed = self.broker.claim(&queue(), &worker("w"), limit, LEASE).await.unwrap();
        if claimed.beyond != Beyond::Nothing {
            self.calls.refill.notify_one();
        }
        let leases = || claimed.deliveries.iter().map(|delivery| delivery.lease.clone());
        let at = self.clock.now();
        let verdict = |lease: postworks::broker::Lease| Verdict {
            id: lease.id,
            token: lease.token,
            then: Next::Completed { at },
            failed: None,
        };
        let verdicts: Vec<Verdict> = leases().map(verdict).collect();
        self.ledger.settle(&verdicts).await.unwrap();
        let gone: Vec<_> = leases().map(|lease| Settlement { lease, then: Then::Gone }).collect();
        self.broker.settle(&queue(), &gone).await.unwrap();
        leases().map(|lease| lease.id).collect()
    }

    /// Works until so many jobs have ended; answers which, in order.
    async fn work_off(&self, jobs: usize) -> Vec<JobId> {
        let start = Instant::now();
        let mut done = Vec::new();
        while done.len() < jobs {
            assert!(start.elapsed() < PATIENCE, "only {} of {jobs} jobs came", done.len());
            let some = self.work(100.min(jobs - done.len())).await;
            if some.is_empty() {
                // The refiller's next jobs give no signal here; this only spaces the looks.
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            done.extend(some);
        }
        done
    }

    async fn until_held(&self, id: JobId) {
        let start = Instant::now();
        while self.broker.find(&queue(), &[id]).await.unwrap() != [Some(Place::Ready)] {
            assert!(start.elapsed() < PATIENCE, "{id} never came");
            // Any worker's look tells that there is a gap.
            self.work(0).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn until_holds(&self, jobs: u64) {
        let start = Instant::now();
        while self.held().await < jobs {
            assert!(start.elapsed() < PATIENCE, "the window is never full");
            // The refiller gives no signal here; this only spaces the looks.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn held(&self) -> u64 {
        let depth = self.broker.depth(&[queue()]).await.unwrap()[0].unwrap();
        depth.ready + depth.delayed
    }

    /// What a person is told of the queue: due and delayed jobs.
    async fn told(&self) -> (u64, u64) {
        let now = self.clock.now();
        let depths = depths(&*self.broker, &*self.ledger, &[queue()], now).await.unwrap();
        let depth = depths[0].unwrap();
        (depth.ready, depth.delayed)
    }
}

fn used_memory(server: &RedisServer) -> u64 {
    let info = server.command("INFO memory");
    let used = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
    used.unwrap().trim().parse().unwrap()
}

fn ids(jobs: &[NewJob]) -> Vec<JobId> {
    jobs.iter().map(|job| job.id).collect()
}

/// Jobs that have been due for a while, one millisecond after the other.
fn backlog(jobs: u64) -> Vec<NewJob> {
    let now = SystemClock.now();
    let due = |n: u64| now.before(Duration::from_secs(60)).after(Duration::from_millis(n / 3));
    (0..jobs).map(|n| step(due(n), 0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_thousand_waiting_jobs_leave_redis_flat_and_start_in_order() {
    const WINDOW: usize = 1_000;
    let server = RedisServer::start();
    let world = World::on_redis(&server, WINDOW).await;
    world.start_refiller();
    world.open(1).await;
    let jobs = backlog(20_000);
    world.enqueue(&jobs[..WINDOW]).await;
    let full = used_memory(&server);
    world.enqueue(&jobs[WINDOW..]).await;
    let more = used_memory(&server);
    println!("Redis: {full} bytes with 1,000 waiting jobs, {more} with 20,000");
    // 19,000 more would be ten million.
    assert!(more < full + 1_000_000, "{full} bytes became {more}");
    assert_eq!(world.held().await, WINDOW as u64);
    assert_eq!(world.told().await, (20_000, 0));
    let waits = jobs.last().unwrap().id;
    world.ledger.cancel(waits, world.clock.now(), None).await.unwrap();
    let mut done = world.work_off(500).await;
    let urgent = step(world.clock.now(), 3_600);
    world.enqueue(std::slice::from_ref(&urgent)).await;
    assert_eq!(world.work(1).await, [urgent.id], "it overtakes at once");
    done.extend(world.work_off(19_499).await);
    assert_eq!(done, ids(&jobs[..19_999]));
    assert!(world.work(10).await.is_empty(), "what was cancelled does not start");
    assert_eq!(world.told().await, (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_embedded_backlog_is_filled_again_after_the_broker_lost_everything() {
    let clock = SystemClock::shared();
    let memory = MemoryBroker::new(clock).with_window(200);
    let world = World::new(Arc::new(memory.clone())).await;
    world.start_refiller();
    world.open(1).await;
    let jobs = backlog(5_000);
    world.enqueue(&jobs).await;
    assert_eq!((world.held().await, world.told().await), (200, (5_000, 0)));
    let mut done = world.work_off(1_000).await;
    // What is on its way when the memory is lost would come first in the new one, out of its turn.
    world.until_holds(200).await;
    memory.wipe();
    assert_eq!(world.held().await, 0);
    world.open(2).await;
    done.extend(world.work_off(4_000).await);
    assert!(world.held().await <= 200);
    assert_eq!(done, ids(&jobs));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_with_a_head_start_overtakes_a_backlog_when_it_falls_due() {
    let world = World::in_memory(100).await;
    world.start_refiller();
    world.open(1).await;
    world.enqueue(&backlog(300)).await;
    let soon = world.clock.now().after(Duration::from_millis(1_500));
    let urgent = step(soon, 3_600);
    world.enqueue(std::slice::from_ref(&urgent)).await;
    assert_eq!(world.broker.find(&queue(), &[urgent.id]).await.unwrap(), [None], "not due yet");
    world.until_held(urgent.id).await;
    assert_eq!(world.work(1).await, [urgent.id]);
    assert_eq!(world.held().await, 99);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_jobs_scheduled_for_one_instant_all_run() {
    let world = World::in_memory(100).await;
    world.start_refiller();
    world.open(1).await;
    let soon = world.clock.now().after(Duration::from_secs(2));
    let jobs: Vec<NewJob> = (0..1_000).map(|_| step(soon, 0)).collect();
    world.enqueue(&jobs).await;
    assert_eq!(world.held().await, 100);
    assert_eq!(world.told().await, (0, 1_000));
    assert_eq!(world.work_off(1_000).await, ids(&jobs));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_relay_brings_back_what_has_a_place_in_the_window_and_nothing_else() {
    let world = World::in_memory(100).await;
    world.open(1).await;
    world.start_refiller();
    let jobs = backlog(300);
    world.enqueue(&jobs).await;
    world.broker.remove(&queue(), jobs[50].id).await.unwrap();
    let unreadable = NewJob { args: "no JSON".to_owned(), ..step(jobs[20].run_at, 0) };
    world.ledger.enqueue(&[unreadable]).await.unwrap();
    world.start_relay();
    world.until_held(jobs[50].id).await;
    assert_eq!(world.held().await, 100);
    let places = world.broker.find(&queue(), &ids(&jobs)).await.unwrap();
    assert!(places[..100].iter().all(Option::is_some));
    assert!(places[100..].iter().all(Option::is_none));
}

/// No relay looks after what the refillers might miss.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_while_jobs_come_and_go_and_two_refillers_work() {
    const JOBS: usize = 6_000;
    let server = RedisServer::start();
    let world = Arc::new(World::on_redis(&server, 150).await);
    world.start_refiller();
    world.start_refiller();
    world.open(1).await;
    let producers = (0..4).map(|producer| {
        let world = Arc::clone(&world);
        tokio::spawn(async move {
            let mut made = Vec::new();
            for n in 0..JOBS / 4 / 10 {
                let priority_s = if (n + producer) % 7 == 0 { 3_600 } else { 0 };
                let age = Duration::from_millis((n * 37 % 500) as u64);
                let now = SystemClock.now();
                let run_at = if n % 5 == 0 { now.after(age) } else { now.before(age) };
                let jobs: Vec<NewJob> = (0..10).map(|_| step(run_at, priority_s)).collect();
                made.extend(ids(&jobs));
                world.producer.enqueue(jobs).await.unwrap();
            }
            made
        })
    });
    let producers: Vec<_> = producers.collect();
    let start = Instant::now();
    let mut done = HashSet::new();
    while done.len() < JOBS {
        assert!(start.elapsed() < PATIENCE, "only {} jobs came", done.len());
        // Whatever comes twice was settled before; only the record says so, and here we do.
        done.extend(world.work(50).await);
        assert!(world.held().await <= 150 + 400, "the window is bounded");
    }
    for producer in producers {
        for id in producer.await.unwrap() {
            assert!(done.contains(&id), "{id} is lost");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_runs_each_job_of_a_long_backlog_once() {
    let server = RedisServer::start();
    let world = World::on_redis(&server, 300).await;
    world.start_refiller();
    world.start_relay();
    let jobs = backlog(4_000);
    world.enqueue(&jobs).await;
    let count = Count::default();
    let mut registry = Registry::default();
    registry.add::<Step>(count.clone(), [queue()]).unwrap();
    let options = Options {
        id: WorkerId::new("test", 1, uuid::Uuid::now_v7()),
        queues: vec![queue()],
        concurrency: 50,
        lease: Duration::from_secs(10),
        renew: Duration::from_secs(2),
        grace: PATIENCE,
    };
    let (broker, ledger) = (Arc::clone(&world.broker), Arc::clone(&world.ledger));
    let (clock, calls) = (Arc::clone(&world.clock), Arc::clone(&world.calls));
    let stop = Stop::default();
    let working = tokio::spawn(
        Worker::new(registry, broker, ledger, clock, options, calls).run(stop.clone()),
    );
    let start = Instant::now();
    while count.sum.load(Ordering::SeqCst) < 4_000 || world.told().await != (0, 0) {
        assert!(start.elapsed() < PATIENCE, "only {:?} jobs ran", count.sum);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stop.drain.cancel();
    assert_eq!(working.await.unwrap().unwrap().unsettled, 0);
    assert_eq!(world.held().await, 0);
    let runs = count.runs.lock().unwrap();
    assert!(jobs.iter().all(|job| runs.get(&job.id) == Some(&1)));
}
