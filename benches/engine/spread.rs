//! What more worker processes bring, and more nodes of a Redis Cluster.
//!
//! The workers are processes of their own: this program again, told to work. Jobs that only the
//! broker keeps wait in queues that nobody may claim from until all workers are there.

use std::io::Read as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use postworks::broker::redis::{RedisBroker, RedisOptions};
use postworks::broker::{BATCH_MAX, Broker, Push, WINDOW};
use postworks::clock::{Clock as _, SystemClock};
use postworks::job::{Durability, Hold, Job, JobError, Kind, Queue, WorkerId};
use postworks::ledger::{Db, Ledger, PostgresOptions, SqlLedger};
use postworks::testing::broker::{PATIENCE, envelope};
use postworks::testing::cluster::ClusterServers;
use postworks::testing::postgres_server::PostgresServer;
use postworks::testing::redis_server::RedisServer;
use postworks::worker::{Calls, Handler, JobContext, Options, Registry, Stop, Worker};
use serde::{Deserialize, Serialize};

use crate::Plan;
use crate::machine::busy_time;
use crate::report::{Report, median};

/// What this program is told to be one of the workers.
pub(crate) const WORK: &str = "--work";
/// Jobs that run at the same time in a process, as by default.
const CONCURRENCY: usize = 100;
/// Queues, however many servers hold them.
const QUEUES: usize = 6;
/// Worker processes on the nodes that are compared.
const PROCESSES_ON_NODES: usize = 2;
/// Between two looks whether all is done: seldom, since a look is work for Redis as well, and a hundredth
/// of what is measured at most.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A job that does nothing.
#[derive(Debug, Serialize, Deserialize)]
struct Nothing {
    connector_id: String,
}

impl Job for Nothing {
    const KIND: &'static str = "bench_spread";
    const DURABILITY: Durability = Durability::Broker;
}

struct DoNothing;

#[async_trait]
impl Handler<Nothing> for DoNothing {
    async fn handle(&self, _: Nothing, _: &JobContext) -> Result<(), JobError> {
        Ok(())
    }
}

/// One to four processes on one Redis; then one to three nodes under the same processes.
pub(crate) async fn measure(postgres: &PostgresServer, plan: &Plan, report: &mut Report) {
    let database = postgres.database().await;
    for processes in [1, 2, 4] {
        let mut runs = Vec::new();
        for _ in 0..plan.rounds {
            let redis = [RedisServer::start()];
            let queues: Vec<Queue> = (0..QUEUES).map(queue).collect();
            let url = redis[0].url();
            runs.push(drain(&redis, &url, &database, &queues, processes, plan).await);
        }
        tell(runs, report, &format!("{processes} processes, one Redis"));
    }
    for nodes in [1, 2, 3] {
        let mut runs = Vec::new();
        for _ in 0..plan.rounds {
            let servers = tokio::task::block_in_place(ClusterServers::start);
            let spread = |number: usize| {
                let mut names = (0..).map(|name| queue(100 * number + name));
                names.find(|queue| servers.home(queue) == number % nodes).expect("one lies there")
            };
            // As many queues whatever number of nodes holds them.
            let queues: Vec<Queue> = (0..QUEUES).map(spread).collect();
            let (nodes, url) = (&servers.servers, servers.url());
            runs.push(drain(nodes, &url, &database, &queues, PROCESSES_ON_NODES, plan).await);
        }
        tell(runs, report, &format!("{PROCESSES_ON_NODES} processes, {nodes} nodes of a Cluster"));
    }
}

/// What it took to drain a backlog.
struct Drained {
    jobs: usize,
    took: Duration,
    /// The processor time of all Redis servers.
    redis: Duration,
    /// The part of the machine that was busy.
    busy: f64,
}

/// Tells of some runs: the median of each figure.
fn tell(runs: Vec<Drained>, report: &mut Report, on: &str) {
    let of = |figure: fn(&Drained) -> f64| runs.iter().map(figure).collect::<Vec<f64>>();
    let speeds = of(|run| run.jobs as f64 / run.took.as_secs_f64());
    let each = median(of(|run| run.redis.as_secs_f64() * 1e6 / run.jobs as f64));
    let busy = median(of(|run| run.busy)) * 100.0;
    let told: Vec<String> = speeds.iter().map(|speed| format!("{speed:.0}")).collect();
    report.figure("spread", on, median(speeds), "jobs/s");
    report.note(format!(
        "{on}: {each:.1} µs of Redis' processor a job; the machine was busy for {busy:.0} %; runs {}",
        told.join(", ")
    ));
}

async fn drain(
    servers: &[RedisServer],
    redis: &str,
    database: &str,
    queues: &[Queue],
    processes: usize,
    plan: &Plan,
) -> Drained {
    let id = WorkerId::new("bench", std::process::id(), uuid::Uuid::now_v7());
    let broker = RedisBroker::connect(RedisOptions::new(redis, id)).unwrap();
    let each = (plan.backlog / queues.len()).min(WINDOW);
    for queue in queues {
        broker.open(queue, 1).await.unwrap();
        broker.hold(queue, Hold { revision: 1, paused: true, ..Hold::default() }).await.unwrap();
        fill(&broker, queue, each).await;
    }
    let workers: Vec<Process> =
        (0..processes).map(|_| Process::start(redis, database, queues)).collect();
    until(async || broker.served(queues).await.unwrap().iter().all(|count| *count == processes))
        .await;
    let (cpu, busy, start) = (cpu_time(servers), busy_time(), Instant::now());
    for queue in queues {
        broker.hold(queue, Hold { revision: 2, ..Hold::default() }).await.unwrap();
    }
    until(async || {
        let depths = broker.depth(queues).await.unwrap();
        depths.iter().flatten().all(|depth| depth.ready + depth.delayed + depth.running == 0)
    })
    .await;
    let took = start.elapsed();
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    let busy = busy_time().saturating_sub(busy).as_secs_f64() / took.as_secs_f64() / cores;
    let redis = cpu_time(servers).saturating_sub(cpu);
    drop(workers);
    Drained { jobs: each * queues.len(), took, redis, busy }
}

async fn fill(broker: &dyn Broker, queue: &Queue, count: usize) {
    let kind = Kind::parse(Nothing::KIND).unwrap();
    let job = || {
        let now = SystemClock.now();
        let mut envelope = envelope(now, 0);
        envelope.kind = kind.clone();
        envelope.durability = Durability::Broker;
        Push { envelope, flagged: false, fresh_until: now.after(PATIENCE) }
    };
    for from in (0..count).step_by(BATCH_MAX) {
        let jobs: Vec<Push> = (from..count.min(from + BATCH_MAX)).map(|_| job()).collect();
        broker.push(queue, &jobs).await.unwrap();
    }
}

async fn until(done: impl AsyncFn() -> bool) {
    let start = Instant::now();
    while !done().await {
        assert!(start.elapsed() < 10 * PATIENCE, "the workers do not get done");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn queue(number: usize) -> Queue {
    Queue::parse(&format!("{}.n{number}", Nothing::KIND)).unwrap()
}

/// The processor time that servers have used.
fn cpu_time(servers: &[RedisServer]) -> Duration {
    let of_one = |server: &RedisServer| -> f64 {
        let info = server.command("INFO cpu");
        let used =
            |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        let used = ["used_cpu_user:", "used_cpu_sys:"].map(|name| used(name).unwrap_or(0.0));
        used.iter().sum()
    };
    Duration::from_secs_f64(servers.iter().map(of_one).sum())
}

/// A worker process; ends with its input.
struct Process(Child);

impl Process {
    fn start(redis: &str, database: &str, queues: &[Queue]) -> Self {
        let program = std::env::current_exe().expect("this program");
        let queues: Vec<&str> = queues.iter().map(Queue::as_str).collect();
        let child = Command::new(program)
            .args([WORK, redis, database, &queues.join(",")])
            .stdin(Stdio::piped())
            .spawn()
            .expect("a worker process");
        Self(child)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Works until the input ends.
pub(crate) async fn work(redis: &str, database: &str, queues: &str) {
    let queues: Vec<Queue> = queues.split(',').map(|name| Queue::parse(name).unwrap()).collect();
    let id = WorkerId::new("bench", std::process::id(), uuid::Uuid::now_v7());
    let broker = RedisBroker::connect(RedisOptions::new(redis, id.clone())).unwrap();
    let db = Db::connect_postgres(database, &PostgresOptions::default()).unwrap();
    let ledger: Arc<dyn Ledger> = Arc::new(SqlLedger::new(db));
    let mut registry = Registry::default();
    registry.add::<Nothing>(DoNothing, queues.clone()).unwrap();
    broker.serves(&queues);
    let options = Options {
        id,
        queues,
        concurrency: CONCURRENCY,
        lease: Duration::from_secs(10),
        renew: Duration::from_secs(2),
        grace: Duration::from_secs(25),
    };
    let (clock, calls) = (SystemClock::shared(), Arc::<Calls>::default());
    let worker = Worker::new(registry, Arc::new(broker), ledger, clock, options, calls);
    let stop = Stop::default();
    let told = stop.drain.clone();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        told.cancel();
    });
    worker.run(stop).await.expect("the worker works");
}
