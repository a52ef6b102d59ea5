//! Real worker processes that die, freeze and get stuck, over a real Redis and PostgreSQL.

#[path = "../workers/deed.rs"]
mod deed;
mod heirs;
mod tick;

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use postworks::broker::redis::{RedisBroker, RedisOptions};
use postworks::broker::{Broker, Place, Push};
use postworks::client::Producer;
use postworks::clock::SystemClock;
use postworks::job::{
    Catalog, Category, Envelope, Job, JobId, Kind, Queue, Request, State, Token, WorkerId,
};
use postworks::ledger::{Db, JobRow, Ledger, PostgresOptions, SqlLedger};
use postworks::on_db;
use postworks::testing::broker::worker;
use postworks::testing::postgres_server::PostgresServer;
use postworks::testing::redis_server::RedisServer;

use self::deed::Deed;

/// Longer than anything here takes on a machine that does much else.
const LONG: Duration = Duration::from_secs(90);
/// What leases last where a worker dies: longer than a death takes to be noticed.
const LEASE: Duration = Duration::from_secs(10);
/// What they last where a worker is frozen.
const SHORT_LEASE: Duration = Duration::from_secs(1);
/// What a process answers that ended itself because it was stuck.
const STUCK: i32 = 75;

struct World {
    redis: RedisServer,
    postgres: PostgresServer,
    database: String,
    db: Db,
    ledger: Arc<dyn Ledger>,
    broker: Arc<dyn Broker>,
    producer: Producer,
}

/// A worker's process; it is killed with this value.
struct Fragile {
    child: Child,
    id: WorkerId,
}

impl Drop for Fragile {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Fragile {
    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }
}

fn queue() -> Queue {
    Queue::of_kind(&Kind::parse(Deed::KIND).unwrap())
}

/// The worker's program, which cargo builds beside the tests.
fn program() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let program = tests.ancestors().nth(2).unwrap().join("examples/fragile_worker");
    assert!(program.is_file(), "build it first: cargo build --example fragile_worker");
    program
}

async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !done().await {
        assert!(start.elapsed() < LONG, "still waiting: {what}");
        // Another process gives no signal: the condition decides, this only spaces the looks.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

impl World {
    async fn start() -> Self {
        let redis = RedisServer::start();
        let postgres = PostgresServer::launch().await;
        let database = postgres.database().await;
        // A busy machine may stand still for longer than a job would wait; that is not the subject.
        let patient = PostgresOptions {
            acquire_timeout: Duration::from_secs(30),
            ..PostgresOptions::default()
        };
        let db = Db::connect_postgres(&database, &patient).unwrap();
        let ledger: Arc<dyn Ledger> = Arc::new(SqlLedger::new(db.clone()));
        let options = RedisOptions::new(redis.url(), worker("producer"));
        let broker: Arc<dyn Broker> = Arc::new(RedisBroker::connect(options).unwrap());
        let mut catalog = Catalog::default();
        catalog.add::<Deed>().unwrap();
        let producer = Producer::new(
            Arc::clone(&ledger),
            Arc::clone(&broker),
            Arc::new(catalog),
            SystemClock::shared(),
        );
        Self { redis, postgres, database, db, ledger, broker, producer }
    }

    fn worker(&self, concurrency: usize, threads: usize) -> Fragile {
        self.worker_with(concurrency, threads, LEASE)
    }

    fn worker_with(&self, concurrency: usize, threads: usize, lease: Duration) -> Fragile {
        self.worker_at(&self.database, concurrency, threads, lease)
    }

    /// A worker that reaches the database by this address.
    fn worker_at(
        &self,
        database: &str,
        concurrency: usize,
        threads: usize,
        lease: Duration,
    ) -> Fragile {
        let mut child = Command::new(program())
            .args([&self.redis.url(), database])
            .args([concurrency.to_string(), threads.to_string()])
            .arg(lease.as_millis().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut id = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut id).unwrap();
        Fragile { child, id: WorkerId::from_text(id.trim()) }
    }

    async fn enqueue(&self, deed: Deed) -> JobId {
        self.producer.enqueue_one(&deed, queue()).await.unwrap().id
    }

    async fn row(&self, id: JobId) -> JobRow {
        self.ledger.job(id).await.unwrap().unwrap()
    }

    async fn ended(&self, id: JobId, state: State) -> JobRow {
        until("a job does not end", async || self.row(id).await.state == state).await;
        self.row(id).await
    }

    async fn until_run_by(&self, id: JobId, worker: &WorkerId) {
        let there = [Some(Place::Running(worker.clone()))];
        until("the job does not start", async || {
            self.broker.find(&queue(), &[id]).await.unwrap() == there
        })
        .await;
    }

    async fn crashes(&self, id: JobId) -> i32 {
        const SQL: &str = "SELECT crashes FROM jobs WHERE id = $1";
        let read = on_db!(&self.db, pool => {
            sqlx::query_scalar(SQL).bind(id.as_uuid()).fetch_one(pool).await
        });
        read.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn neighbours_of_a_poison_job_are_cleared_in_quarantine() {
    let world = World::start().await;
    let mut neighbours = Vec::new();
    for _ in 0..6 {
        neighbours.push(world.enqueue(Deed::Rest(1_500)).await);
    }
    let poison = world.enqueue(Deed::OverflowTheStack(300)).await;
    // One worker has them all at once, and whoever dies is replaced.
    let mut fleet = [world.worker(10, 2), world.worker(10, 2)];
    let mut deaths = 0;
    until("the poison is not found out", async || {
        for worker in &mut fleet {
            if worker.ended().is_some() {
                deaths += 1;
                *worker = world.worker(10, 2);
            }
        }
        world.row(poison).await.state == State::Dead
    })
    .await;
    let reason = world.row(poison).await.reason.unwrap();
    assert_eq!(reason.category, Category::Poison);
    assert_eq!(deaths, 3, "{reason:?}");
    for id in neighbours {
        let row = world.ended(id, State::Completed).await;
        assert_eq!(row.job.failed_attempts, 0);
    }
    assert!(fleet.iter_mut().all(|worker| worker.ended().is_none()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quarantined_job_runs_although_every_worker_is_busy() {
    let world = World::start().await;
    let suspect = world.producer.prepare(Request::of(&Deed::Rest(1)).unwrap()).unwrap();
    world.ledger.enqueue(std::slice::from_ref(&suspect)).await.unwrap();
    for sequence in 1..=2 {
        let claim = Token { generation: 0, sequence };
        world.ledger.crashed(&[(suspect.id, claim)]).await.unwrap();
    }
    assert_eq!(world.crashes(suspect.id).await, 2);
    let envelope = Envelope::of(&suspect).unwrap();
    // Flagged, as whatever comes from a dead worker: the record is asked.
    let push = Push { envelope, flagged: true, fresh_until: suspect.created_at };
    world.broker.push(&queue(), &[push]).await.unwrap();
    let _worker = world.worker(4, 2);
    let mut busy = Vec::new();
    for _ in 0..120 {
        busy.push(world.enqueue(Deed::Rest(250)).await);
    }
    world.ended(suspect.id, State::Completed).await;
    let last = world.row(busy[busy.len() - 1]).await;
    assert_eq!(last.state, State::Ready, "the worker was not busy: the test proves nothing");
    for id in busy {
        world.ended(id, State::Completed).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_worker_burns_no_crash() {
    let world = World::start().await;
    let id = world.enqueue(Deed::Rest(4_000)).await;
    let mut frozen = Vec::new();
    for _ in 0..3 {
        let worker = world.worker_with(1, 2, SHORT_LEASE);
        world.until_run_by(id, &worker.id).await;
        worker.signal(Signal::SIGSTOP);
        frozen.push(worker);
    }
    let last = world.worker_with(1, 2, SHORT_LEASE);
    world.until_run_by(id, &last.id).await;
    assert_eq!(world.crashes(id).await, 0);
    world.ended(id, State::Completed).await;
    // The first was frozen for longer than a stuck runtime may be silent: it goes on all the same.
    drop(last);
    frozen.truncate(1);
    let mut first = frozen.remove(0);
    first.signal(Signal::SIGCONT);
    let next = world.enqueue(Deed::Rest(1_000)).await;
    world.until_run_by(next, &first.id).await;
    world.ended(next, State::Completed).await;
    assert_eq!(first.ended(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_threads_are_all_blocked_ends_its_process_and_its_neighbours_run_elsewhere()
{
    let world = World::start().await;
    let mut stuck = world.worker(10, 2);
    let mut blocking = Vec::new();
    for _ in 0..2 {
        let id = world.enqueue(Deed::BlockTheThread).await;
        world.until_run_by(id, &stuck.id).await;
        blocking.push(id);
    }
    let blocked = Instant::now();
    until("the process does not end", async || stuck.ended().is_some()).await;
    let took = blocked.elapsed();
    assert_eq!(stuck.ended().unwrap().code(), Some(STUCK));
    println!("a worker whose runtime was stuck ended {:.1} s later", took.as_secs_f64());
    // It counts as a crash, as any other end of a process.
    let _next = world.worker(10, 4);
    until("the crashes are not counted", async || {
        let mut counted = 0;
        for id in &blocking {
            counted += world.crashes(*id).await;
        }
        counted == 2
    })
    .await;
    let id = world.enqueue(Deed::Rest(10)).await;
    world.ended(id, State::Completed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_blocks_its_thread_does_not_stop_its_neighbours() {
    let world = World::start().await;
    let mut worker = world.worker(10, 3);
    let id = world.enqueue(Deed::BlockTheThread).await;
    world.until_run_by(id, &worker.id).await;
    let start = Instant::now();
    // Longer than a stuck runtime may be silent.
    while start.elapsed() < Duration::from_secs(8) {
        let next = world.enqueue(Deed::Rest(10)).await;
        world.ended(next, State::Completed).await;
        assert_eq!(worker.ended(), None);
    }
}
