//! Rolling deploys: what an old worker does not know waits for a new one, at no attempt's cost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use postworks::broker::{Broker, Place, memory::MemoryBroker};
use postworks::chore::Feed;
use postworks::client::Producer;
use postworks::clock::{SharedClock, ShiftedClock};
use postworks::job::{Durability, Job, JobError, JobId, Queue, State};
use postworks::ledger::{Db, Ledger, SqlLedger};
use postworks::testing::broker::{queue, worker};
use postworks::worker::{Calls, Drained, Handler, JobContext, Options, Registry, Stop, Worker};
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

/// Well below the five minutes after which a parked job would be looked at anyway.
const SOON: Duration = Duration::from_secs(30);

/// A kind as the old program knows it, and as the new one does.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct OldLetter {}

impl Job for OldLetter {
    const KIND: &'static str = "letter";
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Letter {}

impl Job for Letter {
    const KIND: &'static str = "letter";
    const VERSION: u16 = 2;
}

/// Kinds that only the new program knows.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Novel {}

impl Job for Novel {
    const KIND: &'static str = "novel";
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Note {}

impl Job for Note {
    const KIND: &'static str = "note";
    const DURABILITY: Durability = Durability::Broker;
}

#[derive(Clone, Default)]
struct Count(Arc<AtomicU32>);

#[async_trait]
impl<J: Job> Handler<J> for Count {
    async fn handle(&self, _: J, _: &JobContext) -> Result<(), JobError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

struct World {
    _folder: tempfile::TempDir,
    ledger: Arc<dyn Ledger>,
    broker: Arc<dyn Broker>,
    moving: Arc<ShiftedClock>,
    calls: Arc<Calls>,
    runs: Count,
}

fn letters() -> Queue {
    queue("letter")
}

impl World {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open_sqlite(&folder.path().join("ledger.db")).await.unwrap();
        db.migrate().await.unwrap();
        let ledger: Arc<dyn Ledger> = Arc::new(SqlLedger::new(db));
        let moving = Arc::new(ShiftedClock::default());
        let clock: SharedClock = moving.clone();
        let broker: Arc<dyn Broker> = Arc::new(MemoryBroker::new(Arc::clone(&clock)));
        let calls = Arc::<Calls>::default();
        let feed = Feed {
            ledger: Arc::clone(&ledger),
            broker: Arc::clone(&broker),
            clock,
            calls: Arc::clone(&calls),
            queues: vec![letters()],
        };
        feed.start(&tokio_util::sync::CancellationToken::new());
        Self { _folder: folder, ledger, broker, moving, calls, runs: Count::default() }
    }

    fn old_program(&self) -> Registry {
        let mut registry = Registry::default();
        registry.add::<OldLetter>(self.runs.clone(), [letters()]).unwrap();
        registry
    }

    fn new_program(&self) -> Registry {
        let mut registry = Registry::default();
        registry.add::<Letter>(self.runs.clone(), [letters()]).unwrap();
        registry.add::<Novel>(self.runs.clone(), [letters()]).unwrap();
        registry.add::<Note>(self.runs.clone(), [letters()]).unwrap();
        registry
    }

    /// Starts a worker; answers what stops it, and its end.
    fn work(&self, name: &str, registry: Registry) -> (Stop, JoinHandle<Drained>) {
        let options = Options {
            id: worker(name),
            queues: vec![letters()],
            concurrency: 4,
            lease: Duration::from_secs(10),
            renew: Duration::from_secs(2),
            grace: Duration::ZERO,
        };
        let worker = Worker::new(
            registry,
            Arc::clone(&self.broker),
            Arc::clone(&self.ledger),
            self.moving.clone(),
            options,
            Arc::clone(&self.calls),
        );
        let stop = Stop::default();
        let told = stop.clone();
        let ended = tokio::spawn(async move { worker.run(told).await.unwrap() });
        (stop, ended)
    }

    fn producer(&self) -> Producer {
        let catalog = Arc::new(self.new_program().catalog().clone());
        let (ledger, broker) = (Arc::clone(&self.ledger), Arc::clone(&self.broker));
        Producer::new(ledger, broker, catalog, self.moving.clone())
    }

    async fn until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        let start = Instant::now();
        while !holds().await {
            assert!(start.elapsed() < SOON, "not in time: {what}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn until_state(&self, id: JobId, state: State) {
        self.until(&format!("{id} is {state}"), async || {
            self.ledger.job(id).await.unwrap().unwrap().state == state
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_old_worker_does_not_know_runs_as_soon_as_a_new_one_starts() {
    let world = World::start().await;
    let (old, _) = world.work("old", world.old_program());
    let producer = world.producer();
    let ids = [
        producer.enqueue_one(&Letter {}, letters()).await.unwrap().id,
        producer.enqueue_one(&Novel {}, letters()).await.unwrap().id,
    ];
    for id in ids {
        world.until_state(id, State::Parked).await;
        let row = world.ledger.job(id).await.unwrap().unwrap();
        assert_eq!(row.parked_for.as_deref(), Some("newer_worker"), "what it waits for is told");
    }
    // Another worker of the same program brings nothing back, and nothing turns in circles.
    let (second, _) = world.work("second", world.old_program());
    let known = producer.enqueue_one(&Letter {}, letters()).await.unwrap().id;
    world.until_state(known, State::Parked).await;
    for id in ids {
        assert_eq!(world.ledger.job(id).await.unwrap().unwrap().state, State::Parked);
    }
    assert_eq!(world.runs.0.load(Ordering::SeqCst), 0);
    for stop in [old, second] {
        stop.drain.cancel();
    }
    let started = Instant::now();
    let (new, _) = world.work("new", world.new_program());
    for id in ids.into_iter().chain([known]) {
        world.until_state(id, State::Completed).await;
        let row = world.ledger.job(id).await.unwrap().unwrap();
        assert_eq!(row.job.failed_attempts, 0, "no attempt was burnt");
        assert_eq!(world.ledger.attempts(id).await.unwrap(), []);
    }
    println!("parked jobs ran {:?} after a newer worker's start", started.elapsed());
    assert_eq!(world.runs.0.load(Ordering::SeqCst), 3);
    new.now.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_without_a_record_waits_in_the_broker_for_a_new_worker() {
    let world = World::start().await;
    let (old, ended) = world.work("old", world.old_program());
    let id = world.producer().enqueue_one(&Note {}, letters()).await.unwrap().id;
    world
        .until("the old worker puts it off", async || {
            matches!(
                world.broker.find(&letters(), &[id]).await.unwrap()[..],
                [Some(Place::Delayed(_))]
            )
        })
        .await;
    assert!(world.ledger.job(id).await.unwrap().is_none(), "it did not die");
    old.drain.cancel();
    // It would put the job off once more.
    ended.await.unwrap();
    let (new, _) = world.work("new", world.new_program());
    world.moving.advance(Duration::from_secs(61));
    world.until("the new worker runs it", async || world.runs.0.load(Ordering::SeqCst) == 1).await;
    assert!(world.ledger.job(id).await.unwrap().is_none(), "it did not die");
    new.now.cancel();
}
