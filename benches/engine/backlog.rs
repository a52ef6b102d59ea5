//! What a backlog far beyond the broker's window costs Redis, and how fast it is worked off.

use std::time::{Duration, Instant};

use postworks::broker::WINDOW;
use postworks::chore::depths;
use postworks::job::Durability;
use postworks::testing::postgres_server::PostgresServer;

use crate::Plan;
use crate::memory::used;
use crate::report::Report;
use crate::world::{World, queue};

/// Fills the window, then the ledger, then lets a worker drain it all.
pub(crate) async fn measure(postgres: &PostgresServer, plan: &Plan, report: &mut Report) {
    let world = World::new(postgres, 0).await;
    world.fill(Durability::Ledger, WINDOW).await;
    let full = used(&world.redis);
    let accepted = world.fill(Durability::Ledger, plan.deep - WINDOW).await;
    let deep = used(&world.redis);
    let jobs = plan.deep;
    report.figure("backlog", &format!("Redis, {WINDOW} waiting jobs"), full as f64, "bytes");
    let line = format!("Redis, {jobs} waiting jobs");
    report.at_most("backlog", &line, deep as f64, "bytes", full as f64 * 1.1);
    let speed = (jobs - WINDOW) as f64 / accepted.as_secs_f64();
    report.figure("backlog", "enqueue beyond the window, bulk 500", speed, "jobs/s");
    let start = Instant::now();
    let queues = [queue(Durability::Ledger)];
    let told = depths(&*world.broker, &*world.ledger, &queues, world.clock.now()).await;
    let told = told.expect("the stores answer")[0].expect("one Redis").ready;
    assert_eq!(told, jobs as u64, "every waiting job is counted");
    report.figure("backlog", "counting them", millis(start.elapsed()), "ms");
    let start = Instant::now();
    let working = world.start_worker();
    world.until_settled(jobs).await;
    let speed = jobs as f64 / start.elapsed().as_secs_f64();
    report.figure("backlog", "no-op jobs, ledger", speed, "jobs/s");
    working.drain().await;
}

fn millis(took: Duration) -> f64 {
    took.as_secs_f64() * 1_000.0
}
