//! How soon a job starts after it was enqueued, at a moderate rate.

use std::sync::Arc;
use std::time::Duration;

use postworks::testing::postgres_server::PostgresServer;

use crate::Plan;
use crate::arrivals::{RATE, arrive, ms, starts};
use crate::report::Report;
use crate::world::{BOTH, World, name};

/// Sends at a fixed rate. A job's time counts from when its enqueue was called, commit included.
pub(crate) async fn measure(postgres: &PostgresServer, plan: &Plan, report: &mut Report) {
    for durability in BOTH {
        let jobs = RATE as usize * usize::try_from(plan.latency_for.as_secs()).unwrap();
        let world = Arc::new(World::new(postgres, jobs).await);
        let working = world.start_worker();
        // Past the relay's first sweep and everybody's first connection.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let accepted = arrive(&world, jobs, || world.job(durability)).await;
        world.until_settled(jobs).await;
        let times = starts(&world);
        let line = |what: &str| format!("start at {RATE} jobs/s, {}, {what}", name(durability));
        report.figure("latency", &line("p50"), ms(&times, 0.5), "ms");
        report.at_most("latency", &line("p99"), ms(&times, 0.99), "ms", 5.0);
        let commit_ms = ms(&accepted, 0.99);
        report.note(format!(
            "{}: {commit_ms:.2} ms of it until accepted; the slowest {:.1} ms",
            line("p99"),
            ms(&times, 1.0)
        ));
        working.drain().await;
    }
}
