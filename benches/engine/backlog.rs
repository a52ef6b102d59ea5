//! What a job costs as the backlog grows, and what the backlog costs Redis.
//!
//! While a number of jobs wait, others pass: each is enqueued at the end and each that runs was at
//! the head. So a job's cost is the same sum of work at any depth, from jobs that go through Redis
//! at once to those that wait in the ledger until their turn is near.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use postworks::broker::WINDOW;
use postworks::chore::depths;
use postworks::job::Durability;
use postworks::testing::postgres_server::PostgresServer;

use crate::Plan;
use crate::machine::busy_time;
use crate::memory::used;
use crate::report::Report;
use crate::world::{World, queue};

/// Jobs in one call.
const BULK: usize = 500;
/// Calls at a time.
const BATCHES: usize = 8;
/// How far the backlog may stray meanwhile: what is enqueued at once, and what a worker has in hand.
const STRAYS_MAX: usize = 2 * BATCHES * BULK;
/// Longest wait for the jobs that pass.
const PATIENCE: Duration = Duration::from_secs(600);

/// Lets the backlog grow, and jobs pass at each depth.
pub(crate) async fn measure(postgres: &PostgresServer, plan: &Plan, report: &mut Report) {
    let world = World::new(postgres, 0).await;
    let (mut first, mut full) = (None, None);
    for &depth in plan.depths {
        let missing = depth.saturating_sub(waiting(&world).await);
        let accepted = world.fill(Durability::Ledger, missing).await;
        if depth > WINDOW {
            let line = format!("enqueue in bulk up to {depth}");
            report.figure("backlog", &line, missing as f64 / accepted.as_secs_f64(), "jobs/s");
        }
        let redis = used(&world.redis) as f64;
        let line = format!("Redis, {depth} waiting jobs");
        match full {
            Some(full) => report.at_most("backlog", &line, redis, "bytes", full * 1.1),
            None => report.figure("backlog", &line, redis, "bytes"),
        }
        if depth >= WINDOW {
            full.get_or_insert(redis);
        }
        let passed = pass(&world, plan.passing).await;
        let line = format!("enqueued and run while {depth} wait");
        report.figure("backlog", &line, passed.speed, "jobs/s");
        let line = format!("CPU a job, {depth} waiting, all programs");
        let first = *first.get_or_insert(passed.cpu_us);
        report.at_most("backlog", &line, passed.cpu_us, "µs", first * 1.2);
        let start = Instant::now();
        let told = waiting(&world).await;
        assert!(told.abs_diff(depth) <= STRAYS_MAX, "{told} of {depth} are counted");
        report.figure("backlog", &format!("counting {depth}"), millis(start.elapsed()), "ms");
    }
}

/// What the passing of jobs took.
struct Passed {
    speed: f64,
    /// Of everything that runs on this machine, so nothing else may.
    cpu_us: f64,
}

/// Enqueues and runs `jobs` jobs; as many wait all the time as did before.
async fn pass(world: &World, jobs: usize) -> Passed {
    let ran = || world.seen.count.load(Ordering::Relaxed);
    let working = world.start_worker();
    let (before, start, cpu) = (ran(), Instant::now(), busy_time());
    let mut enqueued = 0;
    while ran() - before < jobs {
        assert!(start.elapsed() < PATIENCE, "only {} of {jobs} jobs passed", ran() - before);
        let behind = (ran() - before).saturating_sub(enqueued) / BULK;
        // Several at once, or the worker would outrun them.
        join_all((0..behind.min(BATCHES)).map(|_| enqueue(world))).await;
        enqueued += behind.min(BATCHES) * BULK;
        if behind == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    let (took, cpu) = (start.elapsed(), busy_time().saturating_sub(cpu));
    working.drain().await;
    let jobs = jobs as f64;
    Passed { speed: jobs / took.as_secs_f64(), cpu_us: cpu.as_secs_f64() * 1e6 / jobs }
}

async fn enqueue(world: &World) {
    let batch = (0..BULK).map(|_| world.job(Durability::Ledger)).collect();
    world.producer.enqueue(batch).await.expect("the jobs are accepted");
}

/// How many jobs wait, in the broker and beyond its window.
async fn waiting(world: &World) -> usize {
    let queues = [queue(Durability::Ledger)];
    let told = depths(&*world.broker, &*world.ledger, &queues, world.clock.now()).await;
    let told = told.expect("the stores answer")[0].expect("one Redis").ready;
    usize::try_from(told).expect("as many as there are")
}

fn millis(took: Duration) -> f64 {
    took.as_secs_f64() * 1_000.0
}
