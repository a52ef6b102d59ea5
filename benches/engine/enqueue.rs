//! How many jobs are accepted a second.

use std::sync::Arc;
use std::time::Instant;

use postworks::testing::postgres_server::PostgresServer;

use crate::Plan;
use crate::report::Report;
use crate::world::{BOTH, World, name};

/// Enqueues one by one and in bulk. Nobody runs the jobs meanwhile.
pub(crate) async fn measure(postgres: &PostgresServer, plan: &Plan, report: &mut Report) {
    for durability in BOTH {
        for callers in [1, 50] {
            let world = Arc::new(World::new(postgres, 0).await);
            let start = Instant::now();
            let end = start + plan.enqueue_for;
            let calling = (0..callers).map(|_| {
                let world = Arc::clone(&world);
                tokio::spawn(async move {
                    let mut accepted = 0_u32;
                    while Instant::now() < end {
                        let jobs = vec![world.job(durability)];
                        world.producer.enqueue(jobs).await.expect("the job is accepted");
                        accepted += 1;
                    }
                    accepted
                })
            });
            let calling: Vec<_> = calling.collect();
            let mut accepted = 0;
            for caller in calling {
                accepted += caller.await.expect("no caller fails");
            }
            let speed = f64::from(accepted) / start.elapsed().as_secs_f64();
            let line = format!("single, {} ({callers} callers)", name(durability));
            report.figure("enqueue", &line, speed, "jobs/s");
        }
        let world = World::new(postgres, 0).await;
        let accepted = world.fill(durability, plan.backlog).await;
        let speed = plan.backlog as f64 / accepted.as_secs_f64();
        let line = format!("bulk 500, {} (1 caller)", name(durability));
        report.figure("enqueue", &line, speed, "jobs/s");
    }
}
