//! How many jobs that do nothing one worker process carries a second.

use std::time::{Duration, Instant};

use postworks::broker::WINDOW;
use postworks::job::Durability;
use postworks::testing::postgres_server::PostgresServer;

use crate::Plan;
use crate::machine::cpu_time;
use crate::report::{Report, median};
use crate::world::{BOTH, World, name};

/// Drains a backlog, from the worker's start to the last acknowledged settle.
pub(crate) async fn measure(postgres: &PostgresServer, plan: &Plan, report: &mut Report) {
    for durability in BOTH {
        let target = match durability {
            Durability::Broker => 80_000.0,
            Durability::Ledger => 30_000.0,
        };
        // What lies beyond the window is measured by itself.
        let backlog = match durability {
            Durability::Broker => plan.backlog,
            Durability::Ledger => plan.backlog.min(WINDOW),
        };
        let (mut speeds, mut workers, mut redises) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..plan.rounds {
            let world = World::new(postgres, 0).await;
            world.fill(durability, backlog).await;
            let (cpu, redis_cpu) = (cpu_time(), world.redis_cpu_time());
            let start = Instant::now();
            let working = world.start_worker();
            world.until_settled(backlog).await;
            speeds.push(backlog as f64 / start.elapsed().as_secs_f64());
            let each = |used: Duration| used.as_secs_f64() * 1e6 / backlog as f64;
            workers.push(each(cpu_time().saturating_sub(cpu)));
            redises.push(each(world.redis_cpu_time().saturating_sub(redis_cpu)));
            working.drain().await;
        }
        let line = format!("no-op jobs, {}", name(durability));
        let runs: Vec<String> = speeds.iter().map(|speed| format!("{speed:.0}")).collect();
        report.at_least("throughput", &line, median(speeds), "jobs/s", target);
        // Steadier than the speed where other programs share the machine.
        let used = format!("CPU a job, {}, in the", name(durability));
        report.figure("throughput", &format!("{used} worker"), median(workers), "µs");
        report.figure("throughput", &format!("{used} Redis"), median(redises), "µs");
        report.note(format!("{line}: a backlog of {backlog}, runs {}", runs.join(", ")));
    }
}
