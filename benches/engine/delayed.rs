//! How late jobs start that were to start later, and what many of them cost Redis meanwhile.

use std::sync::Arc;
use std::time::Duration;

use postworks::broker::WINDOW;
use postworks::job::Durability;
use postworks::testing::postgres_server::PostgresServer;

use crate::Plan;
use crate::arrivals::{RATE, arrive, ms, starts};
use crate::memory::used;
use crate::report::Report;
use crate::world::{BOTH, World, name};

/// How much later than it is enqueued each job is to start.
const DELAY: Duration = Duration::from_secs(2);
/// Within what a broker holds, and beyond it.
const AHEAD: [Duration; 2] = [Duration::from_secs(1_800), Duration::from_secs(24 * 3_600)];
/// A value's and its entries' bytes, and as much again.
const JOB_BYTES_MAX: f64 = 1_024.0;

/// Lets many wait for later, and beside them some that start soon.
pub(crate) async fn measure(postgres: &PostgresServer, plan: &Plan, report: &mut Report) {
    for durability in BOTH {
        let jobs = RATE as usize * usize::try_from(plan.latency_for.as_secs()).unwrap();
        let world = Arc::new(World::new(postgres, jobs).await);
        if durability == Durability::Ledger {
            let empty = used(&world.redis) as f64;
            for ahead in AHEAD {
                world.fill_for(world.clock.now().after(ahead), plan.delayed / AHEAD.len()).await;
            }
            let taken = used(&world.redis) as f64 - empty;
            let line = format!("Redis, {} delayed jobs", plan.delayed);
            report.at_most("delayed", &line, taken, "bytes", WINDOW as f64 * JOB_BYTES_MAX);
        }
        let working = world.start_worker();
        // Past the relay's first sweep and everybody's first connection.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let job = || world.job_for(durability, world.clock.now().after(DELAY));
        arrive(&world, jobs, job).await;
        world.until_ran(jobs).await;
        let late = starts(&world);
        let line = |what: &str| format!("late at {RATE} jobs/s, {}, {what}", name(durability));
        report.figure("delayed", &line("p50"), ms(&late, 0.5), "ms");
        report.at_most("delayed", &line("p99"), ms(&late, 0.99), "ms", 50.0);
        working.drain().await;
    }
}
