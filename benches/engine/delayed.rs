//! How late jobs start that were to start later, and what many of them cost Redis meanwhile.

use std::sync::Arc;
use std::time::Duration;

use hdrhistogram::Histogram;
use postworks::broker::WINDOW;
use postworks::job::Durability;
use postworks::testing::postgres_server::PostgresServer;
use tokio::time::{Instant, MissedTickBehavior};

use crate::Plan;
use crate::memory::used;
use crate::report::Report;
use crate::world::{BOTH, World, name};

/// Jobs that are enqueued a second, each to start [`DELAY`] later.
const RATE: u32 = 500;
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
        let mut arrivals = tokio::time::interval_at(Instant::now(), Duration::from_secs(1) / RATE);
        arrivals.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut sending = Vec::with_capacity(jobs);
        for _ in 0..jobs {
            arrivals.tick().await;
            let job = world.job_for(durability, world.clock.now().after(DELAY));
            let world = Arc::clone(&world);
            sending.push(tokio::spawn(async move {
                world.producer.enqueue(vec![job]).await.expect("the job is accepted");
            }));
        }
        for sent in sending {
            sent.await.expect("no caller fails");
        }
        world.until_ran(jobs).await;
        let mut late = Histogram::<u64>::new(3).unwrap();
        for latency in world.seen.latencies() {
            late.record(latency.max(1)).unwrap();
        }
        let ms = |quantile: f64| late.value_at_quantile(quantile) as f64 / 1_000.0;
        let line = |what: &str| format!("late at {RATE} jobs/s, {}, {what}", name(durability));
        report.figure("delayed", &line("p50"), ms(0.5), "ms");
        report.at_most("delayed", &line("p99"), ms(0.99), "ms", 50.0);
        working.drain().await;
    }
}
