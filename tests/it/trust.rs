//! Whom the reaper takes for dead: nobody after a jump of the clock or a break of the connection,
//! and what it counted wrongly is taken back. On a real Redis, with the ledger embedded.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use postworks::broker::redis::{RedisBroker, RedisOptions};
use postworks::broker::{Broker, Lease, Place, Push, Reap};
use postworks::chore::Reaper;
use postworks::client::Producer;
use postworks::clock::{Clock as _, SharedClock, SystemClock};
use postworks::job::{Envelope, Job, JobError, JobId, NewJob, Queue, Request, State, WorkerId};
use postworks::ledger::{Db, Ledger, SqlLedger};
use postworks::on_db;
use postworks::testing::broker::{envelope, fresh, queue, worker};
use postworks::testing::redis_server::RedisServer;
use postworks::worker::{Handler, JobContext, Options, Registry, Stop, Worker};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Longer than anything here takes on a machine that does much else.
const LONG: Duration = Duration::from_secs(60);
const HOUR_MS: i64 = 3_600_000;
const LEASE: Duration = Duration::from_secs(2);
const RENEW: Duration = Duration::from_millis(200);

/// Waits until the test lets it go on.
#[derive(Debug, Serialize, Deserialize)]
struct Wait {}

impl Job for Wait {
    const KIND: &'static str = "wait";
}

struct Until(Arc<Semaphore>);

#[async_trait]
impl Handler<Wait> for Until {
    async fn handle(&self, _: Wait, _: &JobContext) -> Result<(), JobError> {
        let _permit = self.0.acquire().await;
        Ok(())
    }
}

struct World {
    redis: RedisServer,
    _folder: tempfile::TempDir,
    db: Db,
    ledger: Arc<dyn Ledger>,
    skew_ms: Arc<AtomicI64>,
    stop: CancellationToken,
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn waits() -> Queue {
    queue("wait")
}

async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !done().await {
        assert!(start.elapsed() < LONG, "still waiting: {what}");
        // A server gives no signal: the condition decides, this only spaces the looks.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

impl World {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open_sqlite(&folder.path().join("ledger.db")).await.unwrap();
        db.migrate().await.unwrap();
        let ledger: Arc<dyn Ledger> = Arc::new(SqlLedger::new(db.clone()));
        let (skew_ms, stop) = (Arc::default(), CancellationToken::new());
        Self { redis: RedisServer::start(), _folder: folder, db, ledger, skew_ms, stop }
    }

    fn broker(&self, id: &WorkerId) -> Arc<dyn Broker> {
        let skew_ms = Arc::clone(&self.skew_ms);
        let options = RedisOptions::new(self.redis.url(), id.clone())
            .with_skew(move || skew_ms.load(Ordering::SeqCst));
        Arc::new(RedisBroker::connect(options).unwrap())
    }

    fn reap(&self, queue: &Queue, lease: Duration) {
        let reaper = Reaper {
            broker: self.broker(&worker("reaper")),
            ledger: Arc::clone(&self.ledger),
            queues: vec![queue.clone()],
            lease,
            renew: RENEW,
        };
        tokio::spawn(reaper.run(self.stop.clone()));
    }

    /// A worker in this process that runs [`Wait`]s; answers what lets them go on.
    fn waiter(&self, id: &WorkerId) -> Arc<Semaphore> {
        let release = Arc::new(Semaphore::new(0));
        let mut registry = Registry::default();
        registry.add::<Wait>(Until(Arc::clone(&release)), [waits()]).unwrap();
        let options = Options {
            id: id.clone(),
            queues: vec![waits()],
            concurrency: 5,
            lease: LEASE,
            renew: RENEW,
            grace: Duration::ZERO,
        };
        let ledger = Arc::clone(&self.ledger);
        let clock: SharedClock = SystemClock::shared();
        let worker = Worker::new(registry, self.broker(id), ledger, clock, options, Arc::default());
        let stop = Stop { now: self.stop.clone(), ..Stop::default() };
        tokio::spawn(async move { worker.run(stop).await.unwrap() });
        release
    }

    /// Records a job and pushes it, flagged.
    async fn push_wait(&self, broker: &Arc<dyn Broker>) -> JobId {
        let mut registry = Registry::default();
        let nobody = Until(Arc::new(Semaphore::new(0)));
        registry.add::<Wait>(nobody, [waits()]).unwrap();
        let catalog = Arc::new(registry.catalog().clone());
        let ledger = Arc::clone(&self.ledger);
        let clock: SharedClock = SystemClock::shared();
        let producer = Producer::new(ledger, Arc::clone(broker), catalog, clock);
        let job: NewJob = producer.prepare(Request::of(&Wait {}).unwrap()).unwrap();
        self.ledger.enqueue(std::slice::from_ref(&job)).await.unwrap();
        let envelope = Envelope::of(&job).unwrap();
        let push = Push { envelope, flagged: true, fresh_until: job.created_at };
        broker.push(&waits(), &[push]).await.unwrap();
        job.id
    }

    /// The record's count of a job's crashes, and whether the last one was taken back.
    async fn crashes(&self, id: JobId) -> (i64, bool) {
        const SQL: &str = "SELECT crashes, crash_withdrawn FROM jobs WHERE id = $1";
        let read = on_db!(&self.db, pool => {
            sqlx::query_as(SQL).bind(id.as_uuid()).fetch_one(pool).await
        });
        read.unwrap()
    }
}

async fn claim(broker: &dyn Broker, queue: &Queue, id: &WorkerId, lease: Duration) -> Lease {
    let mut claimed = broker.claim(queue, id, 1, lease).await.unwrap();
    claimed.deliveries.remove(0).lease
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_jump_of_an_hour_reaps_nobody() {
    let world = World::start().await;
    let (living, queue) = (worker("living"), queue("connector_sync"));
    let broker = world.broker(&living);
    broker.open(&queue, 1).await.unwrap();
    let now = SystemClock.now();
    broker.push(&queue, &[fresh(envelope(now, 0), now)]).await.unwrap();
    let lease = claim(&*broker, &queue, &living, LEASE).await;
    world.reap(&queue, LEASE);

    let lost = Arc::new(AtomicBool::new(false));
    let renewing = {
        let (broker, queue, lost) = (Arc::clone(&broker), queue.clone(), Arc::clone(&lost));
        let leases = [lease.clone()];
        tokio::spawn(async move {
            loop {
                let held = broker.renew(&queue, &leases, LEASE).await.unwrap();
                lost.fetch_or(!held.held[0], Ordering::SeqCst);
                tokio::time::sleep(RENEW).await;
            }
        })
    };
    // The reaper believes in deadlines by now; then an hour forward, back, and back once more.
    tokio::time::sleep(2 * LEASE).await;
    for skew_ms in [HOUR_MS, 0, -HOUR_MS] {
        world.skew_ms.store(skew_ms, Ordering::SeqCst);
        // Time itself is what must pass here: enough for several looks.
        tokio::time::sleep(LEASE + LEASE / 2).await;
        assert!(!lost.load(Ordering::SeqCst), "reaped at {skew_ms} ms");
    }
    // And a holder that is silent from then on loses its lease in its time, not an hour later.
    renewing.abort();
    until("the lease lasts for ever", async || {
        broker.find(&queue, &[lease.id]).await.unwrap() == [Some(Place::Ready)]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_claim_answers_do_not_make_a_job_poison() {
    let world = World::start().await;
    let unlucky = worker("unlucky");
    let broker = world.broker(&unlucky);
    broker.open(&waits(), 1).await.unwrap();
    let id = world.push_wait(&broker).await;
    world.reap(&waits(), RENEW);
    for _ in 0..4 {
        // Connected, and knows nothing of its leases.
        claim(&*broker, &waits(), &unlucky, RENEW).await;
        until("a lease nobody knows of does not expire", async || {
            broker.find(&waits(), &[id]).await.unwrap() == [Some(Place::Ready)]
        })
        .await;
    }
    assert_eq!(world.crashes(id).await, (0, false));
    let release = world.waiter(&worker("lucky"));
    release.add_permits(1);
    until("the job does not complete", async || {
        world.ledger.job(id).await.unwrap().unwrap().state == State::Completed
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_was_taken_for_dead_takes_its_crash_back() {
    let world = World::start().await;
    let id = worker("mistaken");
    let broker = world.broker(&worker("other"));
    let release = world.waiter(&id);
    let job = world.push_wait(&broker).await;
    until("the job does not start", async || {
        broker.find(&waits(), &[job]).await.unwrap() == [Some(Place::Running(id.clone()))]
    })
    .await;
    // As the reaper does it, on seeing no connection of that worker.
    let held = broker.held(&waits(), &id).await.unwrap();
    world.ledger.crashed(&[(job, held[0].token)]).await.unwrap();
    assert_eq!(broker.reap(&waits(), Reap::Worker(&id)).await.unwrap(), [job]);
    until("the crash is not taken back", async || world.crashes(job).await == (0, true)).await;
    release.add_permits(2);
    until("the job does not complete", async || {
        world.ledger.job(job).await.unwrap().unwrap().state == State::Completed
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_taken_for_gone_when_all_connections_were_cut() {
    let world = World::start().await;
    let (living, dead, queue) = (worker("living"), worker("dead"), queue("connector_sync"));
    let (ours, theirs) = (world.broker(&living), world.broker(&dead));
    ours.open(&queue, 1).await.unwrap();
    let now = SystemClock.now();
    let pushes = [0, 0].map(|priority_s| fresh(envelope(now, priority_s), now));
    ours.push(&queue, &pushes).await.unwrap();
    let kept = claim(&*ours, &queue, &living, LONG).await;
    let orphan = claim(&*theirs, &queue, &dead, LONG).await;
    world.reap(&queue, LEASE);
    // Its own first look, so that what follows is a break and no start.
    until("the reaper does not connect", async || {
        world.redis.command("CLIENT LIST").contains("name=postworks:reaper:")
    })
    .await;
    drop(theirs);
    world.redis.command("CLIENT KILL TYPE normal SKIPME yes");
    // The living one is slow to come back, as one whose places are all taken is.
    let cut = Instant::now();
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    until("the living one does not come back", async || ours.ping().await.is_ok()).await;
    until("the dead one's job is kept from the others", async || {
        ours.find(&queue, &[orphan.id]).await.unwrap() == [Some(Place::Ready)]
    })
    .await;
    println!("after a break, a dead worker's job was due again {:?} later", cut.elapsed());
    let held = ours.renew(&queue, std::slice::from_ref(&kept), LONG).await.unwrap();
    assert_eq!(held.held, [true], "a living worker was reaped");
}
