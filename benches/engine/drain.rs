//! How many jobs that do nothing one worker process carries a second.

use std::time::Instant;

use postworks::job::Durability;
use postworks::testing::postgres_server::PostgresServer;

use crate::Plan;
use crate::report::{Report, median};
use crate::world::{BOTH, World, name};

/// Drains a backlog, from the worker's start to the last acknowledged settle.
pub(crate) async fn measure(postgres: &PostgresServer, plan: &Plan, report: &mut Report) {
    for durability in BOTH {
        let target = match durability {
            Durability::Broker => 80_000.0,
            Durability::Ledger => 30_000.0,
        };
        let mut speeds = Vec::new();
        for _ in 0..plan.rounds {
            let world = World::new(postgres, 0).await;
            world.fill(durability, plan.backlog).await;
            let start = Instant::now();
            let working = world.start_worker();
            world.until_settled(plan.backlog).await;
            speeds.push(plan.backlog as f64 / start.elapsed().as_secs_f64());
            working.drain().await;
        }
        let line = format!("no-op jobs, {}", name(durability));
        let runs: Vec<String> = speeds.iter().map(|speed| format!("{speed:.0}")).collect();
        report.at_least("throughput", &line, median(speeds), "jobs/s", target);
        report.note(format!("{line}: a backlog of {}, runs {}", plan.backlog, runs.join(", ")));
    }
}
