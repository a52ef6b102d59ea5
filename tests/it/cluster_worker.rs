//! A worker on a Redis Cluster, with its chores: a node that is away harms its own queues only. The
//! ledger is embedded.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use postworks::broker::redis::{RedisBroker, RedisOptions};
use postworks::broker::{self, Broker, Depth};
use postworks::chore::{Feed, Reaper, depths, waiting};
use postworks::client::{Error, Producer};
use postworks::clock::{Clock as _, SharedClock, SystemClock};
use postworks::job::{Durability, Job, JobError, JobId, Queue, State};
use postworks::ledger::{Db, Ledger, SqlLedger};
use postworks::testing::broker::{LEASE, PATIENCE, worker};
use postworks::testing::cluster::ClusterServers;
use postworks::testing::redis_server::RedisServer;
use postworks::worker::{Calls, Handler, JobContext, Options, Registry, Stop, Worker};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::task::block_in_place;

const RENEW: Duration = Duration::from_millis(500);
const CONCURRENCY: usize = 10;

#[derive(Debug, Clone, Serialize, Deserialize)]
enum Deed {
    Quick,
    /// Runs until the test lets it end.
    Long,
}

impl Job for Deed {
    const KIND: &'static str = "deed";
}

/// What only the broker keeps.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Note;

impl Job for Note {
    const KIND: &'static str = "note";
    const DURABILITY: Durability = Durability::Broker;
}

#[derive(Clone)]
struct Do {
    starts: Arc<Mutex<HashMap<JobId, u32>>>,
    release: Arc<Semaphore>,
}

#[async_trait]
impl Handler<Deed> for Do {
    async fn handle(&self, deed: Deed, cx: &JobContext) -> Result<(), JobError> {
        *self.starts.lock().unwrap().entry(cx.id).or_default() += 1;
        if matches!(deed, Deed::Long) {
            let _permit = self.release.acquire().await;
        }
        Ok(())
    }
}

#[async_trait]
impl Handler<Note> for Do {
    async fn handle(&self, _: Note, _: &JobContext) -> Result<(), JobError> {
        Ok(())
    }
}

struct World {
    servers: ClusterServers,
    queues: [Queue; 3],
    ledger: Arc<dyn Ledger>,
    broker: Arc<dyn Broker>,
    deeds: Do,
    producer: Producer,
    stop: Stop,
    _folder: tempfile::TempDir,
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.now.cancel();
    }
}

impl World {
    /// A worker on all queues, with its chores.
    async fn start() -> Self {
        let servers = block_in_place(ClusterServers::start);
        let queues = block_in_place(|| servers.queues());
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open_sqlite(&folder.path().join("ledger.db")).await.unwrap();
        db.migrate().await.unwrap();
        let ledger: Arc<dyn Ledger> = Arc::new(SqlLedger::new(db));
        let clock: SharedClock = SystemClock::shared();
        let redis = RedisOptions::new(servers.url(), worker("a"));
        let broker: Arc<dyn Broker> = Arc::new(RedisBroker::connect(redis).unwrap());
        let deeds = Do { starts: Arc::default(), release: Arc::new(Semaphore::new(0)) };
        let mut registry = Registry::default();
        registry.add::<Deed>(deeds.clone(), queues.clone()).unwrap();
        registry.add::<Note>(deeds.clone(), queues.clone()).unwrap();
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
            queues: queues.to_vec(),
        };
        let reaper = Reaper {
            broker: Arc::clone(&broker),
            ledger: Arc::clone(&ledger),
            queues: queues.to_vec(),
            lease: LEASE,
            renew: RENEW,
        };
        feed.start(&stop.drain);
        tokio::spawn(reaper.run(stop.drain.clone()));
        let options = Options {
            id: worker("a"),
            queues: queues.to_vec(),
            concurrency: CONCURRENCY,
            lease: LEASE,
            renew: RENEW,
            grace: Duration::ZERO,
        };
        let (for_worker, record) = (Arc::clone(&broker), Arc::clone(&ledger));
        let working = Worker::new(registry, for_worker, record, clock, options, calls);
        let told = stop.clone();
        tokio::spawn(async move { working.run(told).await.unwrap() });
        Self { servers, queues, ledger, broker, deeds, producer, stop, _folder: folder }
    }

    async fn enqueue(&self, deed: Deed, queue: usize, count: usize) -> Vec<JobId> {
        let mut ids = Vec::new();
        for _ in 0..count {
            let queue = self.queues[queue].clone();
            ids.push(self.producer.enqueue_one(&deed, queue).await.unwrap().id);
        }
        ids
    }

    async fn complete(&self, ids: &[JobId]) {
        for id in ids {
            until("a job completes", async || self.state(*id).await == State::Completed).await;
            assert_eq!(self.starts(*id), 1, "{id}");
        }
    }

    async fn state(&self, id: JobId) -> State {
        self.ledger.job(id).await.unwrap().unwrap().state
    }

    fn starts(&self, id: JobId) -> u32 {
        self.deeds.starts.lock().unwrap().get(&id).copied().unwrap_or(0)
    }
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !holds().await {
        assert!(start.elapsed() < PATIENCE, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_goes_on_with_the_other_queues_while_a_node_is_away() {
    let mut world = World::start().await;
    for queue in 0..3 {
        let ids = world.enqueue(Deed::Quick, queue, 20).await;
        world.complete(&ids).await;
    }
    let long = world.enqueue(Deed::Long, 0, 3).await;
    until("they start", async || long.iter().all(|id| world.starts(*id) == 1)).await;
    world.servers.servers[0].kill9();
    // They end, and their leases cannot be given back.
    world.deeds.release.add_permits(long.len());
    world.complete(&long).await;

    let kept = world.enqueue(Deed::Quick, 0, 20).await;
    // More than there are places: each must be given back for the next.
    for queue in [1, 2, 1, 2] {
        let ids = world.enqueue(Deed::Quick, queue, 5 * CONCURRENCY).await;
        world.complete(&ids).await;
    }
    // Nobody makes a number of what is not known; the record tells what waits there.
    let (broker, ledger) = (world.broker.as_ref(), world.ledger.as_ref());
    let now = SystemClock.now();
    let told = depths(broker, ledger, &world.queues, now).await.unwrap();
    assert_eq!(told, [None, Some(Depth::default()), Some(Depth::default())]);
    let (due, _) = waiting(broker, ledger, &world.queues, now, 1_000).await.unwrap();
    assert_eq!(due, kept.len() as u64);
    for id in &kept {
        assert!(world.state(*id).await != State::Completed && world.starts(*id) == 0);
    }
    // It comes back, and remembers nothing.
    block_in_place(|| world.servers.servers[0].resume());
    world.complete(&kept).await;
    let ids = world.enqueue(Deed::Quick, 0, 20).await;
    world.complete(&ids).await;
    assert!(long.iter().all(|id| world.starts(*id) == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_enqueues_into_one_queue_does_not_wait_for_the_node_of_another() {
    let world = World::start().await;
    for queue in 0..3 {
        let ids = world.enqueue(Deed::Quick, queue, 1).await;
        world.complete(&ids).await;
    }
    // With connections of its own, which nobody has found out to hang.
    let redis = RedisOptions::new(world.servers.url(), worker("b"));
    let broker: Arc<dyn Broker> = Arc::new(RedisBroker::connect(redis).unwrap());
    let catalog = Arc::new(world.producer.catalog().clone());
    let producer = Producer::new(Arc::clone(&world.ledger), broker, catalog, SystemClock::shared());
    for queue in &world.queues {
        producer.enqueue_one(&Note, queue.clone()).await.unwrap();
    }
    world.servers.servers[0].freeze();
    let (stuck, queue) = (producer.clone(), world.queues[0].clone());
    let stuck = tokio::spawn(async move { stuck.enqueue_one(&Note, queue).await });
    for _ in 0..10 {
        producer.enqueue_one(&Note, world.queues[1].clone()).await.unwrap();
    }
    assert!(!stuck.is_finished(), "the others would not have had to wait");
    // Nor do jobs of the ledger, which are pushed in the background.
    let late = world.enqueue(Deed::Quick, 0, 1).await;
    let ids = world.enqueue(Deed::Quick, 2, 10).await;
    world.complete(&ids).await;
    let error = stuck.await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Broker(broker::Error::NodeAway(_))), "{error:?}");
    world.servers.servers[0].thaw();
    world.complete(&late).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_follows_its_queue_to_another_node() {
    let world = World::start().await;
    let mut ids = world.enqueue(Deed::Quick, 0, 20).await;
    ids.extend(world.enqueue(Deed::Long, 0, 2).await);
    for (from, to) in [(0, 1), (1, 2)] {
        let queue = &world.queues[0];
        block_in_place(|| world.servers.begin_to_move(queue, from, to));
        ids.extend(world.enqueue(Deed::Quick, 0, 10).await);
        block_in_place(|| {
            while world.servers.move_keys(queue, from, to, 1) > 0 {}
            world.servers.end_move(queue, to);
        });
        let after = world.enqueue(Deed::Quick, 0, 10).await;
        world.complete(&after).await;
    }
    world.deeds.release.add_permits(2);
    world.complete(&ids).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_worker_asks_no_node_more_than_twice_a_second() {
    let world = World::start().await;
    for queue in 0..3 {
        let ids = world.enqueue(Deed::Quick, queue, 5).await;
        world.complete(&ids).await;
    }
    let processed = |server: &RedisServer| -> u64 {
        let stats = server.command("INFO stats");
        let line = stats.lines().find_map(|line| line.strip_prefix("total_commands_processed:"));
        line.unwrap().trim().parse().unwrap()
    };
    // While something is leased, and for one look more, there is more to do.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let start = Instant::now();
    let before: Vec<u64> = world.servers.servers.iter().map(processed).collect();
    tokio::time::sleep(Duration::from_secs(8)).await;
    let sent: Vec<u64> = world.servers.servers.iter().map(processed).collect();
    // Our own looks are two commands each, INFO and QUIT.
    let sent: Vec<u64> = sent.iter().zip(&before).map(|(sent, before)| sent - before - 2).collect();
    let most = 2 * start.elapsed().as_secs();
    println!("commands to each node in {:?}: {sent:?}", start.elapsed());
    assert!(sent.iter().all(|sent| (1..=most).contains(sent)), "{sent:?} in {:?}", start.elapsed());
}
