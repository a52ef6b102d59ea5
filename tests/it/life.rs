//! A job's whole life, on the embedded stores: from the producer through a worker to its end.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use postworks::broker::{Broker, memory::MemoryBroker};
use postworks::chore::Feed;
use postworks::client::{Enqueued, Producer};
use postworks::clock::{SharedClock, ShiftedClock};
use postworks::job::{
    Category, ErrorClass, Job, JobError, JobId, Kind, Queue, Request, RequestPolicy, RetryPolicy,
    State, WorkerId,
};
use postworks::ledger::{self, Db, Ledger, SqlLedger};
use postworks::worker::{
    Calls, Drained, Effect, Handler, JobContext, Options, Registry, Stop, Worker,
};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// A job that does what its arguments say.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
enum Script {
    Succeed,
    FailTimes(u32),
    Die,
    Panic,
    Hang,
    /// Blocks its thread in the first attempt, until the test ends.
    BlockOnce,
}

/// A job that waits until the test lets it go on, however long that takes.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Patient {}

impl Job for Patient {
    const KIND: &'static str = "patient";
}

#[async_trait]
impl Handler<Patient> for Play {
    async fn handle(&self, _: Patient, _: &JobContext) -> Result<(), JobError> {
        self.started.fetch_add(1, Ordering::SeqCst);
        let _permit = self.release.acquire().await;
        Ok(())
    }
}

/// A job with an effect. Its platform has answered, and the ledger is away for a while; or it is
/// cut off in the middle.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Effectful {
    cut_off: bool,
}

impl Job for Effectful {
    const KIND: &'static str = "effectful";
    const TIMEOUT: Duration = Duration::from_millis(300);
    const EFFECT: bool = true;
    const RETRY: RetryPolicy = RetryPolicy { max_attempts: 1, ..RetryPolicy::DEFAULT };
}

/// What a run of [`Effectful`] knows, and the job's states at the times of recording it.
struct Known {
    id: JobId,
    ledger: Arc<dyn Ledger>,
    seen: Arc<Mutex<Vec<State>>>,
}

#[async_trait]
impl Effect for Known {
    fn interrupted(&self) -> ErrorClass {
        ErrorClass::Transient
    }

    async fn record(&self) -> Result<(), ledger::Error> {
        let state = self.ledger.job(self.id).await?.unwrap().state;
        let mut seen = self.seen.lock().unwrap();
        seen.push(state);
        if seen.len().is_multiple_of(3) { Ok(()) } else { Err(away()) }
    }
}

fn away() -> ledger::Error {
    ledger::Error::Unavailable(sqlx::Error::PoolTimedOut)
}

struct Promise {
    ledger: Arc<dyn Ledger>,
    seen: Arc<Mutex<Vec<State>>>,
}

#[async_trait]
impl Handler<Effectful> for Promise {
    async fn handle(&self, job: Effectful, cx: &JobContext) -> Result<(), JobError> {
        let (ledger, seen) = (Arc::clone(&self.ledger), Arc::clone(&self.seen));
        cx.effect.keep(Arc::new(Known { id: cx.id, ledger, seen }));
        if job.cut_off { std::future::pending().await } else { Ok(()) }
    }
}

impl Job for Script {
    const KIND: &'static str = "script";
    const TIMEOUT: Duration = Duration::from_millis(300);
    const RETRY: RetryPolicy = RetryPolicy {
        base: Duration::from_millis(1),
        cap: Duration::from_millis(5),
        max_attempts: 3,
    };
}

#[derive(Clone)]
struct Play {
    runs: Arc<Mutex<HashMap<JobId, u32>>>,
    started: Arc<AtomicU32>,
    release: Arc<Semaphore>,
}

#[async_trait]
impl Handler<Script> for Play {
    async fn handle(&self, script: Script, cx: &JobContext) -> Result<(), JobError> {
        *self.runs.lock().unwrap().entry(cx.id).or_default() += 1;
        self.started.fetch_add(1, Ordering::SeqCst);
        match script {
            Script::Succeed => Ok(()),
            Script::FailTimes(times) if cx.attempt > times => Ok(()),
            Script::FailTimes(_) => Err(JobError::new(ErrorClass::Transient, "not yet")),
            Script::Die => Err(JobError::new(ErrorClass::Invalid, "the text is empty")),
            Script::Panic => panic!("boom"),
            Script::Hang => std::future::pending().await,
            Script::BlockOnce => {
                while cx.attempt == 1 && self.release.available_permits() == 0 {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Ok(())
            }
        }
    }
}

struct World {
    _folder: tempfile::TempDir,
    ledger: Arc<dyn Ledger>,
    broker: Arc<dyn Broker>,
    producer: Producer,
    play: Play,
    registry: Registry,
    effects_seen: Arc<Mutex<Vec<State>>>,
    clock: SharedClock,
    calls: Arc<Calls>,
}

fn queue() -> Queue {
    Queue::of_kind(&Kind::parse(Script::KIND).unwrap())
}

impl World {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open_sqlite(&folder.path().join("ledger.db")).await.unwrap();
        db.migrate().await.unwrap();
        let ledger: Arc<dyn Ledger> = Arc::new(SqlLedger::new(db));
        let clock: SharedClock = Arc::new(ShiftedClock::default());
        let broker: Arc<dyn Broker> = Arc::new(MemoryBroker::new(Arc::clone(&clock)));
        let play = Play {
            runs: Arc::default(),
            started: Arc::default(),
            release: Arc::new(Semaphore::new(0)),
        };
        let mut registry = Registry::default();
        registry.add::<Script>(play.clone(), [queue()]).unwrap();
        registry.add::<Patient>(play.clone(), [queue()]).unwrap();
        let effects_seen = Arc::default();
        let promise = Promise { ledger: Arc::clone(&ledger), seen: Arc::clone(&effects_seen) };
        registry.add::<Effectful>(promise, [queue()]).unwrap();
        let producer = Producer::new(
            Arc::clone(&ledger),
            Arc::clone(&broker),
            Arc::new(registry.catalog().clone()),
            Arc::clone(&clock),
        );
        let calls = Arc::<Calls>::default();
        let feed = Feed {
            ledger: Arc::clone(&ledger),
            broker: Arc::clone(&broker),
            clock: Arc::clone(&clock),
            calls: Arc::clone(&calls),
            queues: vec![queue()],
        };
        feed.start(&tokio_util::sync::CancellationToken::new());
        Self {
            _folder: folder,
            ledger,
            broker,
            producer,
            play,
            registry,
            effects_seen,
            clock,
            calls,
        }
    }

    fn worker(&self, grace: Duration) -> (Stop, JoinHandle<Drained>) {
        let options = Options {
            id: WorkerId::new("test", 1, uuid::Uuid::now_v7()),
            queues: vec![queue()],
            concurrency: 50,
            lease: Duration::from_secs(10),
            renew: Duration::from_secs(2),
            grace,
        };
        let worker = Worker::new(
            self.registry.clone(),
            Arc::clone(&self.broker),
            Arc::clone(&self.ledger),
            Arc::clone(&self.clock),
            options,
            Arc::clone(&self.calls),
        );
        let stop = Stop::default();
        (stop.clone(), tokio::spawn(async move { worker.run(stop).await.unwrap() }))
    }

    async fn enqueue<J: Job>(&self, job: J) -> JobId {
        self.producer.enqueue_one(&job, queue()).await.unwrap().id
    }

    /// Waits until the ledger holds the job in `state`.
    async fn ended(&self, id: JobId, state: State) {
        let looking = async {
            while self.ledger.job(id).await.unwrap().unwrap().state != state {
                tokio::task::yield_now().await;
            }
        };
        let limit = Duration::from_secs(20);
        if tokio::time::timeout(limit, looking).await.is_err() {
            panic!("{id} is {:?}, not {state}", self.ledger.job(id).await.unwrap().unwrap().state);
        }
    }

    fn runs(&self, id: JobId) -> u32 {
        self.play.runs.lock().unwrap().get(&id).copied().unwrap_or(0)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_accepted_job_runs_once_and_leaves_nothing_in_the_broker() {
    let world = World::start().await;
    let (stop, worker) = world.worker(Duration::from_secs(5));
    let mut jobs = Vec::new();
    for _ in 0..2_000 {
        let request = Request::of(&Script::Succeed).unwrap();
        jobs.push(world.producer.prepare(request).unwrap());
    }
    let mut ids = Vec::new();
    for batch in jobs.chunks(500) {
        let answers = world.producer.enqueue(batch.to_vec()).await.unwrap();
        ids.extend(answers.into_iter().map(|Enqueued { id, .. }| id));
    }
    for id in &ids {
        world.ended(*id, State::Completed).await;
        assert_eq!(world.runs(*id), 1);
    }
    stop.drain.cancel();
    assert_eq!(worker.await.unwrap(), Drained { handed_back: 0, unsettled: 0 });
    let depth = world.broker.depth(&[queue()]).await.unwrap()[0].unwrap();
    assert_eq!((depth.ready, depth.delayed, depth.running), (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_job_is_repeated_and_its_attempts_are_recorded() {
    let world = World::start().await;
    let (_stop, _worker) = world.worker(Duration::from_secs(5));
    let id = world.enqueue(Script::FailTimes(2)).await;
    world.ended(id, State::Completed).await;
    assert_eq!(world.runs(id), 3);
    let attempts = world.ledger.attempts(id).await.unwrap();
    assert_eq!(attempts.iter().map(|attempt| attempt.n).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(attempts[0].error, "not yet");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_cannot_succeed_is_dead_under_its_heading() {
    let world = World::start().await;
    let (_stop, _worker) = world.worker(Duration::from_secs(5));
    for (script, category, runs) in [
        (Script::Die, Category::Invalid, 1),
        (Script::FailTimes(9), Category::PlatformApi, 3),
        (Script::Panic, Category::Bug, 1),
        (Script::Hang, Category::Timeout, 3),
    ] {
        let id = world.enqueue(script.clone()).await;
        world.ended(id, State::Dead).await;
        let row = world.ledger.job(id).await.unwrap().unwrap();
        assert_eq!(row.reason.unwrap().category, category, "{script:?}");
        assert_eq!(world.runs(id), runs, "{script:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_run_knows_of_its_effect_is_on_record_before_its_job_ends() {
    let world = World::start().await;
    let (_stop, _worker) = world.worker(Duration::from_secs(5));
    let id = world.enqueue(Effectful { cut_off: false }).await;
    world.ended(id, State::Completed).await;
    assert_eq!(*world.effects_seen.lock().unwrap(), [State::Ready; 3], "live at every try");
    // A run that its timeout cut off knows how far it came.
    let id = world.enqueue(Effectful { cut_off: true }).await;
    world.ended(id, State::Dead).await;
    assert_eq!(*world.effects_seen.lock().unwrap(), [State::Ready; 6]);
    let reason = world.ledger.job(id).await.unwrap().unwrap().reason.unwrap();
    assert_eq!((reason.category, reason.class.as_str()), (Category::Timeout, "transient"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_worker_hands_back_what_it_did_not_finish_and_another_finishes_it() {
    let world = World::start().await;
    let (stop, worker) = world.worker(Duration::ZERO);
    let mut ids = Vec::new();
    for _ in 0..80 {
        ids.push(world.enqueue(Patient {}).await);
    }
    while world.play.started.load(Ordering::SeqCst) < 50 {
        tokio::task::yield_now().await;
    }
    stop.drain.cancel();
    let drained = worker.await.unwrap();
    assert!(drained.handed_back >= 50, "{drained:?}");
    assert_eq!(drained.unsettled, 0);
    world.play.release.add_permits(1_000);
    let (_stop, _worker) = world.worker(Duration::from_secs(5));
    for id in ids {
        world.ended(id, State::Completed).await;
        let row = world.ledger.job(id).await.unwrap().unwrap();
        assert_eq!(row.job.failed_attempts, 0, "handing back burns no attempt");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_starts_empty_is_filled_from_the_ledger() {
    let world = World::start().await;
    let request = Request::of(&Script::Succeed).unwrap();
    let lost = world.producer.prepare(request).unwrap();
    // Committed, never pushed: the enqueuer died in between.
    world.ledger.enqueue(std::slice::from_ref(&lost)).await.unwrap();
    let (_stop, _worker) = world.worker(Duration::from_secs(5));
    world.ended(lost.id, State::Completed).await;
    assert_eq!(world.runs(lost.id), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_past_its_expiry_is_dead_without_running() {
    let world = World::start().await;
    let now = world.clock.now();
    let policy = RequestPolicy {
        expires_at: Some(now.after(Duration::from_millis(50))),
        ..RequestPolicy::default()
    };
    let request = Request { policy, ..Request::of(&Script::Succeed).unwrap() };
    let job = world.producer.prepare(request).unwrap();
    world.producer.enqueue(vec![job.clone()]).await.unwrap();
    while world.clock.now() <= job.expires_at {
        tokio::task::yield_now().await;
    }
    let (_stop, _worker) = world.worker(Duration::from_secs(5));
    world.ended(job.id, State::Dead).await;
    assert_eq!(world.runs(job.id), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_handler_that_blocks_its_thread_loses_its_job_soon_after_the_timeout() {
    let world = World::start().await;
    let (_stop, _worker) = world.worker(Duration::ZERO);
    let id = world.enqueue(Script::BlockOnce).await;
    world.ended(id, State::Completed).await;
    assert_eq!(world.runs(id), 2);
    let attempts = world.ledger.attempts(id).await.unwrap();
    let took = attempts[0].ended_at.since(attempts[0].started_at);
    assert!(took >= Script::TIMEOUT, "{took:?}");
    assert_eq!(attempts.len(), 1);
    // What the first handler answers at last changes nothing.
    world.play.release.add_permits(1);
    let next = world.enqueue(Script::Succeed).await;
    world.ended(next, State::Completed).await;
    assert_eq!(world.ledger.attempts(id).await.unwrap(), attempts);
}
