//! What a job takes in both stores, and what is left of jobs that ended.

use std::time::Duration;

use postworks::broker::WINDOW;
use postworks::job::Durability;
use postworks::testing::postgres_server::{PostgresServer, Written};
use postworks::testing::redis_server::RedisServer;

use crate::Plan;
use crate::machine::{busy_time, cpu_time};
use crate::report::Report;
use crate::world::World;

/// Keys that stay as long as a queue is open, whatever number of jobs went through it.
const FIXED: &str = ":boot";

/// Longer than any chore is given to a node while leases exist.
const TERM_MAX: Duration = Duration::from_secs(4);

/// Stores jobs, runs them all, and looks what is left.
pub(crate) async fn measure(postgres: &PostgresServer, plan: &Plan, report: &mut Report) {
    let world = World::new(postgres, 0).await;
    let empty = used(&world.redis);
    let before = Spent::now(&world, postgres).await;
    // No more than the window: what lies beyond it costs Redis nothing.
    let stored = plan.stored.min(WINDOW);
    world.fill(Durability::Ledger, stored).await;
    let each = used(&world.redis).saturating_sub(empty) as f64 / stored as f64;
    report.figure("memory", "Redis, a waiting job", each, "bytes");
    let accepted = Spent::now(&world, postgres).await;
    let working = world.start_worker();
    world.until_settled(stored).await;
    working.drain().await;
    let settled = Spent::now(&world, postgres).await;
    for (doing, from, to) in [("accept", before, accepted), ("run", accepted, settled)] {
        let each = |from: u64, to: u64| to.saturating_sub(from) as f64 / stored as f64;
        let log = each(from.written.log, to.written.log);
        report.figure("memory", &format!("PostgreSQL's log, to {doing} a job"), log, "bytes");
        let cpu = to.postgres.saturating_sub(from.postgres).as_secs_f64() * 1e6 / stored as f64;
        report.figure("memory", &format!("PostgreSQL's CPU, to {doing} a job"), cpu, "µs");
    }
    let kept = settled.written.data.saturating_sub(before.written.data) as f64 / stored as f64;
    report.figure("memory", "PostgreSQL, an ended job before a vacuum", kept, "bytes");
    // Which node looks after leases is written in keys that go by themselves.
    tokio::time::sleep(TERM_MAX).await;
    let left: Vec<(String, u64)> = keys(&world.redis);
    let of_jobs: u64 =
        left.iter().filter(|(key, _)| !key.ends_with(FIXED)).map(|(_, bytes)| bytes).sum();
    report.at_most("memory", "Redis, left of ended jobs", of_jobs as f64, "bytes", 0.0);
    let keys: Vec<String> =
        left.iter().map(|(key, bytes)| format!("{key} ({bytes} bytes)")).collect();
    report.note(format!("keys left after {stored} jobs: {}", keys.join(", ")));
}

/// What PostgreSQL has spent so far.
#[derive(Clone, Copy)]
struct Spent {
    written: Written,
    /// Processor time: that of the whole machine without Redis' and ours, so nothing else may run.
    postgres: Duration,
}

impl Spent {
    async fn now(world: &World, postgres: &PostgresServer) -> Self {
        let others = world.redis_cpu_time() + cpu_time();
        let written = postgres.written().await;
        Self { written, postgres: busy_time().saturating_sub(others) }
    }
}

/// The bytes that Redis uses.
pub(crate) fn used(redis: &RedisServer) -> u64 {
    let info = redis.command("INFO memory");
    let used = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
    used.and_then(|used| used.trim().parse().ok()).expect("Redis tells its memory")
}

/// Every key with its size.
fn keys(redis: &RedisServer) -> Vec<(String, u64)> {
    let list = redis.command("KEYS *");
    let keys = list.lines().map(str::trim).filter(|line| !line.starts_with(['*', '$']));
    keys.filter(|key| !key.is_empty())
        .map(|key| {
            let bytes = redis.command(&format!("MEMORY USAGE {key}"));
            // A key that went meanwhile has none.
            let bytes = bytes.trim_start_matches(':').trim().parse().unwrap_or(0);
            (key.to_owned(), bytes)
        })
        .collect()
}
