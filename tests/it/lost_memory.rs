//! A Redis that is wiped or brought back from an older copy while workers run jobs: the jobs stay
//! with their workers. On a real Redis, with the ledger embedded.

use std::collections::HashMap;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use postworks::broker::redis::{RedisBroker, RedisOptions};
use postworks::broker::{Broker, Place};
use postworks::chore::Feed;
use postworks::client::Producer;
use postworks::clock::{SharedClock, SystemClock};
use postworks::job::{Job, JobError, JobId, Queue, State};
use postworks::ledger::{Bump, Db, Ledger, SqlLedger};
use postworks::testing::broker::{PATIENCE, queue, worker};
use postworks::testing::redis_server::RedisServer;
use postworks::worker::{Calls, Handler, JobContext, Options, Registry, Stop, Worker};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

const RENEW: Duration = Duration::from_millis(200);

/// A job with an effect.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Deed {
    Quick,
    /// Runs until the test lets it end.
    Long,
}

impl Job for Deed {
    const KIND: &'static str = "deed";
    const EFFECT: bool = true;
}

#[derive(Clone)]
struct Do {
    starts: Arc<Mutex<HashMap<JobId, u32>>>,
    cancelled: Arc<AtomicU32>,
    release: Arc<Semaphore>,
}

/// Counts handlers that are taken from their jobs.
struct Unfinished(Arc<AtomicU32>, bool);

impl Drop for Unfinished {
    fn drop(&mut self) {
        self.0.fetch_add(u32::from(!self.1), Ordering::SeqCst);
    }
}

#[async_trait]
impl Handler<Deed> for Do {
    async fn handle(&self, deed: Deed, cx: &JobContext) -> Result<(), JobError> {
        *self.starts.lock().unwrap().entry(cx.id).or_default() += 1;
        let mut unfinished = Unfinished(Arc::clone(&self.cancelled), false);
        if matches!(deed, Deed::Long) {
            let _permit = self.release.acquire().await;
        }
        unfinished.1 = true;
        Ok(())
    }
}

struct World {
    redis: RedisServer,
    folder: tempfile::TempDir,
    ledger: Arc<dyn Ledger>,
    broker: Arc<dyn Broker>,
    deeds: Do,
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

fn deeds() -> Queue {
    queue("deed")
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !holds().await {
        assert!(start.elapsed() < PATIENCE, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

impl World {
    async fn over(redis: RedisServer) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open_sqlite(&folder.path().join("ledger.db")).await.unwrap();
        db.migrate().await.unwrap();
        let ledger: Arc<dyn Ledger> = Arc::new(SqlLedger::new(db));
        let clock: SharedClock = SystemClock::shared();
        let options = RedisOptions::new(redis.url(), worker("producer"));
        let broker: Arc<dyn Broker> = Arc::new(RedisBroker::connect(options).unwrap());
        let deeds = Do {
            starts: Arc::default(),
            cancelled: Arc::default(),
            release: Arc::new(Semaphore::new(0)),
        };
        let mut registry = Registry::default();
        registry.add::<Deed>(deeds.clone(), [self::deeds()]).unwrap();
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
            calls: Arc::clone(&calls),
            queues: registry.queues().cloned().collect(),
        };
        feed.start(&stop.drain);
        Self { redis, folder, ledger, broker, deeds, registry, producer, clock, calls, stop }
    }

    fn worker(&self, name: &str, url: &str, concurrency: usize) {
        let options = Options {
            id: worker(name),
            queues: vec![deeds()],
            concurrency,
            lease: Duration::from_secs(10),
            renew: RENEW,
            grace: Duration::ZERO,
        };
        let redis = RedisOptions::new(url, worker(name));
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
    }

    async fn enqueue(&self, deed: Deed, count: usize) -> Vec<JobId> {
        let mut ids = Vec::new();
        for _ in 0..count {
            ids.push(self.producer.enqueue_one(&deed, deeds()).await.unwrap().id);
        }
        self.producer.flush().await;
        ids
    }

    /// A number of long jobs, all running.
    async fn running(&self, count: usize) -> Vec<JobId> {
        let ids = self.enqueue(Deed::Long, count).await;
        until("the jobs start", async || ids.iter().all(|id| self.starts(*id) == 1)).await;
        ids
    }

    fn starts(&self, id: JobId) -> u32 {
        self.deeds.starts.lock().unwrap().get(&id).copied().unwrap_or(0)
    }

    fn cancelled(&self) -> u32 {
        self.deeds.cancelled.load(Ordering::SeqCst)
    }

    async fn completed(&self, ids: &[JobId]) {
        for id in ids {
            until("a job completes", async || {
                self.ledger.job(*id).await.unwrap().unwrap().state == State::Completed
            })
            .await;
        }
    }

    /// Until the broker knows of each job that it runs.
    async fn leased(&self, ids: &[JobId]) {
        until("the leases are claimed back", async || {
            let places = self.broker.find(&deeds(), ids).await.unwrap_or_default();
            !places.is_empty()
                && places.iter().all(|place| matches!(place, Some(Place::Running(_))))
        })
        .await;
    }

    /// Lets the long jobs end: each ran once, and ended well.
    async fn each_ran_once(&self, ids: &[JobId]) {
        self.deeds.release.add_permits(ids.len());
        self.completed(ids).await;
        for id in ids {
            assert_eq!(self.starts(*id), 1, "{id}");
        }
        assert_eq!(self.cancelled(), 0);
    }

    /// Another way to the same Redis, which can be blocked.
    fn side_door(&self) -> (PathBuf, String) {
        let door = self.folder.path().join("door.sock");
        symlink(self.redis.folder().join("redis.sock"), &door).unwrap();
        let url = format!("unix://{}", door.display());
        (door, url)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_redis_leaves_running_jobs_with_their_workers() {
    let world = World::over(RedisServer::start()).await;
    world.worker("a", &world.redis.url(), 2);
    let mut long = world.running(2).await;
    world.worker("b", &world.redis.url(), 5);
    long.extend(world.running(3).await);
    // Redis has forgotten those that wait: the ledger has not.
    let request = postworks::job::Request::of(&Deed::Quick).unwrap();
    let waiting = world.producer.prepare(request).unwrap();
    world.redis.command("FLUSHALL");
    let wiped = Instant::now();
    world.ledger.enqueue(std::slice::from_ref(&waiting)).await.unwrap();
    world.completed(&[waiting.id]).await;
    println!("after the wipe a waiting job was done within {:?}", wiped.elapsed());
    world.leased(&long).await;
    // Also once nothing is kept for anybody any more.
    until("the reservation ends", async || wiped.elapsed() > RENEW + Duration::from_secs(3)).await;
    world.leased(&long).await;
    world.each_ran_once(&long).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_brought_back_from_an_older_copy_leaves_running_jobs_with_their_workers() {
    let settings = ["--save", "", "--appendonly", "yes", "--appendfsync", "always"];
    let mut world = World::over(RedisServer::start_with(&settings)).await;
    let bump = Bump { held: None, at: world.clock.now(), reserved: Duration::ZERO };
    let generation = world.ledger.next_generation(&deeds(), bump).await.unwrap().unwrap();
    world.broker.open(&deeds(), generation).await.unwrap();
    let quick = world.enqueue(Deed::Quick, 5).await;
    let long = world.enqueue(Deed::Long, 4).await;
    let copy = world.redis.copy_of_disk();
    world.worker("a", &world.redis.url(), 6);
    world.worker("b", &world.redis.url(), 6);
    world.completed(&quick).await;
    until("the jobs start", async || long.iter().all(|id| world.starts(*id) == 1)).await;

    // As if nobody had claimed any of them yet.
    world.redis.roll_back(&copy);
    let back = Instant::now();
    let more = world.enqueue(Deed::Quick, 5).await;
    world.completed(&more).await;
    println!("after the rollback new jobs were done within {:?}", back.elapsed());
    world.leased(&long).await;
    until("the reservation ends", async || back.elapsed() > RENEW + Duration::from_secs(3)).await;
    world.leased(&long).await;
    world.each_ran_once(&long).await;
    for id in quick.iter().chain(&more) {
        assert_eq!(world.starts(*id), 1, "{id} had been done before");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_reasserted_too_late_is_cancelled() {
    let world = World::over(RedisServer::start()).await;
    let (door, url) = world.side_door();
    world.worker("a", &url, 1);
    let long = world.running(1).await;
    // The first worker cannot reach Redis, and so cannot claim its lease back.
    let blocked = door.with_extension("blocked");
    std::fs::rename(&door, &blocked).unwrap();
    world.redis.command("CLIENT KILL TYPE normal SKIPME yes");
    world.redis.command("FLUSHALL");
    world.worker("b", &world.redis.url(), 2);
    until("another worker runs the job", async || world.starts(long[0]) == 2).await;
    assert_eq!(world.cancelled(), 0, "the first one does not know yet");
    std::fs::rename(&blocked, &door).unwrap();
    until("the first run is cancelled", async || world.cancelled() == 1).await;
    world.deeds.release.add_permits(1);
    world.completed(&long).await;
    assert_eq!((world.starts(long[0]), world.cancelled()), (2, 1), "the second run ended well");
}
